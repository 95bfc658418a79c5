"""The line figures of one job: metrics against epsilon, and training against epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bcadv.report.style import BLUE, LINES, VERMILLION, new_figure
from bcadv.report.table import by_variant, is_synthetic, perturbation_name, variant_name

_METRICS = {"accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity"}


def robustness_curve(results: Mapping[str, Any]) -> Figure | None:
    """Accuracy, sensitivity and specificity against epsilon, a line per BatchNorm variant.

    One row of panels per perturbation; bands are the 95 % intervals.

    Args:
        results: contents of ``results.json``.

    Returns:
        The figure; ``None`` where nothing was perturbed.
    """
    lines = {variant_name(variant): rows for variant, rows in by_variant(results).items()}
    return _curves(
        lines,
        list(_METRICS),
        f"{results['run']['experiment']}: metrics against the size of the perturbation",
        synthetic=is_synthetic(results),
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


def _curves(
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
    metrics: Sequence[str],
    title: str,
    *,
    synthetic: bool,
) -> Figure | None:
    perturbations = list(
        dict.fromkeys(
            perturbation_name(row)
            for rows in lines.values()
            for row in rows
            if row["perturbation"] != "none"
        )
    )
    if not perturbations:
        return None
    # A single strength makes no curve; it is shown only where there is nothing else.
    perturbations = [p for p in perturbations if _strengths(lines, p) > 1] or perturbations
    figure = new_figure(
        3.6 * len(metrics) + 0.4, 3.1 * len(perturbations) + 0.9, title, synthetic=synthetic
    )
    grid = figure.subplots(len(perturbations), len(metrics), sharey=True, squeeze=False)
    for axes_row, perturbation in zip(grid, perturbations, strict=True):
        for axes, metric in zip(axes_row, metrics, strict=True):
            _panel(axes, lines, perturbation, metric)
        axes_row[0].set_ylabel("% (band: 95 % interval)")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    return figure


def _strengths(lines: Mapping[str, Sequence[Mapping[str, Any]]], perturbation: str) -> int:
    """Number of different strengths that a perturbation was tried at."""
    rows = (row for rows in lines.values() for row in rows)
    return len({_size(row) for row in rows if perturbation_name(row) == perturbation})


def _panel(
    axes: Axes,
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
    perturbation: str,
    metric: str,
) -> None:
    chosen = {
        name: [row for row in rows if perturbation_name(row) in {"clean", perturbation}]
        for name, rows in lines.items()
    }
    sizes = sorted({_size(row) for rows in chosen.values() for row in rows})
    symbol = "σ" if perturbation.startswith("gaussian") else "ε"
    for (name, rows), look in zip(chosen.items(), cycle(LINES), strict=False):
        ordered = sorted(rows, key=_size)
        # Evenly spaced sizes: on a linear axis 1/4, 1/2 and 1 would lie on top of each other.
        x = [sizes.index(_size(row)) for row in ordered]
        value, low, high = (
            _percent(row["metrics"][metric][key] for row in ordered)
            for key in ("value", "ci_low", "ci_high")
        )
        axes.plot(x, value, label=name, markersize=5, **look)
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axes.set_xticks(range(len(sizes)), [f"{size:g}" for size in sizes])
    axes.set_xlabel(f"{symbol} in grey levels of 255")
    axes.set_ylim(-3, 103)
    axes.set_title(f"{metric}, {perturbation}", fontsize=10)
    axes.grid(alpha=0.3)


def _size(row: Mapping[str, Any]) -> float:
    return 0.0 if row["perturbation"] == "none" else float(row["eps_px"])


def _percent(values: Iterable[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else 100 * value for value in values])
