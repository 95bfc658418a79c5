"""Metrics from result files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from bcadv.results.condition import CLEAN
from bcadv.results.schema import Result
from bcadv.tracking.curves import (
    SORTABLE,
    curve_tags,
    history_points,
    main_points,
    result_points,
    steps,
    used_params,
)
from bcadv.tracking.names import curve_group
from tests.metrics.tables import fgsm, gaussian, pgd
from tests.results.made import result as whole
from tests.tracking import made


def curve(result: Result, name: str) -> dict[int, float]:
    return {point.step: point.value for point in result_points(result) if point.name == name}


def test_a_curve_has_its_strength_as_step_in_thousandths_of_a_grey_level() -> None:
    assert curve(made.results((0, 0.25, 8)), "as_trained/fgsm_linf_by_1000_eps/accuracy") == {
        0: 1.0,
        250: 1 - 0.25 / 16,
        8000: 0.5,
    }


def test_a_curve_begins_at_the_clean_value_where_strength_zero_was_not_evaluated() -> None:
    conditions = [CLEAN, fgsm(1), fgsm(8)]
    rows = [made.result_row(c) for c in conditions]
    rows[0] = made.result_row(CLEAN, accuracy=0.9, auroc=None)
    results = made.results((1, 8), rows)
    assert curve(results, "as_trained/fgsm_linf_by_1000_eps/accuracy")[0] == 0.9
    assert 0 not in curve(results, "as_trained/fgsm_linf_by_1000_eps/auroc")
    measured = made.results((0, 8), [rows[0], made.result_row(fgsm(0)), made.result_row(fgsm(8))])
    name = "as_trained/fgsm_linf_by_1000_eps/accuracy"
    assert [p.value for p in result_points(measured) if (p.name, p.step) == (name, 0)] == [1.0]


def test_each_strength_is_a_scalar_for_the_metrics_that_one_sorts_by() -> None:
    names = {point.name for point in result_points(made.results((0.25, 8)))}
    assert {n for n in names if "/" in n and "_at_" in n} == {
        f"as_trained/fgsm_linf/{metric}_at_{eps}" for metric in SORTABLE for eps in ("00.25", "08")
    }
    assert curve(made.results(), "as_trained/fgsm_linf/accuracy_at_08") == {0: 0.5}


def test_a_metric_that_not_every_result_has_is_logged_where_it_is_there() -> None:
    rows = [
        made.result_row(CLEAN, patient_recognition_rate=0.8),
        made.result_row(fgsm(8), patient_recognition_rate=0.3),
    ]
    result = made.results((8,), rows)
    assert curve(result, "as_trained/clean/patient_recognition_rate") == {0: 0.8}
    assert curve(result, "as_trained/fgsm_linf_by_1000_eps/patient_recognition_rate") == {
        0: 0.8,
        8000: 0.3,
    }
    assert not curve(made.results(), "as_trained/clean/patient_recognition_rate")


def test_two_attacks_in_two_norms_do_not_overwrite_each_other() -> None:
    conditions = [fgsm(1), fgsm(1, "2"), pgd(1), pgd(1, "2"), pgd(1, steps=40), gaussian(0.1)]
    rows = [made.result_row(CLEAN)]
    rows += [made.result_row(c, accuracy=i / 10) for i, c in enumerate(conditions)]
    found = result_points(whole(conditions, rows))
    points = [p for p in found if p.name.endswith("/accuracy") and p.step > 0]
    assert len({(p.name, p.step) for p in points}) == len(conditions)
    assert {p.name for p in points} == {
        f"as_trained/{curve_group(c, 1000)}/accuracy" for c in conditions
    }


def test_the_few_that_matter_have_no_prefix_and_are_of_the_attack_that_does_worst() -> None:
    conditions = [fgsm(0), fgsm(2), fgsm(16), pgd(2), pgd(16), fgsm(0.5, "2"), gaussian(2)]
    values = [0.9, 0.6, 0.1, 0.4, 0.2, 0.3, 0.05]
    rows = [made.result_row(CLEAN, accuracy=0.95), made.result_row(CLEAN, "clean", accuracy=0.5)]
    rows += [made.result_row(c, accuracy=v) for c, v in zip(conditions, values, strict=True)]
    rows.append(made.result_row(fgsm(2), "clean", accuracy=0.01))
    result = whole(conditions, rows, batchnorm=("as_trained", "clean"))
    main = {
        "accuracy_at_00": 0.95,
        "accuracy_at_02": 0.4,
        "accuracy_at_16": 0.1,
        "accuracy_l2_at_00.5": 0.3,
    }
    assert main_points(result) == main
    points = list(result_points(result))
    assert {p.name: p.value for p in points if "/" not in p.name} == main
    other = whole(conditions, rows, batchnorm=("clean", "as_trained"))
    assert main_points(other) == {"accuracy_at_00": 0.5, "accuracy_at_02": 0.01}


@pytest.mark.parametrize(
    "strengths", [(0.001, 0.002), (0.0004, 0.0005, 16), (1e-7, 1), (0.125, 0.1251)]
)
def test_no_strength_is_laid_on_another_or_on_the_clean_point(strengths: Sequence[float]) -> None:
    conditions = [fgsm(eps) for eps in strengths]
    rows = [made.result_row(c) for c in (CLEAN, *conditions)]
    step = steps(conditions)
    scale = round(max(step.values()) / max(strengths))
    found = curve(whole(conditions, rows), f"as_trained/fgsm_linf_by_{scale}_eps/accuracy")
    assert len(found) == 1 + len(strengths)
    assert sorted(found) == sorted(step.values())
    said = f"FGSM; step: {scale} x ε in grey levels of 255 (0: clean)"
    assert curve_tags(whole(conditions, rows)) == {f"step.fgsm_linf_by_{scale}_eps": said}


def test_a_strength_of_zero_is_the_clean_point() -> None:
    conditions = [fgsm(eps) for eps in (0, 0.25, 16)]
    rows = [made.result_row(c) for c in (CLEAN, *conditions)]
    name = "as_trained/fgsm_linf_by_1000_eps/accuracy"
    assert list(curve(whole(conditions, rows), name)) == [0, 250, 16000]
    said = curve_tags(whole(conditions, rows))["step.fgsm_linf_by_1000_eps"]
    assert said == "FGSM; step: 1000 x ε in grey levels of 255 (0: clean)"


@pytest.mark.parametrize("strengths", [(1e-20, 255), (1e-320, 1), (1e-15, 255)])
def test_strengths_that_no_whole_number_of_a_store_tells_apart_are_numbered(
    strengths: Sequence[float],
) -> None:
    conditions = [fgsm(eps) for eps in strengths]
    rows = [made.result_row(c) for c in (CLEAN, *conditions)]
    found = curve(whole(conditions, rows), "as_trained/fgsm_linf_by_place_of_eps/accuracy")
    assert list(range(1 + len(strengths))) == sorted(found)
    [said] = curve_tags(whole(conditions, rows)).values()
    assert said == "FGSM; step: place in the order of ε in grey levels of 255 (0: clean)"


def test_undefined_values_are_left_out() -> None:
    rows = [made.result_row(CLEAN), made.result_row(fgsm(8), auroc=None)]
    names = {point.name for point in result_points(made.results((8,), rows))}
    assert "as_trained/fgsm_linf/accuracy_at_08" in names
    assert "as_trained/fgsm_linf/auroc_at_08" not in names


def test_settings_that_nothing_read_are_not_told() -> None:
    every: dict[str, object] = {
        "sigma": 0.1,
        "injection.perturbation": None,
        "injection.probability": 1.0,
        "evaluation.noise": False,
        "evaluation.norm": ["inf"],
        "attacks": ["fgsm"],
        "attack.pgd.steps": 20,
        "eps_px": [1],
        "eps_l2": [2],
        "data.source": "breakhis",
        "objective": "cross_entropy",
        "objective_options": {},
        "objective_options.other.share": 0.1,
        "seed": 0,
    }
    told = used_params(every)
    assert set(told) == {
        "injection.perturbation",
        "evaluation.noise",
        "evaluation.norm",
        "attacks",
        "eps_px",
        "data.source",
        "objective",
        "seed",
    }
    assert "objective_options.other.share" in used_params(every | {"objective": "other"})
    noisy = used_params(every | {"injection.perturbation": "gaussian"})
    assert noisy["sigma"] == 0.1
    on_no_image = {"injection.perturbation": "gaussian", "injection.probability": 0.0}
    assert "sigma" not in used_params(every | on_no_image)
    assert used_params(every | on_no_image)["injection.probability"] == 0
    attacked = used_params(every | {"attacks": ["pgd"], "evaluation.norm": ["2"]})
    assert attacked["attack.pgd.steps"] == 20
    assert "eps_px" not in attacked
    assert "sigma" in used_params(every | {"evaluation.noise": True})
    assert used_params({"sigma": 0.1, "injection.perturbation": "gaussian"})["sigma"] == 0.1


def test_the_step_of_a_training_metric_is_its_epoch() -> None:
    points = list(history_points([{"epoch": 3, "train_loss": 0.5, "val_loss": math.nan}]))
    assert [(p.name, p.step) for p in points] == [
        ("by_epoch/train_loss", 3),
        ("by_epoch/val_loss", 3),
    ]
    assert points[0].value == 0.5
