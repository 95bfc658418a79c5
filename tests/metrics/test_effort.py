"""What attacks achieved, worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bcadv.metrics.effort import efforts, optimality
from bcadv.results.condition import CLEAN, Condition
from tests.metrics.tables import fgsm, pgd


def frame(prediction: list[int], size: float | list[float], **more: object) -> pd.DataFrame:
    """Four images of class 0."""
    return pd.DataFrame({"prediction": prediction, "target": 0, "size": size} | more)


def test_four_images_by_hand() -> None:
    one, two, other = fgsm(1), fgsm(2), pgd(2)
    found = efforts(
        [
            ("as_trained", CLEAN.id, frame([0, 0, 0, 1], 0.0)),
            ("as_trained", one.id, frame([1, 0, 0, 1], 1 / 255, gradients=1, queries=1)),
            ("as_trained", two.id, frame([1, 1, 0, 1], 2 / 255, gradients=1, queries=1)),
            (
                "as_trained",
                other.id,
                frame(
                    [1, 1, 1, 1],
                    [0.5 / 255, 1 / 255, 2 / 255, 0],
                    gradients=[5, 7, 9, 1],
                    broken_by=["a", "b", "b", None],
                ),
            ),
        ],
        [CLEAN, one, two, other],
    )
    step, many = found
    assert (step.series, step.n, step.broken) == (one.series, 3, 2)
    assert step.median_distance == pytest.approx(2 / 255)
    assert (step.gradients, step.queries) == (1, 1)
    # The curves end at 2: FGSM gains (2 - 1) + 0 + 0 of the (2 - 0.5) + (2 - 1) + 0 that there are.
    assert step.optimality == pytest.approx(1 / 2.5)
    assert step.against == 1
    assert step.broken_by == {}
    assert (many.n, many.broken, many.gradients, many.queries) == (3, 3, 5.5, None)
    assert many.median_distance == pytest.approx(1 / 255)
    assert many.optimality == pytest.approx(1)
    assert many.broken_by == {other.id: {"a": 1, "b": 2}}


def test_the_distance_of_a_minimal_norm_attack_goes_beyond_its_strengths() -> None:
    nearest = pgd(1, "2")
    [found] = efforts(
        [
            ("clean", CLEAN.id, frame([0, 0, 0, 0], 0.0)),
            ("clean", nearest.id, frame([0, 0, 1, 1], 0.5, distance=[3.0, np.inf, 0.4, 0.5])),
        ],
        [CLEAN, nearest],
    )
    assert (found.batchnorm, found.broken, found.optimality, found.against) == ("clean", 3, None, 0)
    assert found.median_distance == pytest.approx((0.5 + 3) / 2)


def test_where_exactly_half_is_broken_there_is_no_median() -> None:
    """The median lies between a distance and none at all."""
    one = fgsm(1)
    rows = [frame([0] * 4, 0.0), frame([1, 1, 0, 0], 0.1)]
    named = zip(("as_trained",) * 2, (CLEAN.id, one.id), rows, strict=True)
    [found] = efforts(named, [CLEAN, one])
    assert (found.n, found.broken, found.median_distance) == (4, 2, None)


def test_attacks_of_other_norms_and_aims_are_no_rivals() -> None:
    hiding = Condition.model_validate(fgsm(1).model_dump(exclude={"id"}) | {"goal": "hide"})
    tried = [fgsm(1), pgd(1, "2"), hiding]
    found = efforts(
        [
            ("as_trained", CLEAN.id, frame([0, 0, 0, 0], 0.0)),
            *(("as_trained", c.id, frame([1, 1, 1, 0], 0.1)) for c in tried),
        ],
        [CLEAN, *tried],
    )
    assert [effort.optimality for effort in found] == [None] * 3


def test_the_score_is_that_of_the_area_between_the_curves() -> None:
    random = np.random.default_rng(0)
    best = random.exponential(1, 200)
    attack = best * random.uniform(1, 3, 200)
    attack[:20] = np.inf
    found = optimality(attack, [best, attack], 99.0)
    end = best.max()
    grid = np.linspace(0, end, 200_001)
    curve, lowest = ((d[:, None] > grid[None, ::100]).mean(0) for d in (attack, best))
    step = grid[100]
    area, least = (np.sum((c[1:] + c[:-1]) / 2) * step for c in (curve, lowest))
    assert found == pytest.approx((end - area) / (end - least), rel=2e-3)
    assert optimality(best, [best, attack], 99.0) == 1
    assert optimality(np.full(3, np.inf), [np.full(3, np.inf), np.ones(3)], 2.0) == 0
    assert optimality(np.full(3, np.inf), [np.full(3, np.inf)], 2.0) is None
