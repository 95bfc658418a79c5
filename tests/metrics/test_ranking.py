from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from bcadv.metrics import clinical
from bcadv.metrics.ranking import (
    auroc_influence,
    auroc_interval,
    mean_ranking,
    ranking,
    score_ends,
)

PATIENT = np.repeat(np.arange(24), 5)
POSITIVE = PATIENT % 2 == 0


@given(st.integers(0, 10_000))
def test_influence_is_the_derivative_by_an_images_weight(seed: int) -> None:
    random = np.random.default_rng(seed)
    positive = random.permutation([True] * 5 + [False] * 7)
    score = random.integers(0, 6, 12).astype(float)  # with ties
    value, influence = auroc_influence(score, positive)
    once = np.ones((1, 12))
    assert value == pytest.approx(clinical.auroc(score, positive, once)[0])
    assert influence.sum() == pytest.approx(0, abs=1e-12)
    for i in range(12):
        more, less = once.copy(), once.copy()
        more[0, i] += 1e-5
        less[0, i] -= 1e-5
        slope = (
            clinical.auroc(score, positive, more)[0] - clinical.auroc(score, positive, less)[0]
        ) / 2e-5
        assert influence[i] == pytest.approx(slope, abs=1e-6)


@given(
    value=st.floats(0, 1),
    positive=st.floats(1.5, 300),
    negative=st.floats(1.5, 300),
    quantile=st.floats(1, 12),
)
def test_the_ends_solve_the_score_equation_with_the_hanley_mcneil_variance(
    value: float, positive: float, negative: float, quantile: float
) -> None:
    others = (positive + negative) / 2 - 1

    def variance(theta: float) -> float:
        q1, q2 = theta / (2 - theta), 2 * theta**2 / (1 + theta)
        single = theta * (1 - theta) + others * (q1 - theta**2) + others * (q2 - theta**2)
        return max(0.0, single) / (positive * negative)

    low, high = score_ends(value, variance, quantile)
    assert 0 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1
    for end in (low, high):
        assert abs(value - end) == pytest.approx(quantile * np.sqrt(variance(end)), abs=1e-5)


def test_separated_scores_keep_a_width_that_patients_decide() -> None:
    apart = auroc_interval(ranking(POSITIVE.astype(float), POSITIVE, PATIENT, 24))
    assert apart[1] == 1
    assert 0.7 < apart[0] < 0.95
    each = np.arange(len(PATIENT))
    alone = auroc_interval(ranking(POSITIVE.astype(float), POSITIVE, each, len(each)))
    assert apart[0] < alone[0] < 1
    reversed_ = auroc_interval(ranking(-POSITIVE.astype(float), POSITIVE, PATIENT, 24))
    assert reversed_ == pytest.approx((0, 1 - apart[0]), abs=1e-6)


def test_many_patients_have_the_interval_of_obuchowskis_variance() -> None:
    random = np.random.default_rng(0)
    patient = np.repeat(np.arange(600), 4)
    positive = patient % 2 == 0
    score = positive + random.normal(size=600)[patient] + random.normal(size=2400)
    found = ranking(score, positive, patient, 600)
    influence = auroc_influence(score, positive)[1]
    by_patient = np.bincount(patient, influence)
    error = np.sqrt((by_patient**2).sum())
    low, high = auroc_interval(found)
    assert (high - low) / 2 == pytest.approx(t.ppf(0.975, 598) * error, rel=0.02)
    assert low < found.value < high
    assert found.independent == pytest.approx(float((influence**2).sum()), rel=1e-2)
    assert error**2 > 1.5 * found.independent


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_sides_may_be_swapped_and_scores_stretched(seed: int) -> None:
    random = np.random.default_rng(seed)
    score = random.integers(0, 9, len(PATIENT)).astype(float) + POSITIVE
    low, high = auroc_interval(ranking(score, POSITIVE, PATIENT, 24))
    assert 0 <= low < high <= 1
    swapped = auroc_interval(ranking(-score, ~POSITIVE, PATIENT, 24))
    assert swapped == pytest.approx((low, high), abs=1e-6)
    stretched = auroc_interval(ranking(np.exp(score), POSITIVE, 23 - PATIENT, 24))
    assert stretched == pytest.approx((low, high), abs=1e-6)


def test_one_patient_of_a_side_says_nothing() -> None:
    random = np.random.default_rng(0)
    assert auroc_interval(ranking(random.normal(size=120), PATIENT == 0, PATIENT, 24)) == (0, 1)


def test_a_mean_of_one_is_that_one() -> None:
    random = np.random.default_rng(0)
    found = ranking(random.normal(size=120) + POSITIVE, POSITIVE, PATIENT, 24)
    again = mean_ranking([found, found], found.independent)
    assert auroc_interval(again) == pytest.approx(auroc_interval(found))
    assert found.lost.sum(axis=1) == pytest.approx([1 - found.value] * 2)
    assert found.weights.sum(axis=1) == pytest.approx([1, 1])
