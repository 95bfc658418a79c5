"""Trains the networks of ``digits.npz`` and solves their exact distances (two minutes on one core).

    python -m tests.perturb.truth.make_digits

The program, for an image ``x0``, a network and another class ``k`` (Tjeng, Xiao and Tedrake,
"Evaluating robustness of neural networks with mixed integer programming", ICLR 2019): minimise
``eps`` over ``x`` in the box with ``|x - x0| <= eps`` and logit of k >= logit of the true class,
where each ReLU ``a = max(z, 0)`` with ``low <= z <= high`` is ``a >= 0``, ``a >= z``,
``a <= high * b``, ``a <= z - low * (1 - b)`` for a binary ``b``. A radius at which PGD has broken
the image bounds the search, and the interval of every ``z`` within it gives the constants.

The solver lets its rows and binaries be wrong by some 1e-6, so its answer is made good: which
neurons are on is kept (both ways are tried where its ``z`` is within `TIE` of 0, or on
another side than the solver says), and the
linear program that is left is solved to 1e-10. Its optimum is a true adversarial point (`exact`);
what the solver proved to be out of reach is `lower`. They have to agree.
"""

from __future__ import annotations

import itertools
import math
import platform
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import scipy
import sklearn
import torch
from scipy import optimize, sparse
from sklearn.datasets import load_digits
from torch import nn

from bcadv.perturb import PGD, ThreatModel
from tests.perturb.truth.digits import FILE, LEVELS, NETS, WIDTHS, Array, network

IMAGES = {"two": 24, "two_b": 24, "three": 12}
SCALE = 1e3
"""The solver stops within 1e-6 of the optimum of what it is given: give it 1,000 eps."""
TIE = 1e-5
AGREE = 1e-8
"""By so much `lower` and `exact` may differ."""


