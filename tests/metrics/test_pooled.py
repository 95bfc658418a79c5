from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcadv.metrics import clinical
from bcadv.metrics.intervals import bootstrap_interval, cluster_bootstrap
from bcadv.metrics.pooled import (
    auroc_influence,
    auroc_interval,
    calibration_gaps,
    clusters,
    percentiles,
    resampled_sums,
)


def test_a_patient_is_drawn_with_all_images_of_all_seeds() -> None:
    groups = [np.array(["a", "b", "b"], dtype=object), np.array(["b", "c"], dtype=object)]
    found = clusters(groups, n_boot=50)
    assert found.count == 3
    first = resampled_sums(found, 0, np.eye(3))
    second = resampled_sums(found, 1, np.eye(2))
    assert np.array_equal(first[:, 1], first[:, 2])
    assert np.array_equal(first[:, 1], second[:, 0])
    assert not np.array_equal(first[:, 0], second[:, 1])
    drawn = first[:, 0] + first[:, 1] + second[:, 1]
    assert (drawn == 3).all()


def test_sums_are_those_of_a_loop() -> None:
    random = np.random.default_rng(0)
    patient = random.integers(0, 7, 40)
    found = clusters([np.array([f"P{p}" for p in patient], dtype=object)], n_boot=20)
    columns = random.normal(size=(40, 3))
    drawn = resampled_sums(found, 0, columns)
    for b in range(20):
        expected = sum(found.weights[b, found.numbers[0][i]] * columns[i] for i in range(40))
        assert drawn[b] == pytest.approx(expected, abs=1e-4)


def test_gaps_sum_up_to_the_calibration_error() -> None:
    random = np.random.default_rng(1)
    confidence = random.uniform(0.5, 1, (60, 2)).astype(np.float32)
    confidence[:3, 0] = [1, 0.6, 0.8]
    right = random.random((60, 2)) < 0.7
    gaps = calibration_gaps(confidence, right)
    for j in range(2):
        expected = clinical.calibration_error(
            confidence[:, j].astype(np.float64), right[:, j], np.ones((1, 60))
        )[0]
        assert np.abs(gaps[:, j].sum(axis=0)).sum() / 60 == pytest.approx(expected, abs=1e-6)


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


def test_auroc_interval_is_close_to_a_bootstrap_over_patients() -> None:
    random = np.random.default_rng(2)
    patient = np.repeat(np.arange(120), 3)
    positive = patient % 2 == 0
    score = positive + random.normal(0, 1, 120)[patient] + random.normal(0, 0.5, 360)
    value, influence = auroc_influence(score, positive)
    low, high = auroc_interval(value, np.bincount(patient, influence).astype(np.float64))
    drawn = bootstrap_interval(
        lambda w: clinical.auroc(score, positive, w), cluster_bootstrap(patient, 2000)
    )
    assert (low, high) == pytest.approx((float(drawn[0]), float(drawn[1])), abs=0.015)
    assert low < value < high
    as_images = auroc_interval(value, influence)
    assert as_images[1] - as_images[0] < 0.75 * (high - low)


def test_auroc_interval_has_no_width_where_nothing_varies() -> None:
    assert auroc_interval(1.0, np.zeros(9)) == (1.0, 1.0)
    assert auroc_interval(0.7, np.array([0.1])) == (0.7, 0.7)


def test_percentiles_leave_out_undefined_resamples() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(400, 3))
    values[::4, 1] = np.nan
    values[:, 2] = np.nan
    ends = percentiles(values)
    for j in range(2):
        expected = np.nanquantile(values[:, j], [0.025, 0.975])
        assert ends[:, j] == pytest.approx(expected)
    assert np.isnan(ends[:, 2]).all()
    centred = percentiles(values, centre=np.array([5.0, 6.0, 7.0]))
    assert centred[:, 1] - ends[:, 1] == pytest.approx([6 - np.nanmean(values[:, 1])] * 2)
    assert math.isnan(centred[0, 2])


def test_the_interval_of_an_auroc_is_that_of_its_logit() -> None:
    influence = np.array([0.02, -0.03, 0.01])
    error = math.sqrt(3 / 2 * float((influence**2).sum())) / (0.8 * 0.2)
    low, high = auroc_interval(0.8, influence)
    for end, sign in ((low, -1), (high, 1)):
        assert math.log(end / (1 - end)) == pytest.approx(
            math.log(0.8 / 0.2) + sign * 1.959964 * error, rel=1e-6
        )
