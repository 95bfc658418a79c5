"""How many images a black box fools for how many queries: a curve per model and strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcadv.metrics.intervals import Interval, wilson
from bcadv.metrics.pooled import Clusters, pooled_rate
from bcadv.results.condition import CLEAN, Condition
from bcadv.study.answers import Spent
from bcadv.study.arms import Measured
from bcadv.study.measures import DESCRIBED, NumberPatients, described, typed
from bcadv.study.models import Model
from bcadv.study.numbers import all_series

COLUMNS = (
    "arm",
    *DESCRIBED,
    "queries",
    "value",
    "low",
    "high",
    "k",
    "n",
    "n_patients",
    "told",
)

_POINTS = 48
"""Points of a curve beside those of the table, evenly spaced in powers."""

_NEAR = 1.05
"""A power of ten so close below the whole budget says nothing that the budget does not."""


def budgets(most: int) -> list[int]:
    """The numbers of queries that are told: powers of ten, and all that were spent.

    Args:
        most: that an image cost.
    """
    powers = [10**k for k in range(1, len(str(most)) + 1)]
    return [*(power for power in powers if power * _NEAR < most), most]


def success(arms: Sequence[Measured], number: NumberPatients) -> pd.DataFrame:
    """The share of images that each black box has fooled within so many queries.

    Counted are images that a model has right when clean: of these the share that the attack is
    known to have broken by then, the mean over the seeds, with an interval by patients. A query is
    an answer of the model, that to the clean image included; those at all strengths of an attack
    count together, for it shares them.

    Args:
        arms: to measure.
        number: numbers the patients.

    Returns:
        A row per arm, condition and number of queries: arm, condition (its id), label, norm,
        strength, unit, queries, value, low, high, k, n, n_patients, told (whether it stands in a
        table, or only on the curve). None where results do not say when images broke.
    """
    records: list[tuple[Any, ...]] = []
    for measured in arms:
        black = [c for c in measured.conditions() if c.black_box and c.strength > 0]
        for series in all_series(black):
            of_each = {c: _counted(measured, c) for c in series.conditions}
            spent = [of.spent.most for counted in of_each.values() for of in counted]
            for condition, counted in of_each.items():
                if counted:
                    records += _curve(measured, condition, counted, max(spent), number)
    return typed(pd.DataFrame(records, columns=list(COLUMNS)))


class _Counted:
    """Of one seed: which images are counted, and when each was broken."""

    def __init__(self, model: Model, right: NDArray[np.bool_], spent: Spent) -> None:
        self.model, self.right, self.spent = model, right, spent

    def fooled(self, queries: int) -> NDArray[np.bool_]:
        after = self.spent.broken_after
        hit: NDArray[np.bool_] = self.right & (after >= 0) & (after <= queries)
        return hit


def _counted(measured: Measured, condition: Condition) -> list[_Counted]:
    """The seeds that say when images broke; one that broke some and does not say it is left out."""
    found = []
    for seed, model in measured.models.items():
        cells, target = measured.cells(seed), model.images.target
        spent = cells[condition].answers.spent if condition in cells else None
        if spent is None:
            continue
        right = cells[CLEAN].answers.prediction == target
        turned = right & (cells[condition].answers.prediction != target)
        silent = condition.is_untargeted and turned.any() and not (spent.broken_after >= 0).any()
        if right.any() and not silent:
            found.append(_Counted(model, right, spent))
    return found


def _curve(
    measured: Measured,
    condition: Condition,
    counted: Sequence[_Counted],
    most: int,
    number: NumberPatients,
) -> list[tuple[Any, ...]]:
    told = budgets(most)
    between = np.geomspace(1, most, _POINTS).round().astype(int).tolist()
    found = number([of.model for of in counted])
    base = {s: of.right for s, of in enumerate(counted)}
    n = sum(int(right.sum()) for right in base.values())
    known = [of.model.images.group[of.right & of.model.images.of_known] for of in counted]
    patients = len(np.unique(np.concatenate(known).astype(str))) or None
    records: list[tuple[Any, ...]] = []
    for queries in sorted({*between, *told}):
        hit = {s: of.fooled(queries) for s, of in enumerate(counted)}
        value = float(np.mean([hit[s].sum() / base[s].sum() for s in base]))
        low, high = _ends(found, hit, base, patients)
        k = sum(int(of.sum()) for of in hit.values())
        numbers = (queries, value, min(low, value), max(high, value), k, n, patients)
        records.append((measured.arm.name, *described(condition), *numbers, queries in told))
    return records


def _ends(
    found: Clusters,
    hit: Mapping[int, NDArray[np.bool_]],
    base: Mapping[int, NDArray[np.bool_]],
    patients: int | None,
) -> Interval:
    """The interval of a rate as everywhere: by patients, and Wilson's where none is known."""
    if patients is None and len(base) == 1:
        return wilson(int(hit[0].sum()), int(base[0].sum()))
    return pooled_rate(found, hit, base)
