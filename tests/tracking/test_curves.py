"""Metrics from result files."""

from __future__ import annotations

import math

from bcadv.tracking.curves import history_points, result_points
from tests.tracking import made


def curve(results: dict[str, object], name: str) -> dict[int, float]:
    return {point.step: point.value for point in result_points(results) if point.name == name}


def test_a_curve_has_its_strength_as_step_in_hundredths_of_a_grey_level() -> None:
    assert curve(made.results((0, 0.25, 8)), "as_trained/fgsm/accuracy") == {
        0: 1.0,
        25: 1 - 0.25 / 16,
        800: 0.5,
    }


def test_a_curve_begins_at_the_clean_value_where_strength_zero_was_not_evaluated() -> None:
    results = made.results((1, 8))
    results["clean"] = [made.row("none", 0, accuracy=0.9), made.row("none", 0, "noisy", ece=0.3)]
    assert curve(results, "as_trained/fgsm/accuracy")[0] == 0.9
    assert 0 not in curve(results, "as_trained/fgsm/auroc")
    assert curve(results, "as_trained/fgsm/ece") == {100: 0.1, 800: 0.1}
    measured = made.results((0, 8))
    measured["clean"] = [made.row("none", 0, accuracy=0.9)]
    assert curve(measured, "as_trained/fgsm/accuracy")[0] == 1.0


def test_each_strength_is_a_scalar_for_the_metrics_that_one_sorts_by() -> None:
    names = {point.name for point in result_points(made.results((0.25, 8)))}
    assert {n for n in names if "_at_" in n} == {
        f"as_trained/fgsm/{metric}_at_{eps}"
        for metric in ("accuracy", "auroc")
        for eps in ("0.25", "8")
    }
    assert curve(made.results(), "as_trained/fgsm/accuracy_at_8") == {0: 0.5}


def test_undefined_values_are_left_out() -> None:
    results = made.results()
    results["perturbed"] = [made.row("fgsm", 8, accuracy=0.5, auroc=None)]
    names = {point.name for point in result_points(results)}
    assert "as_trained/fgsm/accuracy_at_8" in names
    assert not any("fgsm/auroc" in name and "_at_" in name for name in names)


def test_the_step_of_a_training_metric_is_its_epoch() -> None:
    points = list(history_points([{"epoch": 3, "train_loss": 0.5, "val_loss": math.nan}]))
    assert [(p.name, p.step) for p in points] == [("train_loss", 3), ("val_loss", 3)]
    assert points[0].value == 0.5
