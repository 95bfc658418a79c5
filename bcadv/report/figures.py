"""The line figures and the heat map, drawn from a study.

Each is as wide as a phone's page, so that its smallest letters are as large there as written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from bcadv.metrics.patients import RECOGNITION
from bcadv.report.style import BLUE, LINES, VERMILLION, legend_entries, new_figure
from bcadv.results.condition import CLEAN, Series
from bcadv.study.arms import Arm
from bcadv.study.naming import variant_name
from bcadv.study.numbers import IN_PER_CENT
from bcadv.study.prose import spread
from bcadv.study.study import Study
from bcadv.text import brief, shown

METRICS = {
    "accuracy": "Accuracy",
    "robust_accuracy": "Robust accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    RECOGNITION: "Patient recognition rate",
    "auroc": "AUROC",
    "ece": "Calibration error (ECE)",
}
"""Metrics in the order of the report, and their names."""

WIDTH = 3.75
"""Inches; 360 pixels of a page."""

MOST_LINES = 4
MOST_BANDS = 3
"""Bands of more lines than this cover each other; beyond, intervals are drawn as bars."""

_SMALL = 8.5
"""Points of the smallest letters: 11.3 pixels of a page."""

_LONGEST = 44
_VALUES = ("value", "low", "high")


def curve(
    study: Study, arms: Sequence[Arm], series: Series, metric: str, *, height: float = 2.55
) -> Figure:
    """One metric against the strength of a perturbation, a line per arm.

    The line is of all seeds together. Up to three arms have their 95 % intervals as bands and
    each seed as a thin line; more have their intervals as bars, each a little aside.

    Args:
        study: what to draw from.
        arms: at most `MOST_LINES`.
        series: the perturbation.
        metric: one of `METRICS`.
        height: in inches, without the legend.
    """
    title = f"{METRICS[metric]}, {series.label}"
    figure = new_figure(WIDTH, height + 0.17 * len(arms), title, synthetic=study.synthetic)
    axes = figure.subplots()
    rows = study.measures[study.measures["metric"] == metric]
    rows = rows[rows["condition"].isin([CLEAN.id, *(c.id for c in series.conditions)])]
    rows = rows[rows["arm"].isin([arm.name for arm in arms])]
    sizes = sorted(rows["strength"].unique())
    few = len(arms) <= MOST_BANDS
    scale = 100 if metric in IN_PER_CENT else 1
    for i, (arm, look) in enumerate(zip(arms, cycle(LINES), strict=False)):
        of_arm = rows[rows["arm"] == arm.name].sort_values("strength")
        shift = 0 if few else 0.09 * (i - (len(arms) - 1) / 2)
        if few and len(arm.seeds) > 1:
            for _, single in of_arm[of_arm["seed"].notna()].groupby("seed", sort=True):
                x, y, *_ = _points(single, sizes, scale)
                axes.plot(x, y, color=look["color"], linewidth=0.6, alpha=0.7)
        x, y, low, high = _points(of_arm[of_arm["seed"].isna()], sizes, scale)
        name = brief(arm.name, _LONGEST)
        axes.plot(x + shift, y, label=name, markersize=4.5, linewidth=1.6, **look)
        if few:
            axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
        else:
            axes.vlines(x + shift, low, high, color=look["color"], linewidth=0.9)
    axes.set_xticks(range(len(sizes)), [f"{size:g}" for size in sizes])
    axes.set_xlabel(series.first.axis, fontsize=_SMALL)
    _finish(axes, metric in IN_PER_CENT, "per cent" if metric in IN_PER_CENT else METRICS[metric])
    return _with_legend(figure, axes)


def against_queries(study: Study, arm: Arm, series: Series) -> Figure:
    """Share of images that a black box fooled against the queries it had spent on each.

    A line per strength, of at most `MOST_BANDS`, with its 95 % interval as a band.

    Args:
        study: what to draw from.
        arm: the model.
        series: the attack.
    """
    drawn = spread(series.conditions, MOST_BANDS)
    title = f"Fooled, {brief(series.label, _LONGEST)}"
    figure = new_figure(WIDTH, 2.3 + 0.17 * len(drawn), title, synthetic=study.synthetic)
    axes = figure.subplots()
    rows = study.queries[study.queries["arm"] == arm.name]
    rows = rows[rows["condition"].isin([condition.id for condition in drawn])]
    for condition, look in zip(drawn, LINES, strict=False):
        of = rows[rows["condition"] == condition.id].sort_values("queries")
        x, told = of["queries"].to_numpy(), np.flatnonzero(of["told"].to_numpy(dtype=bool)).tolist()
        y, low, high = (100 * of[name].to_numpy(dtype=float) for name in _VALUES)
        # Between two counts nothing more is known to be fooled.
        axes.step(
            x, y, where="post", label=condition.equation, markevery=told, markersize=4.5, **look
        )
        axes.fill_between(x, low, high, step="post", color=look["color"], alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    most = int(rows["queries"].max())
    powers = [10**k for k in range(len(str(most)))]
    # A logarithmic axis writes formulas, which no figure here has.
    axes.set_xticks(powers, [f"{power:,}" for power in powers])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("queries per image, at all strengths together", fontsize=_SMALL)
    _finish(axes, True, "per cent fooled")
    return _with_legend(figure, axes)


def _with_legend(figure: Figure, axes: Axes) -> Figure:
    figure.legend(
        *legend_entries(axes),
        loc="outside lower left",
        fontsize=_SMALL,
        frameon=False,
        handlelength=3.2,
    )
    return figure


def _points(rows: pd.DataFrame, sizes: Sequence[float], scale: float) -> list[np.ndarray]:
    """Places on the axis, values, and both ends of their intervals."""
    # Evenly spaced sizes: on a linear axis 1/4, 1/2 and 1 would lie on top of each other.
    x = np.array([sizes.index(size) for size in rows["strength"]], dtype=float)
    columns = (rows[name].to_numpy(dtype=float, na_value=np.nan) for name in _VALUES)
    return [x, *(scale * column for column in columns)]


def _finish(axes: Axes, per_cent: bool, label: str) -> None:
    axes.tick_params(labelsize=_SMALL)
    axes.set_ylabel(label, fontsize=_SMALL)
    axes.set_ylim((-3, 103) if per_cent else (-0.03, 1.03))
    axes.grid(alpha=0.3)


def epochs(name: str, seeds: Sequence[pd.DataFrame], *, synthetic: bool) -> Figure:
    """Training and validation accuracy against epoch, as in fig. 5 of Li & Liu 2023.

    Args:
        name: of the training.
        seeds: history of each seed; several are thin lines beside their mean.
        synthetic: whether the images are made up.
    """
    title = f"Training: {brief(name, _LONGEST)}"
    figure = new_figure(WIDTH, 2.75, title, synthetic=synthetic)
    axes = figure.subplots()
    for part, label, color, dashes in (
        ("train", "training", BLUE, "-"),
        ("val", "validation", VERMILLION, "--"),
    ):
        column = f"{part}_accuracy"
        known = [measured for seed in seeds if len(measured := seed[["epoch", column]].dropna())]
        if not known:
            continue
        many = len(known) > 1
        for seed in known if many else ():
            axes.plot(seed["epoch"], 100 * seed[column], color=color, lw=0.5, alpha=0.6)
        # Seeds of unequal length would make the mean jump where one ends.
        mean = pd.concat([seed.set_index("epoch")[column] for seed in known], axis=1, join="inner")
        axes.plot(
            mean.index,
            100 * mean.mean(axis=1),
            label=f"{label}, mean of {len(known)} seeds" if many else label,
            linewidth=1.8,
            color=color,
            linestyle=dashes,
        )
    axes.set_xlabel("epoch", fontsize=_SMALL)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, True, "accuracy (%)")
    if axes.lines:
        axes.legend(fontsize=_SMALL, loc="lower right")
    return figure


def accuracy_by_sigma(study: Study, attack: Series, variant: str) -> pd.DataFrame | None:
    """Accuracy in per cent: a row per sigma of the training noise, a column per epsilon (0: clean).

    Undefended training is sigma 0; where it was not measured with these BatchNorm statistics, it
    stands there with those it was trained with.

    Returns:
        ``None`` with fewer than two sigmas or two epsilons.
    """
    defended = [arm for arm in study.arms if arm.sigma and arm.variant == variant]
    plain = [arm for arm in study.arms if arm.defence.none]
    alike = [arm for arm in plain if arm.variant == variant] or plain[:1]
    arms = sorted([*alike, *defended], key=lambda arm: arm.sigma or 0)
    numbers = study.numbers
    conditions = (CLEAN, *attack.conditions)
    values = {
        arm.training: [
            100 * number.value if number is not None else np.nan
            for number in (numbers.get((arm.name, key, "accuracy")) for key in conditions)
        ]
        for arm in arms
    }
    if len({arm.sigma or 0 for arm in arms}) < 2 or len(conditions) < 3:
        return None
    return pd.DataFrame(values, index=[key.strength for key in conditions]).T


def heat_map(study: Study, attack: Series, variant: str, values: pd.DataFrame) -> Figure:
    """Draws `accuracy_by_sigma`."""
    lines, columns = values.shape
    title = f"Accuracy (%), {attack.label}, {variant_name(variant)}"
    longest = max(len(str(name)) for name in values.index)
    size = max(WIDTH, 0.07 * longest + 0.42 * columns + 0.3), 0.36 * lines + 1.3
    figure = new_figure(*size, title, synthetic=study.synthetic)
    axes = figure.subplots()
    table = values.to_numpy()
    # Cividis looks the same with and without colour vision, and grows lighter throughout.
    axes.imshow(np.ma.masked_invalid(table), cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        text = "–" if np.isnan(value) else f"{value:.0f}"
        # Where black and white stand out from cividis alike (WCAG contrast of 4.6).
        ink = "white" if value <= 46 else "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=9, color=ink)
    axes.set_xticks(range(columns), [f"{eps:g}" for eps in values.columns], fontsize=_SMALL)
    axes.set_yticks(range(lines), [shown(str(name)) for name in values.index], fontsize=_SMALL)
    axes.set_xlabel(attack.first.axis, fontsize=_SMALL)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure
