"""The line figures of one job: metrics against epsilon, and training against epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bcadv.study.numbers import Series, all_series
from bcadv.report.style import BLUE, LINES, VERMILLION, legend_entries, new_figure
from bcadv.report.table import by_variant, variant_name
from bcadv.results.schema import CLEAN, Condition, Result, Row

_METRICS = {"accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity"}


def robustness_curve(result: Result) -> Figure | None:
    """Accuracy, sensitivity and specificity against epsilon, a line per BatchNorm variant.

    One row of panels per perturbation; bands are the 95 % intervals.

    Args:
        result: content of ``results.json``.

    Returns:
        The figure; ``None`` where nothing was perturbed.
    """
    has_batchnorm = result.model.has_batchnorm
    lines = {
        variant_name(variant if has_batchnorm else None): rows
        for variant, rows in by_variant(result).items()
    }
    return _curves(
        lines,
        list(_METRICS),
        f"{result.run.experiment}: metrics against the size of the perturbation",
        synthetic=result.data.synthetic,
    )


def training_curve(history: pd.DataFrame, title: str, *, synthetic: bool) -> Figure:
    """Loss and accuracy against epoch.

    Args:
        history: a row per epoch with columns epoch, train_loss, train_accuracy, val_loss,
            val_accuracy; accuracies in [0, 1]; what was not measured is nan.
        title: title of the figure.
        synthetic: whether the images are made up.
    """
    figure = new_figure(9, 3.6, title, synthetic=synthetic)
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        scale = 100 if quantity == "accuracy" else 1
        for part, name, color, marker in (
            ("train", "training", BLUE, "o"),
            ("val", "validation", VERMILLION, "s"),
        ):
            values = history[f"{part}_{quantity}"]
            measured = values.notna()
            if measured.any():
                axes.plot(
                    history["epoch"][measured],
                    scale * values[measured],
                    color=color,
                    marker=marker,
                    markersize=3 if len(history) <= 60 else 0,
                    linestyle="-" if part == "train" else "--",
                    label=name,
                )
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross-entropy loss" if quantity == "loss" else "accuracy (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


Lines: TypeAlias = Mapping[str, Sequence[tuple[Condition, Row]]]
"""Name of a line -> its points, clean first."""


def _curves(lines: Lines, metrics: Sequence[str], title: str, *, synthetic: bool) -> Figure | None:
    tried = all_series({condition for rows in lines.values() for condition, _ in rows})
    if not tried:
        return None
    # A single strength makes no curve; it is shown only where there is nothing else.
    tried = [series for series in tried if len(series.conditions) > 1] or tried
    figure = new_figure(
        3.6 * len(metrics) + 0.4, 3.1 * len(tried) + 0.9, title, synthetic=synthetic
    )
    grid = figure.subplots(len(tried), len(metrics), sharey=True, squeeze=False)
    for axes_row, series in zip(grid, tried, strict=True):
        for axes, metric in zip(axes_row, metrics, strict=True):
            _panel(axes, lines, series, metric)
        axes_row[0].set_ylabel("% (band: 95 % interval)")
    handles, labels = legend_entries(grid[0][0])
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    return figure


def _panel(axes: Axes, lines: Lines, series: Series, metric: str) -> None:
    wanted = [CLEAN, *series.conditions]
    chosen = {
        name: sorted((pair for pair in rows if pair[0] in wanted), key=lambda p: p[0].strength)
        for name, rows in lines.items()
    }
    sizes = sorted({condition.strength for rows in chosen.values() for condition, _ in rows})
    for (name, rows), look in zip(chosen.items(), cycle(LINES), strict=False):
        # Evenly spaced sizes: on a linear axis 1/4, 1/2 and 1 would lie on top of each other.
        x = [sizes.index(condition.strength) for condition, _ in rows]
        entries = [row.metrics[metric] for _, row in rows]
        value, low, high = (
            _percent([getattr(entry, key) for entry in entries])
            for key in ("value", "ci_low", "ci_high")
        )
        axes.plot(x, value, label=name, markersize=5, **look)
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axes.set_xticks(range(len(sizes)), [f"{size:g}" for size in sizes])
    axes.set_xlabel(series.first.axis)
    axes.set_ylim(-3, 103)
    axes.set_title(f"{metric}, {series.label}", fontsize=10)
    axes.grid(alpha=0.3)


def _percent(values: Iterable[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else 100 * value for value in values])
