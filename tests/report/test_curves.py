from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bcadv.report.curves import robustness_curve, training_curve
from tests.report.jobs_on_disk import history

Job = tuple[Path, dict[str, Any]]


def test_curve_holds_the_measured_values_evenly_spaced(job: Job) -> None:
    results = job[1]
    figure = robustness_curve(results)
    assert figure is not None
    panels = figure.axes
    assert [panel.get_title() for panel in panels] == [
        "accuracy, fgsm",
        "sensitivity, fgsm",
        "specificity, fgsm",
    ]
    for panel, metric in zip(panels, ("accuracy", "sensitivity", "specificity"), strict=True):
        labels = [label.get_text() for label in panel.get_xticklabels()]
        assert labels == ["0", "0.25", "1", "4"]
        for line, band, variant in zip(
            panel.lines, panel.collections, ("as_trained", "clean"), strict=True
        ):
            rows = {
                row["eps_px"]: row["metrics"][metric]
                for row in results["perturbed"]
                if row["batchnorm"] == variant
            }
            assert np.array_equal(line.get_xdata(), [0, 1, 2, 3])
            assert line.get_ydata() == pytest.approx([100 * e["value"] for e in rows.values()])
            corners = np.asarray(band.get_paths()[0].vertices)[:, 1]
            assert corners.min() == pytest.approx(100 * min(e["ci_low"] for e in rows.values()))
            assert corners.max() == pytest.approx(100 * max(e["ci_high"] for e in rows.values()))


def test_each_perturbation_has_its_row_and_noise_has_sigma(job: Job) -> None:
    results = job[1]
    noisy = [
        row | {"perturbation": "gaussian", "eps_px": px}
        for row in results["perturbed"]
        for px in (12.75, 25.5)
        if row["eps_px"] == 4
    ]
    single = [row for row in noisy if row["eps_px"] == 25.5]
    without = robustness_curve(results | {"perturbed": results["perturbed"] + single})
    assert without is not None
    assert len(without.axes) == 3
    figure = robustness_curve(results | {"perturbed": results["perturbed"] + noisy})
    assert figure is not None
    assert len(figure.axes) == 6
    assert figure.axes[0].get_xlabel().startswith("ε")
    assert figure.axes[3].get_xlabel().startswith("σ")


def test_undefined_values_leave_a_gap(job: Job) -> None:
    results = job[1]
    undefined = {"value": None, "ci_low": None, "ci_high": None}
    rows = [row | {"metrics": row["metrics"] | {"accuracy": undefined}} for row in results["clean"]]
    figure = robustness_curve(results | {"clean": rows})
    assert figure is not None
    assert np.isnan(np.asarray(figure.axes[0].lines[0].get_ydata(), dtype=float)[0])


def test_training_leaves_out_what_was_not_measured() -> None:
    table = history(5)
    table["val_loss"] = np.nan
    table.loc[2, "val_accuracy"] = np.nan
    loss, accuracy = training_curve(table, "title", synthetic=False).axes
    assert [line.get_label() for line in loss.lines] == ["training"]
    assert np.array_equal(accuracy.lines[1].get_xdata(), [0, 1, 3, 4])
    assert accuracy.lines[0].get_ydata() == pytest.approx(100 * table["train_accuracy"].to_numpy())
