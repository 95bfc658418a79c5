from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bcadv.report.curves import robustness_curve, training_curve
from bcadv.results.schema import CLEAN, Result
from tests.metrics.tables import fgsm, gaussian, pgd
from tests.report.jobs_on_disk import history
from tests.results import made

Job = tuple[Path, Result]


def test_curve_holds_the_measured_values_evenly_spaced(job: Job) -> None:
    result = job[1]
    figure = robustness_curve(result)
    assert figure is not None
    panels = figure.axes
    assert [panel.get_title() for panel in panels] == [
        "accuracy, FGSM",
        "sensitivity, FGSM",
        "specificity, FGSM",
    ]
    shown = ["clean", *(fgsm(eps).id for eps in (0.25, 1, 4))]
    for panel, metric in zip(panels, ("accuracy", "sensitivity", "specificity"), strict=True):
        labels = [label.get_text() for label in panel.get_xticklabels()]
        assert labels == ["0", "0.25", "1", "4"]
        for line, band, variant in zip(
            panel.lines, panel.collections, ("as_trained", "clean"), strict=True
        ):
            rows = {r.condition: r.metrics[metric] for r in result.rows if r.batchnorm == variant}
            entries = [rows[name] for name in shown]
            assert np.array_equal(line.get_xdata(), [0, 1, 2, 3])
            assert line.get_ydata() == pytest.approx([100 * (e.value or 0) for e in entries])
            corners = np.asarray(band.get_paths()[0].vertices)[:, 1]
            assert corners.min() == pytest.approx(100 * min(e.ci_low or 0 for e in entries))
            assert corners.max() == pytest.approx(100 * max(e.ci_high or 0 for e in entries))


def test_each_perturbation_has_its_row_its_norm_and_its_unit() -> None:
    figure = robustness_curve(made.result([fgsm(1), fgsm(2), gaussian(0.1)]))
    assert figure is not None
    assert len(figure.axes) == 3  # one strength makes no curve
    tried = [fgsm(1), fgsm(2), pgd(0.5, "2"), pgd(1, "2"), gaussian(0.1), gaussian(0.2)]
    figure = robustness_curve(made.result(tried))
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes[::3]] == [
        "accuracy, FGSM",
        "accuracy, PGD-20, L2",
        "accuracy, Gaussian noise",
    ]
    inf, two, noise = (axes.get_xlabel() for axes in figure.axes[::3])
    assert inf == "ε in grey levels of 255 (0: clean)"
    assert two.startswith("ε, Euclidean length")
    assert noise.startswith("σ")
    assert "255" not in two + noise


def test_undefined_values_leave_a_gap() -> None:
    conditions = [CLEAN, fgsm(1), fgsm(2)]
    rows = [made.row(c) for c in conditions]
    rows[0] = made.row(CLEAN, sensitivity=None)
    figure = robustness_curve(made.result(conditions, rows))
    assert figure is not None
    found = np.asarray(figure.axes[1].lines[0].get_ydata(), dtype=float)
    assert list(np.isnan(found)) == [True, False, False]


def test_training_leaves_out_what_was_not_measured() -> None:
    table = history(5)
    table["val_loss"] = np.nan
    table.loc[2, "val_accuracy"] = np.nan
    loss, accuracy = training_curve(table, "title", synthetic=False).axes
    assert [line.get_label() for line in loss.lines] == ["training"]
    assert np.array_equal(accuracy.lines[1].get_xdata(), [0, 1, 3, 4])
    assert accuracy.lines[0].get_ydata() == pytest.approx(100 * table["train_accuracy"].to_numpy())
