"""The closed forms of linear models against independent solvers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from tests.perturb.truth.linear import NORMS, Case, LinearModel, case, distance, nearest

Array = np.ndarray[Any, np.dtype[np.float64]]


def solved(slope: Array, lead: float, low: Array, high: Array, norm: float) -> float:
    """The smallest d between low and high with slope . d >= lead, by a general solver."""
    if float(np.where(slope > 0, slope * high, slope * low).sum()) < lead:
        return math.inf
    if norm == 0:
        return brute(slope, lead, low, high)
    if norm == 2:
        return by_sqp(slope, lead, low, high)
    n = len(slope)
    # L-inf: one more variable above all |d|; L1: one more per pixel.
    more = 1 if norm == math.inf else n
    above = np.ones((n, 1)) if norm == math.inf else np.eye(n)
    rows = np.block(
        [[np.eye(n), -above], [-np.eye(n), -above], [-slope[None], np.zeros((1, more))]]
    )
    found = optimize.linprog(
        np.r_[np.zeros(n), np.ones(more)],
        A_ub=rows,
        b_ub=np.r_[np.zeros(2 * n), -lead],
        bounds=[*zip(low, high, strict=True), *[(0, None)] * more],
        method="highs",
    )
    assert found.fun is not None, found.message
    return float(found.fun)


def by_sqp(slope: Array, lead: float, low: Array, high: Array) -> float:
    def size(change: Array) -> float:
        return float(change @ change)

    found = optimize.minimize(
        size,
        np.clip(slope * lead / (slope @ slope), low, high),
        method="SLSQP",
        bounds=optimize.Bounds(low, high),
        constraints=optimize.LinearConstraint(slope[None], lead, np.inf),
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert slope @ found.x >= lead - 1e-7
    return float(np.sqrt(found.fun))


def brute(slope: Array, lead: float, low: Array, high: Array) -> float:
    gain = np.maximum(slope * low, slope * high)
    for count in range(len(slope) + 1):
        for chosen in itertools.combinations(range(len(slope)), count):
            if gain[list(chosen)].sum() >= lead:
                return float(count)
    return math.inf


def reference(given: Case, norm: float, *, box: bool) -> list[float]:
    """The distance of each image by the solvers, from the weights alone."""
    weight = given.model.weight.detach().flatten(1).numpy()
    bias = given.model.bias.detach().numpy()
    found = []
    for pixels, y in zip(given.image.flatten(1).numpy(), given.target.tolist(), strict=True):
        wide = np.full_like(pixels, 1e3)
        low, high = (-pixels, 1 - pixels) if box else (-wide, wide)
        logits = weight @ pixels + bias
        others = [k for k in range(len(weight)) if k != y]
        found.append(
            min(
                solved(weight[k] - weight[y], float(logits[y] - logits[k]), low, high, norm)
                for k in others
            )
        )
    return found


@pytest.mark.parametrize("box", [True, False])
@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 4))
@settings(max_examples=15, deadline=None)
def test_the_closed_form_is_what_a_solver_finds(
    norm: float, box: bool, seed: int, classes: int
) -> None:
    shape = (1, 2, 3) if norm == 0 else (1, 4, 4)
    given = case(seed, n=4, classes=classes, shape=shape)
    found = distance(given.model, given.image, given.target, norm, box=box)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), reference(given, norm, box=box), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3])
def test_the_nearest_point_is_in_the_box_at_the_distance_and_on_the_boundary(
    norm: float, classes: int
) -> None:
    given = case(5, n=64, classes=classes, shape=(3, 8, 8))
    found = nearest(given.model, given.image, given.target, norm)
    assert bool(((found.point >= 0) & (found.point <= 1 + 1e-15)).all())
    moved = (found.point - given.image).flatten(1)
    if norm == 0:
        size = (moved != 0).sum(1).double()
    else:
        size = torch.linalg.vector_norm(moved, norm, dim=1)
    torch.testing.assert_close(size, found.distance, rtol=1e-12, atol=0)
    with torch.no_grad():
        logits = given.model(found.point)
    own = logits.gather(1, given.target[:, None])
    lead = own[:, 0] - logits.scatter(1, given.target[:, None], -math.inf).amax(1)
    assert float(lead.abs().max()) < 1e-12


@pytest.mark.parametrize(("norm", "dual"), [(1.0, math.inf), (2.0, 2.0), (math.inf, 1.0)])
def test_far_from_the_box_it_is_the_lead_over_the_dual_norm(norm: float, dual: float) -> None:
    given = case(1, n=64, grey=True, depth=0.0)
    weight, bias = given.model.weight.detach().flatten(1), given.model.bias.detach()
    slope = weight[1] - weight[0]
    lead = (given.image.flatten(1) @ slope + bias[1] - bias[0]).abs()
    free = lead / torch.linalg.vector_norm(slope, dual)
    torch.testing.assert_close(
        distance(given.model, given.image, given.target, norm, box=False), free, rtol=1e-12, atol=0
    )
    boxed = distance(given.model, given.image, given.target, norm)
    small = free < 0.3
    assert int(small.sum()) > 10
    torch.testing.assert_close(boxed[small], free[small], rtol=1e-12, atol=0)
    assert bool((boxed >= free * (1 - 1e-12)).all())


@pytest.mark.parametrize("norm", NORMS)
def test_the_box_matters_in_the_cases_and_their_scale_does_not(norm: float) -> None:
    given, sharp = case(2, n=32), case(2, n=32, scale=1000.0)
    boxed = distance(given.model, given.image, given.target, norm)
    free = distance(given.model, given.image, given.target, norm, box=False)
    assert float((boxed > 1.001 * free).double().mean()) > 0.5
    torch.testing.assert_close(distance(sharp.model, sharp.image, sharp.target, norm), boxed)


@pytest.mark.parametrize("norm", NORMS)
def test_what_no_pixel_can_reach_is_infinitely_far_and_what_is_wrong_already_is_at_hand(
    norm: float,
) -> None:
    weight = torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    image = torch.full((3, 1, 1, 1), 0.5, dtype=torch.float64)
    target = torch.tensor([0, 0, 1])
    for bias, expected in ((-2.0, [math.inf, math.inf, 0.0]), (-0.75, None)):
        model = LinearModel(weight, torch.tensor([0.0, bias], dtype=torch.float64))
        found = distance(model, image, target, norm)
        quarter = 1.0 if norm == 0 else 0.25
        assert found.tolist() == (expected or [quarter, quarter, 0.0])
