from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap, norm, t

from bcadv.metrics.patients import RECOGNITION, recognition, recognition_interval
from bcadv.metrics.robustness import summarise
from bcadv.results.condition import CLEAN
from bcadv.results.schema import Measure
from tests.metrics.tables import fgsm, predictions

Images = list[tuple[int, bool]]
IMAGES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40)
"""Patient of each image, and whether it is right."""


def _measure(images: Images) -> Measure:
    patient, right = (np.array(column) for column in zip(*images, strict=True))
    return recognition(right, patient)


def _numbers(measure: Measure) -> tuple[float, ...]:
    found = (measure.value, measure.ci_low, measure.ci_high)
    assert None not in found
    return tuple(float(number) for number in found if number is not None)


def test_each_patient_counts_once_however_many_images_it_has() -> None:
    table = predictions(n=9, patients=2, eps_px=(4,))
    # Patient a: 1 of 6 right; b: 2 of 2; the patient of the last image is unknown.
    patient = ["a"] * 6 + ["b"] * 2 + [None]
    right = np.array([True, *[False] * 5, True, True, False])
    attacked = table["condition"] == fgsm(4).id
    table["patient"] = [*patient, *patient]
    table["prediction"] = table["target"]
    table.loc[attacked, "prediction"] = table.loc[attacked, "target"].where(
        right, 1 - table.loc[attacked, "target"]
    )
    rows = summarise(table, [CLEAN, fgsm(4)], ["benign", "malignant"], [1], n_boot=20)
    clean, broken = (row.metrics[RECOGNITION] for row in rows)
    assert (clean.value, clean.n, clean.k) == (1, 2, None)
    assert broken.value == pytest.approx((1 / 6 + 1) / 2)
    assert (broken.n, rows[1].metrics["accuracy"].value) == (2, 3 / 9)


def test_it_agrees_with_a_mean_of_means_by_pandas() -> None:
    table = predictions(n=300, patients=25, seed=3)
    table["patient"] = table["patient"].where(table["index"] % 7 > 0, None)
    table["right"] = table["prediction"] == table["target"]
    known = [CLEAN, *map(fgsm, (0, 1, 4))]
    for row in summarise(table, known, ["benign", "malignant"], [1], n_boot=20):
        of_row = table[table["condition"] == row.condition]
        shares = of_row.groupby("patient")["right"].mean()
        found = row.metrics[RECOGNITION]
        assert found.value == pytest.approx(shares.mean())
        assert found.n == len(shares) == row.n_patients
        assert found.value != pytest.approx(of_row["right"].mean(), abs=1e-3)


def test_without_patients_it_says_so() -> None:
    found = recognition(np.array([True, False]), np.array([-1, -1]))
    assert (found.value, found.n, found.ci_low) == (None, 0, None)
    assert found.reason == "no patient is known"


@pytest.mark.parametrize(("wrong", "patients"), [(0, 8), (1, 5), (4, 12), (12, 12)])
def test_of_patients_wholly_right_or_wrong_it_is_wilsons(wrong: int, patients: int) -> None:
    right = [number >= wrong for number in range(patients)]
    found = _measure([(number, hit) for number, hit in enumerate(right) for _ in range(9)])
    # Normal quantile of this level: Student's at 95 %.
    level = 2 * norm.cdf(t.ppf(0.975, patients - 1)) - 1
    low, high = binomtest(patients - wrong, patients).proportion_ci(level, method="wilson")
    assert _numbers(found) == pytest.approx((1 - wrong / patients, low, high))


def test_from_many_patients_it_is_the_bootstraps() -> None:
    shares = np.random.default_rng(0).beta(2, 1, size=500)
    drawn = bootstrap((shares,), np.mean, n_resamples=2000, method="percentile", random_state=0)
    expected = drawn.confidence_interval
    low, high = _interval(shares)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=3e-3)
    # Patients of weight 0.002 are no more patients than those of weight 1.
    assert recognition_interval(shares.mean(), shares, np.full(500, 0.002)) == pytest.approx(
        (low, high)
    )


