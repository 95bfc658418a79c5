"""Trains the networks of ``digits.npz`` and solves their exact distances.

    python -m tests.perturb.truth.make_digits

The program, for an image ``x0``, a network and another class ``k`` (Tjeng, Xiao and Tedrake,
"Evaluating robustness of neural networks with mixed integer programming", ICLR 2019): minimise
``eps`` over ``x`` in the box with ``|x - x0| <= eps`` and logit of k >= logit of the true class,
where each ReLU ``a = max(z, 0)`` with ``low <= z <= high`` is ``a >= 0``, ``a >= z``,
``a <= high * b``, ``a <= z - low * (1 - b)`` for a binary ``b``. A radius at which PGD has broken
the image bounds the search, and the interval of every ``z`` within it gives the constants.

A mixed-integer solver lets binaries and rows be wrong by some 1e-6. So its answer is made good: the
on and off of the neurons are kept, and the linear program that is left is solved to 1e-10. Its
optimum is a true adversarial point (`exact`); what the solver proved to be out of reach is `lower`.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass

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


def train(classes: int, seed: int, levels: Array, digit: Array) -> list[Array]:
    """Weights and biases, float32, of a network that tells the digits' remainders apart."""
    torch.manual_seed(seed)
    image, target = torch.tensor(levels / LEVELS).float(), torch.tensor(digit % classes)
    widths = [*WIDTHS, classes]
    layers = [nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = torch.optim.Adam(model.parameters(), 0.01, weight_decay=1e-4)
    for _ in range(60):
        for rows in torch.randperm(len(image)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(image[rows]), target[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return [parameter.detach().numpy().copy() for layer in layers for parameter in layer.parameters()]


@dataclass(frozen=True)
class Found:
    """The nearest point of one class, what was proved, and how long it took in seconds."""

    point: Array
    exact: float
    lower: float
    seconds: float


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


def intervals(weights: list[Array], low: Array, high: Array) -> list[tuple[Array, Array]]:
    """Bounds of what enters each hidden layer's ReLU, for inputs between low and high."""
    bounds = []
    for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        up, down = weight.clip(min=0), weight.clip(max=0)
        low, high = up @ low + down @ high + bias, up @ high + down @ low + bias
        bounds.append((low, high))
        low, high = low.clip(min=0), high.clip(min=0)
    return bounds


class Program:
    """Variables: eps, pixels, then per hidden layer z, a and b; rows: ``left . v <= right``."""

    def __init__(self, weights: list[Array], pixels: Array, target: int, reach: float) -> None:
        n = len(pixels)
        self.pixels = pixels
        self.low, self.high = [np.zeros(1)], [np.full(1, reach)]
        self.low.append((pixels - reach).clip(min=0))
        self.high.append((pixels + reach).clip(max=1))
        self.bounds = intervals(weights, self.low[1], self.high[1])
        sizes = [1, n]
        for low, high in self.bounds:
            sizes += [len(low)] * 3
            self.low += [low, low.clip(min=0), (low > 0).astype(float)]
            self.high += [high, high.clip(min=0), (high > 0).astype(float)]
        self.start = np.cumsum([0, *sizes])
        self.rows: list[Array] = []
        self.right: list[Array] = []
        self.equal: list[bool] = []
        self._add({0: -np.ones((n, 1)), 1: np.eye(n)}, pixels)
        self._add({0: -np.ones((n, 1)), 1: -np.eye(n)}, -pixels)
        before = 1
        for i, (weight, bias) in enumerate(zip(weights[:-2:2], weights[1:-2:2], strict=True)):
            z = 2 + 3 * i
            self._add({before: -weight, z: np.eye(len(bias))}, bias, equal=True)
            before = z + 1
        self.last, self.out, self.bias, self.target = before, weights[-2], weights[-1], target

    def _row(self, blocks: dict[int, Array]) -> Array:
        height = len(next(iter(blocks.values())))
        row = np.zeros((height, self.start[-1]))
        for block, value in blocks.items():
            row[:, self.start[block] : self.start[block + 1]] = value
        return row

    def _add(self, blocks: dict[int, Array], right: Array, *, equal: bool = False) -> None:
        self.rows.append(self._row(blocks))
        self.right.append(right)
        self.equal.append(equal)

    def solve(self, other: int) -> Found:
        """The nearest point of another class, or one infinitely far within the reach."""
        began = time.perf_counter()
        rows, right, equal = list(self.rows), list(self.right), list(self.equal)

        def add(blocks: dict[int, Array], bound: Array) -> None:
            rows.append(self._row(blocks))
            right.append(bound)
            equal.append(False)

        add({self.last: (self.out[self.target] - self.out[other])[None]},
            (self.bias[other] - self.bias[self.target])[None])
        shared = len(rows)
        for i, (low, high) in enumerate(self.bounds):
            z, eye = 2 + 3 * i, np.eye(len(low))
            down, up = low.clip(max=0), high.clip(min=0)
            add({z: eye, z + 1: -eye}, np.zeros(len(low)))
            add({z + 1: eye, z + 2: -np.diag(up)}, np.zeros(len(low)))
            add({z + 1: eye, z: -eye, z + 2: -np.diag(down)}, -down)
        cost = np.zeros(self.start[-1])
        cost[0] = SCALE
        whole = np.zeros(self.start[-1])
        for i in range(len(self.bounds)):
            whole[self.start[4 + 3 * i] : self.start[5 + 3 * i]] = 1
        ends = np.concatenate(right)
        level = np.concatenate([np.full(len(b), e) for b, e in zip(right, equal, strict=True)])
        answer = optimize.milp(
            cost,
            constraints=optimize.LinearConstraint(
                sparse.csr_array(np.concatenate(rows)), np.where(level, ends, -np.inf), ends
            ),
            bounds=optimize.Bounds(np.concatenate(self.low), np.concatenate(self.high)),
            integrality=whole,
            options={"mip_rel_gap": 0.0},
        )
        if answer.status == 2:
            return Found(self.pixels, np.inf, np.inf, time.perf_counter() - began)
        if answer.status != 0:
            raise RuntimeError(f"the solver gave up: {answer.message}")
        point, exact = self._made_good(answer.x, rows[:shared], right[:shared], equal[:shared])
        lower = float(answer.mip_dual_bound) / SCALE
        return Found(point, exact, lower, time.perf_counter() - began)

    def _made_good(
        self, found: Array, rows: list[Array], right: list[Array], equal: list[bool]
    ) -> tuple[Array, float]:
        """The nearest point among those that have the same neurons on; and its distance."""
        rows, right, equal = list(rows), list(right), list(equal)
        low, high = np.concatenate(self.low), np.concatenate(self.high)
        low[0], high[0] = 0, 1
        for i in range(len(self.bounds)):
            z, a, b = (slice(*self.start[2 + 3 * i + k : 4 + 3 * i + k]) for k in range(3))
            on = found[b] > 0.5
            low[z], high[z] = np.where(on, 0, -np.inf), np.where(on, np.inf, 0)
            low[a], high[a] = 0, np.where(on, np.inf, 0)
            eye = np.eye(len(on))[on]
            rows.append(self._row({2 + 3 * i: eye, 3 + 3 * i: -eye}))
            right.append(np.zeros(len(eye)))
            equal.append(True)
        level = np.concatenate([np.full(len(b), e) for b, e in zip(right, equal, strict=True)])
        matrix, ends = np.concatenate(rows), np.concatenate(right)
        cost = np.zeros(self.start[-1])
        cost[0] = 1
        answer = optimize.linprog(
            cost,
            A_ub=matrix[~level],
            b_ub=ends[~level],
            A_eq=matrix[level],
            b_eq=ends[level],
            bounds=np.stack([low, high], axis=1),
            method="highs",
            options={
                "primal_feasibility_tolerance": 1e-10,
                "dual_feasibility_tolerance": 1e-10,
            },
        )
        if answer.x is None:
            raise RuntimeError(f"the neurons' signs admit no point: {answer.message}")
        point = answer.x[slice(*self.start[1:3])]
        return point, float(np.abs(point - self.pixels).max())


def solve(weights: list[Array], pixels: Array, target: int) -> Found:
    """The nearest point of any other class."""
    weights = [weight.astype(np.float64) for weight in weights]
    reach = min(1.0, radius(weights, pixels, target) * (1 + 1e-6))
    program = Program(weights, pixels, target, reach)
    classes = len(weights[-1])
    found = [program.solve(k) for k in range(classes) if k != target]
    best = min(found, key=lambda one: one.exact)
    lower = min(one.lower for one in found)
    return Found(best.point, best.exact, lower, sum(one.seconds for one in found))


def chosen(weights: list[Array], classes: int, n: int, levels: Array, digit: Array) -> Array:
    """Numbers of the first images that the network has right, as many of each class."""
    image = torch.tensor(levels / LEVELS).double().reshape(-1, 1, 8, 8)
    with torch.no_grad():
        right = network(weights).double()(image).argmax(1).numpy() == digit % classes
    print(f"  right on {right.mean():.1%} of {len(right)} images it has not seen")
    each = [np.flatnonzero(right & (digit % classes == k))[: n // classes] for k in range(classes)]
    return np.sort(np.concatenate(each))


def main() -> None:
    torch.set_num_threads(1)
    data = load_digits()
    levels, digit = data.data.astype(np.uint8), data.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(digit))
    levels, digit = levels[order], digit[order]
    half = len(digit) // 2
    made_with = (
        f"scipy {scipy.__version__} (HiGHS), torch {torch.__version__}, scikit-learn "
        f"{sklearn.__version__}, numpy {np.__version__}, Python {platform.python_version()}"
    )
    arrays: dict[str, Array] = {"made_with": np.array(made_with)}
    for seed, (net, classes) in enumerate(NETS.items()):
        print(f"{net}: {classes} classes", flush=True)
        weights = train(classes, seed, levels[:half], digit[:half])
        rows = half + chosen(weights, classes, IMAGES[net], levels[half:], digit[half:])
        found = []
        for row in rows:
            one = solve(weights, levels[row] / LEVELS, int(digit[row] % classes))
            print(f"  {one.exact:.9f}  gap {one.exact - one.lower:.1e}  {one.seconds:5.1f} s", flush=True)
            found.append(one)
        arrays |= {f"{net}/weight{i}": weight for i, weight in enumerate(weights)}
        arrays |= {
            f"{net}/levels": levels[rows],
            f"{net}/target": (digit[rows] % classes).astype(np.uint8),
            f"{net}/exact": np.array([one.exact for one in found]),
            f"{net}/lower": np.array([one.lower for one in found]),
            f"{net}/witness": np.stack([one.point for one in found]),
        }
        np.savez_compressed(FILE, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
