"""Each arm against the undefended one, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcadv.metrics.intervals import mcnemar
from bcadv.metrics.pooled import Clusters, pooled_gap
from bcadv.results.condition import Condition
from bcadv.study.arms import Measured, undefended
from bcadv.study.found import Found
from bcadv.study.measures import DESCRIBED, NumberPatients, described, typed
from bcadv.study.models import Model
from bcadv.study.naming import differing
from bcadv.study.seed import patients_of

COLUMNS = (
    "arm",
    "reference",
    "seed",
    *DESCRIBED,
    "n",
    "n_patients",
    "only_reference",
    "only_arm",
    "p",
    "difference",
    "low",
    "high",
)


def references(arms: Sequence[Measured]) -> list[Measured]:
    """The arms that others are compared with: the undefended ones, see `undefended`."""
    chosen = [id(arm) for arm in undefended([each.arm for each in arms])]
    return [each for each in arms if id(each.arm) in chosen]


def reference_of(measured: Measured, candidates: Sequence[Measured]) -> Measured | None:
    """The undefended arm that an arm is compared with, if any.

    The one that differs in the defence alone; else one that was tested on the same images.
    """

    def seeds(each: Measured) -> int:
        return len(_shared_seeds(measured, each))

    twins = [each for each in candidates if not beside_the_defence(measured, each)]
    others = [each for each in candidates if seeds(each)]
    return max(twins, key=seeds, default=max(others, key=seeds, default=None))


def beside_the_defence(one: Measured, other: Measured) -> list[str]:
    """Options other than the defence in which two ways of training differ."""
    return differing([one.way, other.way])


def compare(arms: Sequence[Measured], number: NumberPatients) -> tuple[pd.DataFrame, list[Found]]:
    """Compares every arm with its undefended one on the same images of the same seeds.

    Args:
        arms: all arms.
        number: numbers the patients.

    Returns:
        The table, see `Study.comparisons`, and a finding on each arm or seed without a partner.
    """
    candidates = references(arms)
    records: list[tuple[Any, ...]] = []
    remarks: list[Found] = []

    def remark(kind: str, weight: int, of: Measured, **facts: object) -> None:
        said = {"of": of.arm.name, **facts}
        remarks.append(Found(kind, "unknown", weight, "defence", said, about=of.arm.name))

    for measured in arms:
        if measured in candidates or not candidates:
            continue
        reference = reference_of(measured, candidates)
        if reference is None:
            remark("not_paired", 35, measured)
            continue
        name = reference.arm.name
        differing = beside_the_defence(measured, reference)
        if differing:
            remark("more_than_the_defence", 72, measured, reference=name, options=differing)
        seeds = _shared_seeds(measured, reference)
        absent = [seed for seed in measured.models if seed not in seeds]
        if absent:
            remark("some_seeds", 22, measured, reference=name, seeds=seeds, absent=absent)
        records += _compared(measured, reference, seeds, number)
    return typed(pd.DataFrame(records, columns=list(COLUMNS))), remarks


def _shared_seeds(measured: Measured, reference: Measured) -> list[int]:
    # Models that differ in the defence alone saw the same images, or others of the same names.
    alike = not beside_the_defence(measured, reference)
    return [
        seed
        for seed, model in measured.models.items()
        if seed in reference.models
        and model.images.same_as(reference.models[seed].images)
        and not _of_other_data(model, reference.models[seed])
        and not (alike and model.content != reference.models[seed].content)
    ]


def _of_other_data(one: Model, other: Model) -> bool:
    """Whether equal names of images are known to mean other images."""
    a, b = one.job.result.data, other.job.result.data
    known = a.content is not None and b.content is not None
    return a.source != b.source or (known and a.content != b.content)


@dataclass(frozen=True)
class _Pair:
    """Right and wrong of two models on the same images."""

    reference: NDArray[np.bool_]
    arm: NDArray[np.bool_]

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Both right, the arm alone, the reference alone, neither."""
        neither, only_arm, only_reference, both = np.bincount(
            2 * self.reference + self.arm, minlength=4
        ).tolist()
        return both, only_arm, only_reference, neither


def _compared(
    measured: Measured, reference: Measured, seeds: Sequence[int], number: NumberPatients
) -> list[tuple[Any, ...]]:
    records: list[tuple[Any, ...]] = []
    together: dict[tuple[int, ...], list[Condition]] = {}
    for condition in measured.conditions():
        shared = [
            seed
            for seed in seeds
            if condition in measured.cells(seed) and condition in reference.cells(seed)
        ]
        # Dozens of tests under corruptions would change what is certain under attack; what these
        # cost stands in a table of its own.
        if shared and condition.kind != "corruption":
            together.setdefault(tuple(shared), []).append(condition)
    for shared_seeds, conditions in together.items():
        models = [measured.models[seed] for seed in shared_seeds]
        found = number(models)
        each = [([s], seed) for s, seed in enumerate(shared_seeds)]
        for chosen, label in [*each, (list(range(len(shared_seeds))), None)]:
            patients = patients_of("accuracy", [models[s] for s in chosen])
            for key in conditions:
                pairs = {s: _pair(measured, reference, shared_seeds[s], key) for s in chosen}
                row = _row(pairs, found, patients)
                records.append(
                    (measured.arm.name, reference.arm.name, label, *described(key), *row)
                )
    return records


def _pair(measured: Measured, reference: Measured, seed: int, condition: Condition) -> _Pair:
    target = measured.models[seed].images.target
    one, other = (each.cells(seed)[condition].answers for each in (reference, measured))
    return _Pair(one.prediction == target, other.prediction == target)


def _row(pairs: Mapping[int, _Pair], found: Clusters, patients: int | None) -> tuple[Any, ...]:
    """What the table says of one condition.

    n, patients, images that one model alone has right, p, difference, interval. p is that of the
    interval by patients. Where none is known, images of one seed are independent, and p is exact.

    Args:
        pairs: by the position of the seed.
        found: the patients.
        patients: number of known ones.
    """
    counts = [pair.counts for pair in pairs.values()]
    value = float(np.mean([(c[1] - c[2]) / sum(c) for c in counts]))
    only_arm, only_reference = (sum(c[side] for c in counts) for side in (1, 2))
    gap = pooled_gap(
        found,
        {s: pair.arm for s, pair in pairs.items()},
        {s: pair.reference for s, pair in pairs.items()},
    )
    p = gap.p
    if patients is None and len(pairs) == 1:
        [pair] = pairs.values()
        p = mcnemar(pair.reference, pair.arm)
    n = sum(sum(c) for c in counts)
    low, high = min(gap.low, value), max(gap.high, value)
    return n, patients, only_reference, only_arm, p, value, low, high