def test_one_patient_says_nothing_of_others() -> None:
    assert _numbers(_measure([(0, True), (0, False)])) == (0.5, 0, 1)
    assert _numbers(_measure([(0, True), (1, True)]))[1] < 0.1


@pytest.mark.parametrize("patients", [5, 10, 30])
@pytest.mark.parametrize(("rate", "alike"), [(0.5, 0.1), (0.8, 0.6), (0.95, 0.1), (0.95, 0.6)])
def test_it_holds_the_truth_in_95_of_100_where_a_bootstrap_does_not(
    patients: int, rate: float, alike: float
) -> None:
    """Patients of 5 to 60 images; ``alike`` is the correlation between images of one."""
    random = np.random.default_rng(patients)
    repeats = 400
    size = (repeats, patients)
    chance = random.beta(rate * (1 / alike - 1), (1 - rate) * (1 / alike - 1), size=size)
    images = random.choice([5, 9, 15, 30, 60], size=size)
    shares = random.binomial(images, chance) / images
    ends = np.array([_interval(each) for each in shares])
    held, widths = _held(ends, rate), ends[:, 1] - ends[:, 0]
    assert held >= 0.93
    resampled = random.integers(0, patients, size=(200, patients))
    drawn = np.quantile(shares[:, resampled].mean(axis=2), [0.025, 0.975], axis=1).T
    assert _held(drawn, rate) <= held
    if (patients, rate, alike) == (5, 0.8, 0.6):
        assert _held(drawn, rate) < 0.85
    # Nor is it safe by being useless.
    assert widths.mean() < {5: 0.75, 10: 0.5, 30: 0.3}[patients]


def _interval(shares: NDArray[np.float64]) -> tuple[float, float]:
    return recognition_interval(float(shares.mean()), shares, np.ones(len(shares)))


def _held(ends: NDArray[np.float64], rate: float) -> float:
    return float(((ends[:, 0] <= rate) & (rate <= ends[:, 1])).mean())


@settings(max_examples=50)
@given(images=IMAGES, random=st.randoms(use_true_random=False))
def test_neither_the_order_of_images_nor_the_numbers_of_patients_matter(
    images: Images, random: Random
) -> None:
    renamed = [(7 - patient, right) for patient, right in images]
    random.shuffle(renamed)
    assert _numbers(_measure(renamed)) == pytest.approx(_numbers(_measure(images)))


@settings(max_examples=50)
@given(images=IMAGES, copied=st.integers(0, 6), times=st.integers(2, 5))
def test_copies_of_all_of_a_patients_images_change_nothing(
    images: Images, copied: int, times: int
) -> None:
    of_one = [image for image in images if image[0] == copied]
    more = _measure([*images, *of_one * (times - 1)])
    assert _numbers(more) == pytest.approx(_numbers(_measure(images)))


@settings(max_examples=50)
@given(right=st.lists(st.booleans(), min_size=1, max_size=40))
def test_with_an_image_each_it_is_accuracy(right: list[bool]) -> None:
    found = _measure(list(enumerate(right)))
    assert found.n == len(right)
    assert found.value == pytest.approx(np.mean(right))
    low, high = _numbers(found)[1:]
    assert 0 <= low <= np.mean(right) + 1e-12
    assert np.mean(right) - 1e-12 <= high <= 1


def test_the_variance_between_patients_is_drawn_towards_the_largest() -> None:
    shares, n = np.array([1.0, 0.5, 0.25, 0.75]), 4
    value = float(shares.mean())
    largest = value * (1 - value) / n
    # Of the wrong images most are of two patients: (0 + 0.5 + 0.75 + 0.25)^2 over their squares.
    bearing = 1.5**2 / 0.875
    found = float(np.var(shares, ddof=1)) / n
    variance = (bearing**2 * found + 3 * largest) / (bearing**2 + 3)
    # Wilson 1927, its equation solved for the ends: (p - value)^2 = q^2 p (1 - p) / effective.
    q2 = t.ppf(0.975, n - 1) ** 2 / (n * largest / variance)
    ends = np.roots([1 + q2, -(2 * value + q2), value**2])
    found_ends = recognition_interval(value, shares, np.ones(n))
    assert found_ends == pytest.approx(sorted(ends.real))
