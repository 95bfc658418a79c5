"""Looking up measures of a study, and writing numbers for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from bcadv.metrics.patients import RECOGNITION
from bcadv.results.condition import Condition, Series, ordered
from bcadv.study.jobs import Job
from bcadv.study.seed import RATES
from bcadv.text import listed

IN_PER_CENT = (*RATES, RECOGNITION)

UNDEFINED = "–"

_NUMBERS = ("value", "low", "high", "k", "n", "n_patients")

Key: TypeAlias = tuple[str, Condition, str]
"""Arm, condition, metric."""


def amounts(conditions: Sequence[Condition]) -> str:
    """Strengths of one series with their unit: ``1 and 4/255``, ``3 values``, ``severity 1``."""
    if conditions[0].unit == "severity":
        return f"severity {listed([f'{condition.strength:g}' for condition in conditions])}"
    unit = {"grey level": "/255", "value": " values"}.get(str(conditions[0].unit), "")
    return listed([f"{condition.strength:g}" for condition in conditions]) + unit


@dataclass(frozen=True)
class Number:
    """A measure of all seeds together."""

    value: float
    low: float
    high: float
    k: int | None
    n: int
    n_patients: int | None

    @property
    def rate(self) -> str:
        """In per cent with its interval."""
        return rate(self.value, self.low, self.high)

    @property
    def decimals(self) -> str:
        """To three places with its interval."""
        if math.isnan(self.value):
            return UNDEFINED
        ends = "" if math.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{ends}"

    @property
    def counts(self) -> str:
        """k/n."""
        return UNDEFINED if self.k is None else f"{self.k}/{self.n}"


def rate(value: float, low: float, high: float) -> str:
    """A rate in per cent with its interval, e.g. ``27.5 [19.4, 37.4]``."""
    if math.isnan(value):
        return UNDEFINED
    ends = "" if math.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f}{ends}"


def ratio(value: float, low: float, high: float) -> str:
    """A ratio with its interval, e.g. ``0.84 [0.71, 0.99]``."""
    if math.isnan(value):
        return UNDEFINED
    ends = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{value:.2f}{ends}"


def together(measures: pd.DataFrame, known: Iterable[Condition]) -> dict[Key, Number]:
    """The measures of all seeds together.

    Args:
        measures: of a study.
        known: its conditions.
    """
    by_id = {condition.id: condition for condition in known}
    rows = measures[measures["seed"].isna()]
    columns = ("arm", "condition", "metric", *_NUMBERS)
    found = {}
    for arm, condition, metric, *numbers in zip(
        *(rows[name].tolist() for name in columns), strict=True
    ):
        value, low, high, k, n, n_patients = numbers
        found[arm, by_id[condition], metric] = Number(
            value, low, high, _whole(k), int(n), _whole(n_patients)
        )
    return found


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def all_series(conditions: Iterable[Condition]) -> list[Series]:
    """Everything that was tried, attacks first, each with its strengths."""
    found: dict[str, list[Condition]] = {}
    for condition in ordered([*conditions]):
        if condition.strength > 0:
            found.setdefault(condition.series, []).append(condition)
    return [Series(tuple(members)) for members in found.values()]


def positive_of(job: Job) -> str:
    """Name of the positive class; ``positive`` where there are several."""
    task = job.result.task
    return task.positive_name if len(task.positive) == 1 else "positive"


def cases(jobs: Iterable[Job]) -> str:
    """What a positive image shows, in the plural."""
    jobs = list(jobs)
    positive = list(dict.fromkeys(positive_of(job) for job in jobs))
    # What these sources call so is cancer; a folder of somebody's own may mean anything by it.
    tumours = all(job.result.data.tumours for job in jobs)
    if tumours and positive == ["malignant"]:
        return "cancers"
    return f"cases of {' or '.join(positive)}"
