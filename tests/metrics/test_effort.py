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
    # The best gains a step for each of two images before the last strength; FGSM for one of them.
    assert step.optimality == pytest.approx(1 / 2)
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
    strengths = np.linspace(0, 4, 41)[1:]
    found = optimality(attack, [best, attack], strengths)
    # Robust accuracy between two strengths is that at the lower one.
    width = np.diff(np.append(0, strengths))
    lower = np.append(0, strengths[:-1])
    area, least = (
        float((width * (d[:, None] > lower + 1e-12).mean(0)).sum()) for d in (attack, best)
    )
    assert found == pytest.approx((4 - area) / (4 - least))
    assert optimality(best, [best, attack], strengths) == 1
    never, two = np.full(3, np.inf), np.array([1.0, 2.0])
    assert optimality(never, [never, np.ones(3)], two) == 0
    assert optimality(never, [never], two) is None


def test_an_attack_at_a_few_strengths_does_not_lose_to_one_that_measures_in_between() -> None:
    nearest, asked = np.array([0.2, 0.7, 1.4]), np.array([0.5, 1.0, 2.0])
    assert optimality(asked, [nearest, asked], np.array([0.5, 1.0, 2.0])) == 1
    late = np.array([1.0, 1.0, 2.0])
    # It loses half of what there is to gain: (2 - 0.5) + (2 - 1) against (2 - 1) + (2 - 1).
    assert optimality(late, [nearest, late], np.array([0.5, 1.0, 2.0])) == pytest.approx(2 / 2.5)
