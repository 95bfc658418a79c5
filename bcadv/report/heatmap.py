"""Accuracy at each training noise (sigma) and each strength of attack (epsilon)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bcadv.study.arms import undefended
from bcadv.study.numbers import Series
from bcadv.report.robustness import of_all_seeds
from bcadv.study.study import Arm, Study
from bcadv.report.style import new_figure
from bcadv.report.table import variant_name
from bcadv.results.schema import CLEAN
from bcadv.text import shown


def heat_maps(study: Study, attack: Series) -> dict[str, Figure]:
    """A heat map for each choice of BatchNorm statistics that was tried with two sigmas or more.

    Undefended training is sigma 0; where it was not measured with a map's statistics, it stands
    there with those it was trained with.

    Args:
        study: what to draw from.
        attack: to draw.

    Returns:
        BatchNorm variant -> map of the accuracy in per cent; empty without two epsilons.
    """
    result = {}
    for variant in dict.fromkeys(arm.variant for arm in study.arms if arm.sigma):
        defended = [arm for arm in study.arms if arm.sigma and arm.variant == variant]
        undefended = _undefended(study, variant)
        arms = sorted([*undefended, *defended], key=lambda arm: arm.sigma or 0)
        values = _accuracies(study, arms, attack)
        if len({arm.sigma or 0 for arm in arms}) > 1 and values.shape[1] > 2:
            title = f"Accuracy (%), {attack.label}, {variant_name(variant)}"
            names = [arm.training for arm in arms]
            result[variant] = _draw(values, names, title, attack.first.axis, study.synthetic)
    return result


def _undefended(study: Study, variant: str) -> list[Arm]:
    """Those with these BatchNorm statistics, or else those that others are compared with."""
    every = [arm for arm in study.arms if arm.defence.none]
    return [arm for arm in every if arm.variant == variant] or undefended(every)


def _accuracies(study: Study, arms: list[Arm], attack: Series) -> pd.DataFrame:
    """A row per arm, a column per epsilon (0: clean); per cent."""
    rows = study.measures[study.measures["metric"] == "accuracy"]
    shown = [CLEAN.id, *(condition.id for condition in attack.conditions)]
    rows = rows[rows["condition"].isin(shown)]
    series = {
        i: of_all_seeds(rows[rows["arm"] == arm.name]).set_index("strength")["value"]
        for i, arm in enumerate(arms)
    }
    return 100 * pd.DataFrame(series).T.sort_index(axis="columns").astype(float)


def ink(value: float) -> str:
    """Colour of the writing on a cell of this many per cent, or on an empty one."""
    # Where black and white stand out from cividis alike (WCAG contrast of 4.6).
    return "white" if value <= 46 else "black"


def _draw(values: pd.DataFrame, names: list[str], title: str, axis: str, synthetic: bool) -> Figure:
    lines, columns = values.shape
    longest = max(map(len, names))
    figure = new_figure(
        max(4.7, 0.07 * longest + 0.48 * columns + 0.4),
        0.36 * lines + 1.3,
        title,
        synthetic=synthetic,
        fontsize=10,
    )
    axes = figure.subplots()
    # Cividis looks the same with and without colour vision, and grows lighter throughout.
    table = values.to_numpy()
    axes.imshow(np.ma.masked_invalid(table), cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        axes.text(
            j,
            i,
            "–" if np.isnan(value) else f"{value:.0f}",
            ha="center",
            va="center",
            fontsize=9,
            color=ink(value),
        )
    axes.set_xticks(range(columns), [f"{eps:g}" for eps in values.columns], fontsize=9)
    axes.set_yticks(range(lines), [shown(name) for name in names], fontsize=9)
    axes.set_xlabel(axis, fontsize=9)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure
