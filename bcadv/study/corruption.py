"""Corruption errors of every arm, all seeds together, and beside the undefended model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcadv.metrics.corruption import ByPatient, by_patient, relative
from bcadv.results.condition import Condition, Series
from bcadv.study.arms import Measured
from bcadv.study.numbers import all_series

ALL = "all corruptions"
"""Stands in the table for the mean over the corruptions of an arm."""

COLUMNS = (
    "arm",
    "corruption",
    "label",
    "severities",
    "corruptions",
    "value",
    "low",
    "high",
    "reference",
    "relative",
    "relative_low",
    "relative_high",
)


def corruption_errors(arms: Sequence[Measured], comparisons: pd.DataFrame) -> pd.DataFrame:
    """A row per arm and corruption, and one of all corruptions.

    Args:
        arms: to measure.
        comparisons: of the study; an arm is held against its reference there, on those seeds.

    Returns:
        Columns arm, corruption (its series, or `ALL`), label, severities (as text), corruptions
        (how many the mean is over), value (see `bcadv.metrics.corruption`; the mean over the
        seeds), low, high, reference (name of the undefended arm; ``None`` without one that
        was measured under all of it), relative (to it), relative_low, relative_high.
    """
    by_name = {each.arm.name: each for each in arms}
    rows: list[tuple[Any, ...]] = []
    for measured in arms:
        series = corruptions_of(measured, measured.models)
        if not series:
            continue
        errors = _errors(measured, series, measured.models, measured)
        beside = _beside(measured, series, by_name, comparisons)
        parts = [(errors, i, each.name, each.label, [each]) for i, each in enumerate(series)]
        for of, column, name, label, members in [*parts, (errors.mean, 0, ALL, ALL, series)]:
            value = float(of.values[column])
            ratio: tuple[Any, ...] = (None, math.nan, math.nan, math.nan)
            if beside is not None:
                reference, one, other = beside
                chosen = slice(None) if name == ALL else slice(column, column + 1)
                cut = [ByPatient(each.errors[:, chosen], each.weights) for each in (one, other)]
                ratio = (reference, *relative(*cut))
            severities = sorted({c.strength for each in members for c in each.conditions})
            said = " ".join(f"{severity:g}" for severity in severities)
            ends = of.interval(column)
            rows.append((measured.arm.name, name, label, said, len(members), value, *ends, *ratio))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def corruptions_of(measured: Measured, seeds: Iterable[int]) -> list[Series]:
    """The corruptions that all of some seeds of an arm were measured under."""
    shared = set.intersection(*(set(measured.cells(seed)) for seed in seeds))
    return all_series(c for c in shared if c.kind == "corruption")


def _errors(
    measured: Measured, series: Sequence[Series], seeds: Iterable[int], patients_of: Measured
) -> ByPatient:
    """Errors of an arm on some seeds; another arm's names of the same patients may be taken."""
    seeds = list(seeds)
    wrong = [
        [[_wrong(measured, seed, condition) for condition in each.conditions] for each in series]
        for seed in seeds
    ]
    return by_patient(wrong, [patients_of.models[seed].images.group for seed in seeds])


def _wrong(measured: Measured, seed: int, condition: Condition) -> NDArray[np.bool_]:
    answers = measured.cells(seed)[condition].answers
    missed: NDArray[np.bool_] = answers.prediction != measured.models[seed].images.target
    return missed


def _beside(
    measured: Measured,
    series: Sequence[Series],
    arms: dict[str, Measured],
    comparisons: pd.DataFrame,
) -> tuple[str, ByPatient, ByPatient] | None:
    """The undefended arm, and the errors of both on the seeds that they share."""
    if comparisons.empty:
        return None
    rows = comparisons[comparisons["arm"] == measured.arm.name].dropna(subset=["seed"])
    if rows.empty:
        return None
    reference = arms[str(rows["reference"].iloc[0])]
    tried = {condition for each in series for condition in each.conditions}
    seeds = [s for s in map(int, rows["seed"].unique()) if tried <= set(reference.cells(s))]
    if not seeds:
        return None
    return (
        reference.arm.name,
        _errors(measured, series, seeds, measured),
        _errors(reference, series, seeds, measured),
    )
