"""Arms -> the tidy table of measures: every seed, and all seeds together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bcadv.metrics.calibration import calibration_intervals
from bcadv.metrics.intervals import Interval
from bcadv.metrics.patients import KIND, RECOGNITION, recognition_interval
from bcadv.metrics.pooled import Clusters, pooled_auroc, pooled_rate
from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Measure
from bcadv.study.arms import Measured
from bcadv.study.found import Found
from bcadv.study.models import Cell, Model
from bcadv.study.seed import RATES, Seed, patients_of

METRICS = (*RATES, RECOGNITION, "auroc", "ece")
DESCRIBED = ("condition", "label", "norm", "strength", "unit")
"""What a table says of a condition: its id, and what that means."""

COLUMNS = (
    "arm",
    "seed",
    *DESCRIBED,
    "metric",
    "value",
    "low",
    "high",
    "k",
    "n",
    "n_patients",
    "kind",
)
FORMS = {"auroc": "score", "ece": "bootstrap"}
"""Form of an interval, where that is not Wilson's."""

NumberPatients = Callable[[Sequence[Model]], Clusters]
"""Numbers the patients of some models' test images."""

Record = tuple[Any, ...]


def measure(arms: Sequence[Measured], number: NumberPatients) -> pd.DataFrame:
    """A row per arm, seed, condition and metric.

    Rows of a seed are those of its ``results.json``. Rows of all seeds together (seed ``<NA>``)
    are the mean over the seeds, with an interval by patients; of a single seed they repeat its row.

    Args:
        arms: to measure.
        number: numbers the patients.
    """
    records: list[Record] = []
    for measured in arms:
        for condition in measured.conditions():
            cells = _cells(measured, condition)
            for seed, cell in cells.items():
                records += _of_seed(measured, seed, seed, condition, cell)
        records += _together(measured, number)
    return typed(pd.DataFrame(records, columns=list(COLUMNS)))


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Whole numbers that may be missing, as such."""
    whole = [
        c for c in frame if c in {"seed", "k", "n", "n_patients", "only_reference", "only_arm"}
    ]
    return frame.astype(dict.fromkeys(whole, "Int64"))


def incomplete(arms: Sequence[Measured]) -> list[Found]:
    """A finding on each arm whose seeds were not all measured alike."""
    found = []
    for measured in arms:
        name = measured.arm.name
        totals = sorted({model.total for model in measured.models.values()})
        if len(totals) > 1:
            said = {"of": name, "low": totals[0], "high": totals[-1]}
            found.append(Found("unequal_data", "unknown", 74, "data", said, about=name))
        lacking = [
            c for c in measured.conditions() if len(_cells(measured, c)) < len(measured.models)
        ]
        if lacking:
            said = {"of": name, "conditions": [condition.text for condition in lacking]}
            found.append(Found("fewer_seeds", "unknown", 21, "method", said, about=name))
    return found


def _cells(measured: Measured, condition: Condition) -> dict[int, Cell]:
    of_seeds = {seed: measured.cells(seed) for seed in measured.models}
    return {seed: cells[condition] for seed, cells in of_seeds.items() if condition in cells}


def _of_seed(
    measured: Measured, seed: int, named: int | None, condition: Condition, cell: Cell
) -> list[Record]:
    """Rows of ``results.json``, under the name of the seed, or as those of all seeds together."""
    records: list[Record] = []
    for metric in METRICS:
        entry = cell.row.metrics.get(metric)
        if entry is None:
            continue
        records.append(
            (
                measured.arm.name,
                named,
                *described(condition),
                metric,
                _number(entry.value),
                _number(entry.ci_low),
                _number(entry.ci_high),
                entry.k,
                entry.n,
                patients_of(metric, [measured.models[seed]]),
                entry.ci_kind or entry.reason,
            )
        )
    return records


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _together(measured: Measured, number: NumberPatients) -> list[Record]:
    by_seeds: dict[tuple[int, ...], list[Condition]] = {}
    for condition in measured.conditions():
        by_seeds.setdefault(tuple(_cells(measured, condition)), []).append(condition)
    records: list[Record] = []
    for seeds, conditions in by_seeds.items():
        if len(seeds) == 1:
            for condition in conditions:
                cell = measured.cells(seeds[0])[condition]
                records += _of_seed(measured, seeds[0], None, condition, cell)
        else:
            models = [measured.models[seed] for seed in seeds]
            records += _pooled(measured, seeds, conditions, number(models))
    return records


def _pooled(
    measured: Measured, seeds: Sequence[int], conditions: Sequence[Condition], found: Clusters
) -> list[Record]:
    """Rows of several seeds together, for conditions that all of them have."""
    models = [measured.models[seed] for seed in seeds]
    cells = [[measured.cells(seed)[key] for key in conditions] for seed in seeds]
    clean = [measured.cells(seed)[CLEAN] for seed in seeds]
    one = [
        Seed(m, c, of, found, s)
        for s, (m, c, of) in enumerate(zip(models, clean, cells, strict=True))
    ]
    records: list[Record] = []
    for metric in METRICS:
        if any(metric not in cell.row.metrics for of in cells for cell in of):
            continue  # a mean over the seeds whose program knew it would be of other models
        entries = [[cell.row.metrics[metric] for cell in of] for of in cells]
        values = np.array([[_number(entry.value) for entry in of] for of in entries])
        by_seeds: dict[tuple[int, ...], list[int]] = {}
        for j, column in enumerate(values.T):
            by_seeds.setdefault(tuple(np.flatnonzero(~np.isnan(column)).tolist()), []).append(j)
        for defined, columns in by_seeds.items():
            if not defined:
                continue
            mean = values[np.ix_(defined, columns)].mean(axis=0).tolist()
            given = [[entries[s][j] for s in defined] for j in columns]
            chosen = [one[s] for s in defined]
            if metric == RECOGNITION:
                rows = _recognition(chosen, columns, mean, given)
            else:
                ends = _ends(metric, chosen, columns)
                rows = [
                    _pooled_row(metric, chosen, value, interval, of)
                    for value, interval, of in zip(mean, ends, given, strict=True)
                ]
            records += _named(measured, conditions, metric, columns, rows)
    return records


def _ends(metric: str, seeds: Sequence[Seed], columns: Sequence[int]) -> list[Interval]:
    """Intervals of the mean over seeds of a metric under some conditions."""
    found = seeds[0].found
    if metric == "ece":
        return calibration_intervals([seed.gaps(columns) for seed in seeds])
    if metric == "auroc":
        positive = {seed.position: seed.model.images.positive for seed in seeds}
        return [
            pooled_auroc(found, {s.position: s.cells[j].answers.score for s in seeds}, positive)
            for j in columns
        ]
    base = {seed.position: seed.base(metric) for seed in seeds}
    return [
        pooled_rate(found, {seed.position: seed.hits(metric, j) for seed in seeds}, base)
        for j in columns
    ]


def _pooled_row(
    metric: str, seeds: Sequence[Seed], value: float, ends: Interval, entries: Sequence[Measure]
) -> Record:
    """Value, ends, k, n, patients and kind of interval of several seeds together."""
    k = sum(entry.k or 0 for entry in entries) if metric in RATES else None
    patients = patients_of(metric, [seed.model for seed in seeds])
    form = FORMS.get(metric, "wilson")
    if form == "bootstrap":
        unit = "image " if patients is None else "patient "
    else:
        unit = "" if patients is None else "patient "
    low, high = min(ends[0], value), max(ends[1], value)
    return value, low, high, k, sum(entry.n for entry in entries), patients, f"{unit}{form}"


def _recognition(
    seeds: Sequence[Seed],
    columns: Sequence[int],
    values: Sequence[float],
    given: Sequence[Sequence[Measure]],
) -> list[Record]:
    """As `_pooled_row`, of the patient recognition rate under some conditions.

    The mean over seeds of means over patients is a weighted mean over patients, each with its
    images of all seeds at once: a patient whom several seeds tested counts as one.
    """
    count = seeds[0].found.count
    weights, sums = np.zeros(count), np.zeros((count, len(columns)))
    for seed in seeds:
        shares = seed.shares_right(columns)
        tested = ~np.isnan(shares[:, 0])
        weights[tested] += 1 / tested.sum()
        sums[tested] += shares[tested] / tested.sum()
    known = weights > 0
    means = sums[known] / weights[known, None]
    patients = int(known.sum())
    return [
        (
            value,
            *recognition_interval(value, of_patients, weights[known]),
            None,
            sum(entry.n for entry in entries),
            patients,
            KIND,
        )
        for value, of_patients, entries in zip(values, means.T, given, strict=True)
    ]


def _named(
    measured: Measured,
    conditions: Sequence[Condition],
    metric: str,
    columns: Sequence[int],
    rows: Sequence[Record],
) -> list[Record]:
    """Rows of all seeds together with the columns that say what they are of."""
    return [
        (measured.arm.name, None, *described(conditions[j]), metric, *row)
        for j, row in zip(columns, rows, strict=True)
    ]


def described(condition: Condition) -> tuple[str, str, str | None, float, str | None]:
    """The columns `DESCRIBED`."""
    return condition.id, condition.label, condition.norm, condition.strength, condition.unit