def train(classes: int, seed: int, levels: Array, digit: Array) -> list[Array]:
    """Weights and biases, float32, of a network that tells the digits' remainders apart."""
    torch.manual_seed(seed)
    image, target = torch.tensor(levels / LEVELS).float(), torch.tensor(digit % classes)
    widths = [*WIDTHS, classes]
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = torch.optim.Adam(model.parameters(), 0.01, weight_decay=1e-4)
    for _ in range(60):
        for rows in torch.split(torch.randperm(len(image)), 64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(image[rows]), target[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    return [parameter.detach().numpy().copy() for parameter in parameters]


def radius(weights: list[Array], pixels: Array, target: int) -> float:
    """A radius at which PGD breaks the image, or 1."""
    model = network(weights).double()
    image = torch.tensor(pixels).reshape(1, 1, 8, 8)
    radii = [k / 200 for k in range(1, 101)]
    attack = PGD(ThreatModel(0.0), steps=60, restarts=3)
    with torch.no_grad():
        for found in attack.sweep(model, image, torch.tensor([target]), radii).images:
            if int(model(found).argmax()) != target:
                return float((found - image).abs().max())
    return 1.0


def entering(weights: list[Array], pixels: Array) -> list[Array]:
    """What enters each hidden layer's ReLU."""
    found = []
    for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        found.append(weight @ pixels + bias)
        pixels = found[-1].clip(min=0)
    return found


def intervals(weights: list[Array], low: Array, high: Array) -> list[tuple[Array, Array]]:
    """Bounds of what enters each hidden layer's ReLU, for inputs between low and high."""
    bounds = []
    for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        up, down = weight.clip(min=0), weight.clip(max=0)
        low, high = up @ low + down @ high + bias, up @ high + down @ low + bias
        bounds.append((low, high))
        low, high = low.clip(min=0), high.clip(min=0)
    return bounds


@dataclass(frozen=True)
class Rows:
    """Conditions ``low <= matrix . v <= high`` on the variables."""

    matrix: Array
    low: Array
    high: Array

    def __add__(self, other: Rows) -> Rows:
        return Rows(
            np.concatenate([self.matrix, other.matrix]),
            np.concatenate([self.low, other.low]),
            np.concatenate([self.high, other.high]),
        )


@dataclass(frozen=True)
class Found:
    """The nearest point of one class, what was proved, and how long it took in seconds."""

    point: Array
    exact: float
    lower: float
    seconds: float


class Program:
    """The smallest change of one image by which another class comes level.

    The variables stand in blocks: eps, pixels, then z, a and b of each hidden layer.

    Args:
        weights: float64.
        pixels: of the image, shape (64,).
        target: its class.
        other: the class that is to come level.
        reach: radius within which to search.
    """

    def __init__(
        self, weights: list[Array], pixels: Array, target: int, other: int, reach: float
    ) -> None:
        self.weights, self.pixels, n = weights, pixels, len(pixels)
        self.target, self.other = target, other
        low, high = (pixels - reach).clip(min=0), (pixels + reach).clip(max=1)
        self.bounds = intervals(weights, low, high)
        self.low, self.high = [np.zeros(1), low], [np.full(1, reach), high]
        for low, high in self.bounds:
            self.low += [low, low.clip(min=0), (low > 0).astype(float)]
            self.high += [high, high.clip(min=0), (high > 0).astype(float)]
        self.start = np.cumsum([0, *(len(block) for block in self.low)])
        eps, eye = np.ones((n, 1)), np.eye(n)
        rows = self._at_most({0: -eps, 1: eye}, pixels) + self._at_most({0: -eps, 1: -eye}, -pixels)
        values = 1
        for i, (weight, bias) in enumerate(zip(weights[:-2:2], weights[1:-2:2], strict=True)):
            z = self._equal({values: -weight, 2 + 3 * i: np.eye(len(bias))}, bias)
            rows, values = rows + z, 3 + 3 * i
        lead = weights[-2][target] - weights[-2][other]
        bound = weights[-1][other] - weights[-1][target]
        self.rows = rows + self._at_most({values: lead[None]}, bound[None])
        self.cost = np.zeros(self.start[-1])
        self.cost[0] = SCALE

    def _equal(self, blocks: dict[int, Array], value: Array) -> Rows:
        matrix = np.zeros((len(value), self.start[-1]))
        for block, part in blocks.items():
            matrix[:, self._slice(block)] = part
        return Rows(matrix, value, value)

    def _at_most(self, blocks: dict[int, Array], value: Array) -> Rows:
        return replace(self._equal(blocks, value), low=np.full(len(value), -np.inf))

    def _slice(self, block: int) -> slice:
        return slice(int(self.start[block]), int(self.start[block + 1]))

    def solve(self) -> Found:
        """The nearest point; infinitely far where there is none within reach."""
        began = time.perf_counter()
        rows, whole = self.rows, np.zeros(len(self.cost), dtype=np.int64)
        for i, (low, high) in enumerate(self.bounds):
            z, a, b = range(2 + 3 * i, 5 + 3 * i)
            eye, zero = np.eye(len(low)), np.zeros(len(low))
            down, up = low.clip(max=0), high.clip(min=0)
            rows += self._at_most({z: eye, a: -eye}, zero)
            rows += self._at_most({a: eye, b: -np.diag(up)}, zero)
            rows += self._at_most({a: eye, z: -eye, b: -np.diag(down)}, -down)
            whole[self._slice(b)] = 1
        answer = optimize.milp(
            self.cost,
            constraints=optimize.LinearConstraint(
                sparse.csr_array(rows.matrix), rows.low, rows.high
            ),
            bounds=optimize.Bounds(np.concatenate(self.low), np.concatenate(self.high)),
            integrality=whole,
            options={"mip_rel_gap": 0.0},
        )
        if answer.status == 2:  # infeasible
            return Found(self.pixels, math.inf, math.inf, time.perf_counter() - began)
        if answer.status != 0:
            raise RuntimeError(f"the solver gave up: {answer.message}")
        point, exact = self._made_good(answer.x)
        lower = float(answer.mip_dual_bound) / SCALE
        if abs(exact - lower) > AGREE:
            raise RuntimeError(f"a point was found at {exact!r}, and {lower!r} was proved")
        return Found(point, exact, lower, time.perf_counter() - began)

    def _made_good(self, answer: Array) -> tuple[Array, float]:
        """The nearest point with the same neurons on, but for those that could be either."""
        z = np.concatenate(entering(self.weights, answer[self._slice(1)]))
        said = np.concatenate([answer[self._slice(4 + 3 * i)] for i in range(len(self.bounds))])
        unsure = (np.abs(z) < TIE) | ((said > 0.5) != (z > 0))
        ways = [(True, False) if u else (v > 0,) for u, v in zip(unsure, z, strict=True)]
        tried = [self._with_neurons(np.array(on)) for on in itertools.product(*ways)]
        return min(tried, key=lambda one: one[1])

    def _with_neurons(self, on: Array) -> tuple[Array, float]:
        """The nearest point at which just these neurons are on, and its distance.

        Their on and off makes all that follows linear in the pixels: ``slope . x + level``.
        """
        n = len(self.pixels)
        slope, level = np.eye(n), np.zeros(n)
        left, right = [], []  # left . x <= right
        for weight, bias in zip(self.weights[:-2:2], self.weights[1:-2:2], strict=True):
            slope, level = weight @ slope, weight @ level + bias
            here, on = on[: len(bias)], on[len(bias) :]
            side = np.where(here, 1.0, -1.0)
            left.append(-side[:, None] * slope)
            right.append(side * level)
            slope, level = slope * here[:, None], level * here
        slope, level = self.weights[-2] @ slope, self.weights[-2] @ level + self.weights[-1]
        left.append((slope[self.target] - slope[self.other])[None])
        right.append((level[self.other] - level[self.target])[None])
        left += [np.eye(n), -np.eye(n)]
        right += [self.pixels, -self.pixels]
        eps = np.zeros((sum(map(len, right)), 1))
        eps[-2 * n :] = -1
        answer = optimize.linprog(
            np.eye(n + 1)[-1],
            A_ub=np.concatenate([np.concatenate(left), eps], axis=1),
            b_ub=np.concatenate(right),
            bounds=[(0.0, 1.0)] * (n + 1),
            method="highs",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if answer.status == 2:  # no such point
            return self.pixels, math.inf
        if answer.status != 0 or answer.x is None:
            raise RuntimeError(f"the solver gave up: {answer.message}")
        point: Array = answer.x[:-1]
        return point, float(np.abs(point - self.pixels).max())


def solve(weights: list[Array], pixels: Array, target: int) -> Found:
    """The nearest point of any other class."""
    weights = [weight.astype(np.float64) for weight in weights]
    reach = min(1.0, radius(weights, pixels, target) * (1 + 1e-6))
    others = [k for k in range(len(weights[-1])) if k != target]
    found = [Program(weights, pixels, target, k, reach).solve() for k in others]
    best = min(found, key=lambda one: one.exact)
    return replace(
        best,
        lower=min(one.lower for one in found),
        seconds=sum(one.seconds for one in found),
    )


def chosen(weights: list[Array], classes: int, n: int, levels: Array, digit: Array) -> Array:
    """Numbers of the first images that the network has right, as many of each class."""
    image = torch.tensor(levels / LEVELS).double().reshape(-1, 1, 8, 8)
    with torch.no_grad():
        right = network(weights).double()(image).argmax(1).numpy() == digit % classes
    say(f"  right on {right.mean():.1%} of {len(right)} images it has not seen")
    each = [np.flatnonzero(right & (digit % classes == k))[: n // classes] for k in range(classes)]
    rows: Array = np.sort(np.concatenate(each))
    return rows


def say(line: str) -> None:
    """Tells how far it has come."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def versions() -> str:
    """What the figures were made with."""
    return (
        f"scipy {scipy.__version__} (HiGHS), torch {torch.__version__}, scikit-learn "
        f"{sklearn.__version__}, numpy {np.__version__}, Python {platform.python_version()}"
    )


def main() -> None:
    torch.set_num_threads(1)
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    levels, digit = data.data.astype(np.uint8)[order], data.target.astype(np.int64)[order]
    half = len(digit) // 2
    arrays: dict[str, Array] = {"made_with": np.array(versions())}
    for seed, (net, classes) in enumerate(NETS.items()):
        say(f"{net}: {classes} classes")
        weights = train(classes, seed, levels[:half], digit[:half])
        rows = half + chosen(weights, classes, IMAGES[net], levels[half:], digit[half:])
        found = []
        for row in rows:
            one = solve(weights, levels[row] / LEVELS, int(digit[row] % classes))
            gap = one.exact - one.lower
            say(f"  {one.exact:.9f}  gap {gap:8.1e}  {one.seconds:4.1f} s")
            found.append(one)
        arrays |= {f"{net}/weight{i}": weight for i, weight in enumerate(weights)}
        arrays |= {
            f"{net}/levels": levels[rows],
            f"{net}/target": (digit[rows] % classes).astype(np.uint8),
            f"{net}/exact": np.array([one.exact for one in found]),
            f"{net}/lower": np.array([one.lower for one in found]),
            f"{net}/witness": np.stack([one.point for one in found]),
        }
    np.savez_compressed(FILE, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
