from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, t

from bcadv.metrics.clustered import (
    between,
    drawn,
    effective,
    mean_of_parts,
    rate_interval,
    student,
)
from bcadv.metrics.intervals import Interval, wilson
from bcadv.metrics.paired import paired_gap


def _student_wilson(k: int, n: int, patients: int) -> Interval:
    """Wilson's with Student's quantile, by the normal level that has the same one."""
    level = 2 * norm.cdf(t.ppf(0.975, patients - 1)) - 1
    ends = binomtest(k, n).proportion_ci(level, method="wilson")
    return ends.low, ends.high


def _width(ends: Interval) -> float:
    return ends[1] - ends[0]


def test_patients_count_by_how_much_they_have() -> None:
    assert effective(np.ones(7)) == pytest.approx(7)
    assert effective(np.array([5.0, 0, 0])) == pytest.approx(1)
    assert effective(np.array([3.0, 1.0])) == pytest.approx(1.6)
    assert effective(np.zeros(4)) == 0
    assert student(9) == pytest.approx(t.ppf(0.975, 9))
    assert student(0) == student(1e-9) == math.inf


@given(sizes=st.lists(st.integers(1, 30), min_size=2, max_size=12), value=st.floats(0.05, 0.95))
def test_the_variance_between_patients_has_no_bias_where_images_are_independent(
    sizes: list[int], value: float
) -> None:
    """Its expectation over independent images in closed form, patient by patient."""
    images = np.array(sizes, dtype=float)
    weights = images / images.sum()
    # Of patient j's hits, less its weight of all hits.
    of_own = images * (1 - weights) ** 2 + (images.sum() - images) * weights**2
    moved = np.sqrt(of_own * value * (1 - value)) / images.sum()
    expected = value * (1 - value) / images.sum()
    assert between(moved, weights) == pytest.approx(expected)


@settings(max_examples=50)
@given(right=st.lists(st.booleans(), min_size=4, max_size=60))
def test_with_an_image_a_patient_it_is_wilsons(right: list[bool]) -> None:
    hit, n = np.array(right), len(right)
    expected = _student_wilson(int(hit.sum()), n, n)
    assert rate_interval(hit, np.arange(n)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("wrong", "patients"), [(0, 8), (1, 5), (4, 12), (12, 12)])
def test_patients_who_are_alike_throughout_count_once(wrong: int, patients: int) -> None:
    patient = np.repeat(np.arange(patients), 9)
    ends = rate_interval(patient >= wrong, patient)
    assert ends == pytest.approx(_student_wilson(patients - wrong, patients, patients), abs=1e-9)


def test_patients_who_are_as_often_right_count_image_by_image() -> None:
    """With many patients and no likeness it is Wilson's of images, and never narrower."""
    patient = np.repeat(np.arange(400), 5)
    hit = np.tile([True, True, True, True, False], 400)
    ends = rate_interval(hit, patient)
    assert ends == pytest.approx(wilson(1600, 2000), abs=2e-4)
    assert _width(ends) > _width(wilson(1600, 2000))


@settings(max_examples=40)
@given(
    images=st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40),
    level=st.sampled_from([0.5, 0.9, 0.99]),
)
def test_a_rate_and_its_counterpart_have_mirrored_intervals(
    images: list[tuple[int, bool]], level: float
) -> None:
    patient, hit = (np.array(column) for column in zip(*images, strict=True))
    low, high = rate_interval(hit, patient, level)
    assert 0 <= low <= hit.mean() <= high <= 1
    mirrored = rate_interval(~hit, patient, level)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)
    wider = rate_interval(hit, patient, 0.999)
    assert wider[0] <= low + 1e-12
    assert wider[1] >= high - 1e-12
    if len(set(patient.tolist())) == 1:
        assert (low, high) == (0, 1)
    # A number is a name.
    assert rate_interval(hit, 9 - 2 * patient, level) == pytest.approx((low, high))


