"""Robustness curves of a study: a metric against epsilon, arms side by side, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bcadv.study.numbers import IN_PER_CENT, Series
from bcadv.study.study import Arm, Study
from bcadv.report.style import LINES, PANEL, legend_entries, new_figure, spread
from bcadv.report.table import variant_name
from bcadv.results.schema import CLEAN

METRICS = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "auroc": "AUROC",
    "ece": "Calibration error (ECE)",
}
"""Metrics that get curves, in this order, and their names."""

_MOST_LINES = 6
_MOST_BANDS = 3
"""Bands of more lines than this cover each other; beyond, intervals are drawn as bars."""


@dataclass(frozen=True)
class Group:
    """Arms that share a panel.

    Attributes:
        title: what they have in common; empty where all arms are in one panel.
        arms: at most six, the reference first.
        hidden: arms that would belong here and are not drawn.
    """

    title: str
    arms: tuple[Arm, ...]
    hidden: tuple[Arm, ...]


def groups(study: Study) -> list[Group]:
    """Divides the arms into panels that can be read.

    Up to three arms share one panel; more are divided by their BatchNorm statistics, each panel
    beginning with the reference. Of too many, those shown are spread from first to last.
    """
    if len(study.arms) <= _MOST_BANDS:
        return [Group("", study.arms, ())]
    reference = [] if study.reference is None else [study.reference]
    others = [arm for arm in study.arms if arm not in reference]
    result = []
    for variant in dict.fromkeys(arm.variant for arm in others):
        members = [arm for arm in others if arm.variant == variant]
        shown = spread(members, _MOST_LINES - len(reference))
        hidden = tuple(arm for arm in members if arm not in shown)
        result.append(Group(variant_name(variant), (*reference, *shown), hidden))
    return result


def curves(study: Study) -> list[Series]:
    """Everything that some arm was tried at two strengths of, or more."""
    tried = study.measures.groupby("arm")["condition"].agg(set)
    return [
        series
        for series in study.series
        if any(sum(c.id in of_arm for c in series.conditions) > 1 for of_arm in tried)
    ]


def of_all_seeds(measures: pd.DataFrame) -> pd.DataFrame:
    """The rows of all seeds together; of a single seed they repeat its own."""
    return measures[measures["seed"].isna()]


def robustness_figure(study: Study, group: Group, series: Series, metric: str) -> Figure:
    """One metric against the strength of a perturbation, a line per arm.

    The line is of all seeds together. Up to three arms have their 95 % intervals as bands and
    each seed as a thin line; more have their intervals as bars, each a little aside.

    Args:
        study: what to draw from.
        group: the arms.
        series: the perturbation.
        metric: one of `METRICS`.
    """
    what = f"{METRICS[metric]}, {series.label}" + (f" ({group.title})" if group.title else "")
    height = PANEL[1] + 0.2 * len(group.arms)
    figure = new_figure(PANEL[0], height, what, synthetic=study.synthetic, fontsize=10)
    axes = figure.subplots()
    rows = study.measures[study.measures["metric"] == metric]
    shown = [CLEAN.id, *(condition.id for condition in series.conditions)]
    rows = rows[rows["condition"].isin(shown)]
    rows = rows[rows["arm"].isin([arm.name for arm in group.arms])]
    sizes = sorted(rows["strength"].unique())
    few = len(group.arms) <= _MOST_BANDS
    scale = 100 if metric in IN_PER_CENT else 1
    for i, (arm, look) in enumerate(zip(group.arms, cycle(LINES), strict=False)):
        of_arm = rows[rows["arm"] == arm.name].sort_values("strength")
        shift = 0 if few else 0.09 * (i - (len(group.arms) - 1) / 2)
        if few and len(arm.seeds) > 1:
            for _, single in of_arm[of_arm["seed"].notna()].groupby("seed", sort=True):
                x, y = _points(single, sizes, scale, "value")
                axes.plot(x, y, color=look["color"], linewidth=0.6, alpha=0.7)
        together = of_all_seeds(of_arm)
        x, y = _points(together, sizes, scale, "value")
        low, high = (_points(together, sizes, scale, end)[1] for end in ("low", "high"))
        axes.plot(x + shift, y, label=arm.name, markersize=4.5, linewidth=1.6, **look)
        if few:
            axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
        else:
            axes.vlines(x + shift, low, high, color=look["color"], linewidth=0.9)
    _finish(axes, sizes, metric, series.first.axis)
    figure.legend(
        *legend_entries(axes),
        loc="outside lower left",
        fontsize=8.5,
        frameon=False,
        handlelength=3.2,
    )
    return figure


def _points(
    rows: pd.DataFrame, sizes: Sequence[float], scale: float, column: str
) -> tuple[np.ndarray, np.ndarray]:
    # Evenly spaced sizes: on a linear axis 1/4, 1/2 and 1 would lie on top of each other.
    x = np.array([sizes.index(size) for size in rows["strength"]], dtype=float)
    return x, scale * rows[column].to_numpy(dtype=float, na_value=np.nan)


def _finish(axes: Axes, sizes: Sequence[float], metric: str, axis: str) -> None:
    axes.set_xticks(range(len(sizes)), [f"{size:g}" for size in sizes], fontsize=9)
    axes.tick_params(axis="y", labelsize=9)
    axes.set_xlabel(axis, fontsize=9)
    axes.set_ylabel("per cent" if metric in IN_PER_CENT else METRICS[metric], fontsize=9)
    axes.set_ylim((-3, 103) if metric in IN_PER_CENT else (-0.03, 1.03))
    axes.grid(alpha=0.3)
