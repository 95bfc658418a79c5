"""Corruption errors: exact values, their intervals, and ratios of two models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from bcadv.errors import BcadvError
from bcadv.metrics.corruption import ByPatient, by_patient, corruption_errors, relative
from bcadv.metrics.patients import recognition_interval
from bcadv.results.condition import CLEAN, Condition

Answers = list[list[NDArray[np.bool_]]]


def corruption(name: str, severity: float) -> Condition:
    return Condition(
        kind="corruption", name=name, strength=severity, unit="severity", label=name.upper()
    )


def table(wrong: dict[Condition, list[int]], patient: list[str | None]) -> Any:
    """Pieces of a predictions table, the images in another order each time."""
    random = np.random.default_rng(0)
    for condition, missed in wrong.items():
        order = random.permutation(len(patient))
        frame = pd.DataFrame(
            {
                "image_id": [f"image-{i}" for i in range(len(patient))],
                "patient": patient,
                "target": 1,
                "prediction": [0 if i in missed else 1 for i in range(len(patient))],
            }
        )
        yield "as_trained", condition.id, frame.iloc[order]


JPEG, BLUR = [corruption("jpeg", s) for s in (1, 3)], [corruption("blur", 1)]
WRONG = {CLEAN: [], JPEG[0]: [0], JPEG[1]: [0, 1, 2], BLUR[0]: [4, 3]}
PATIENTS: list[str | None] = ["a", "a", "b", "b", None]


def test_errors_are_means_over_severities_and_then_over_corruptions() -> None:
    found = corruption_errors(table(WRONG, PATIENTS), [*WRONG])
    values = {of.corruption: of.error.value for of in found}
    assert values == pytest.approx({"jpeg": (1 / 5 + 3 / 5) / 2, "blur": 2 / 5, None: 0.4})
    assert [of.label for of in found] == ["JPEG", "BLUR", "all corruptions"]
    assert found[0].conditions == ("jpeg_1", "jpeg_3")
    assert found[-1].conditions == ("jpeg_1", "jpeg_3", "blur_1")
    assert {of.error.n for of in found} == {5}
    for of in found:
        measure = of.error
        assert None not in (measure.value, measure.ci_low, measure.ci_high)
        assert measure.ci_low < measure.value < measure.ci_high  # type: ignore[operator]
        assert measure.ci_kind == "patient wilson"


def test_the_interval_counts_patients_and_an_image_without_one_for_itself() -> None:
    [jpeg, *_] = corruption_errors(table(WRONG, PATIENTS), [*WRONG])
    # Patient a: images wrong twice and once of two; b: once and never; the last: never.
    shares, weights = np.array([(1 + 0.5) / 2, 0.25, 0]), np.array([0.4, 0.4, 0.2])
    ends = recognition_interval(0.4, shares, weights)
    assert (jpeg.error.ci_low, jpeg.error.ci_high) == pytest.approx(ends)
    alone = corruption_errors(table(WRONG, [None] * 5), [*WRONG])[0].error
    assert alone.ci_kind == "wilson"
    assert alone.value == jpeg.error.value
    assert alone.ci_low != jpeg.error.ci_low


def test_what_is_no_corruption_is_left_aside() -> None:
    attack = Condition(
        kind="attack", name="fgsm", norm="inf", strength=4, unit="grey level", label="FGSM"
    )
    wrong = {CLEAN: [0], attack: [0, 1, 2, 3, 4]}
    assert corruption_errors(table(wrong, PATIENTS), [*wrong]) == []
    both = WRONG | {attack: [0, 1, 2, 3, 4]}
    assert corruption_errors(table(both, PATIENTS), [*both]) == corruption_errors(
        table(WRONG, PATIENTS), [*WRONG]
    )


def test_other_images_under_a_corruption_are_refused() -> None:
    pieces = [(v, name, frame) for v, name, frame in table(WRONG, PATIENTS)]
    pieces[2] = (*pieces[2][:2], pieces[2][2].iloc[:-1])
    with pytest.raises(BcadvError, match="images under jpeg_3 are not the clean ones"):
        corruption_errors(pieces, [*WRONG])


def test_of_several_seeds_the_mean_counts_and_a_patient_once() -> None:
    one, two = np.array([True, False, False]), np.array([True, True])
    found = by_patient([[[one]], [[two]]], [np.array(["a", "b", "b"]), np.array(["a", "c"])])
    assert found.values == pytest.approx([(1 / 3 + 1) / 2])
    assert found.weights == pytest.approx([(1 / 3 + 1 / 2) / 2, 1 / 3, 1 / 4])
    assert found.weights.sum() == pytest.approx(1)
    assert found.errors[:, 0] == pytest.approx([(1 / 3 + 1 / 2) / 2, 0, 1 / 4])
    same = by_patient([[[one]], [[one]]], [np.array(["a", "b", "b"])] * 2)
    once = by_patient([[[one]]], [np.array(["a", "b", "b"])])
    assert same.interval(0) == pytest.approx(once.interval(0))


def test_a_ratio_is_the_mean_of_the_ratios_of_the_corruptions() -> None:
    weights = np.full(20, 0.05)
    errors = np.zeros((20, 2))
    errors[:8, 0], errors[:4, 1] = 0.05, 0.05
    half = errors.copy()
    half[4:8, 0] = 0
    one, other = ByPatient(half, weights), ByPatient(errors, weights)
    value, low, high = relative(one, other)
    assert value == pytest.approx((0.5 + 1) / 2)
    assert low < value < high
    # Half the errors of every patient, in both models alike: nothing is left to chance.
    exact = relative(ByPatient(errors / 2, weights), other)
    assert exact[0] == pytest.approx(0.5)
    assert np.isnan(exact[1:]).all()
    assert np.isnan(relative(one, ByPatient(np.zeros((20, 2)), weights))).all()
    none = relative(ByPatient(np.zeros((20, 2)), weights), other)
    assert none[0] == 0
    assert np.isnan(none[1:]).all()
    few = [ByPatient(x[:9] * 20 / 9, np.full(9, 1 / 9)) for x in (half, errors)]
    assert np.isnan(relative(*few)[1:]).all()
    lone = errors * (np.arange(20) == 2)[:, None]
    assert np.isnan(relative(one, ByPatient(lone, weights))[1:]).all()


def test_both_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    limits, patients, studies = np.array([[-1.2, -0.4], [-0.6, 0.4]]), 30, 300
    spread = math.sqrt(1 + 0.5)
    truth, better = (norm.cdf((limits + by) / spread) for by in (0.0, -0.5))
    ratio = float((better.mean(1) / truth.mean(1)).mean())
    held = np.zeros((studies, 2))
    for study in range(studies):
        patient = np.repeat(np.arange(patients), random.integers(1, 8, patients))
        shared = random.normal(size=patients)[patient]

        def errors(by: float, shared: Any = shared, patient: Any = patient) -> ByPatient:
            noisy = shared + math.sqrt(0.5) * random.normal(size=(2, 2, len(patient)))
            wrong = noisy < limits[..., None] + by
            return by_patient([[list(of) for of in wrong]], [patient])

        plain, defended = errors(0.0), errors(-0.5)
        low, high = plain.mean.interval(0)
        held[study, 0] = low <= truth.mean() <= high
        _, low, high = relative(defended, plain)
        held[study, 1] = low <= ratio <= high
    # Of 300 at 95 %, fewer than 272 or all would be chance once in 1000.
    assert (held.sum(0) >= 272).all()
    assert (held.sum(0) < studies).all()