def test_the_more_alike_the_wider() -> None:
    patient = np.repeat(np.arange(20), 10)
    # 160 of 200 right: of every patient 8, of half of them all, of 16 all.
    alike = [
        np.tile(np.arange(10) < 8, 20),
        np.concatenate([np.ones(100, bool), np.tile(np.arange(10) < 6, 10)]),
        patient < 16,
    ]
    widths = [_width(rate_interval(hit, patient)) for hit in alike]
    assert widths == sorted(widths)
    assert widths[2] > 2 * widths[0]


def test_the_largest_variance_counts_while_few_patients_are_wrong() -> None:
    assert drawn(1.0, 4.0, 0.0) == 4
    assert drawn(1.0, 4.0, 1e6) == pytest.approx(1)
    assert drawn(1.0, 4.0, 3.0) == pytest.approx((9 + 12) / 12)
    assert drawn(5.0, 4.0, 1.0) == 5


def test_the_interval_of_a_mean_is_that_of_independent_parts_or_of_one() -> None:
    values, intervals = [0.8, 0.6], [(0.7, 0.85), (0.4, 0.7)]
    apart = np.array([[0.1, -0.1, 0, 0], [0, 0, 0.3, -0.3]])
    low, high = mean_of_parts(values, intervals, apart)
    assert low == pytest.approx(0.7 - math.hypot(0.1, 0.2) / 2)
    assert high == pytest.approx(0.7 + math.hypot(0.05, 0.1) / 2)
    together = mean_of_parts(values, intervals, np.array([[0.1, -0.1], [0.3, -0.3]]))
    assert together == pytest.approx((0.55, 0.775))
    # Where nothing is wrong, nothing varies; the distance to the lower end stays.
    perfect = mean_of_parts([1.0, 1.0], [(0.8, 1.0), (0.8, 1.0)], np.zeros((2, 4)))
    assert perfect == pytest.approx((1 - 0.2 / math.sqrt(2), 1))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(*[st.integers(0, 4)] * 3).filter(any), min_size=1, max_size=12),
    st.sampled_from([0.8, 0.95]),
)
def test_a_difference_turned_round_is_mirrored_and_its_test_agrees_with_it(
    patients: list[tuple[int, int, int]], level: float
) -> None:
    counts = np.array(patients, dtype=float)
    up, down, same = (counts / counts.sum()).T
    weights = up + down + same
    gap = paired_gap(up, down, weights, level=level)
    other = paired_gap(down, up, weights, level=level)
    value = up.sum() - down.sum()
    assert -1 <= gap.low <= value <= gap.high <= 1
    assert (other.low, other.high, other.p) == pytest.approx((-gap.high, -gap.low, gap.p))
    assert (gap.p < 1 - level) == (gap.low > 0 or gap.high < 0)
    if len(patients) == 1:
        assert (gap.low, gap.high, gap.p) == (-1, 1, 1)


def test_a_difference_is_bonett_and_prices_where_images_stand_alone() -> None:
    up, down = (np.array([i in chosen for i in range(50)]) / 50 for chosen in ({1, 2, 3}, {4}))
    gap = paired_gap(up, down, np.full(50, 1 / 50))
    # Sample variance of the differences, 50 images; one more on either side.
    of_images = (4 / 50 - (2 / 50) ** 2) / 50 * 50 / 49
    drawn_to = (4**2 * of_images + 3 * of_images * 49 / 50) / (4**2 + 3)
    units = (4 / 50 - (2 / 50) ** 2) / max(of_images, drawn_to)
    more, less = (units * 3 / 50 + 1) / (units + 2), (units * 1 / 50 + 1) / (units + 2)
    reach = t.ppf(0.975, 49) * math.sqrt((more + less - (more - less) ** 2) / (units + 2))
    assert (gap.low, gap.high) == pytest.approx((more - less - reach, more - less + reach))


def test_models_that_never_differ_are_not_certainly_alike() -> None:
    widths = []
    for count in (5, 20, 80):
        none = np.zeros(count)
        gap = paired_gap(none, none, np.full(count, 1 / count))
        assert gap.low == -gap.high
        assert gap.p == pytest.approx(1)
        widths.append(gap.high)
    assert widths == sorted(widths, reverse=True)
    assert widths[2] == pytest.approx(t.ppf(0.975, 79) * math.sqrt(2) / 82)
