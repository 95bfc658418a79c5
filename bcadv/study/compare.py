"""Each arm against the undefended one, image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcadv.metrics.clinical import Floats, share
from bcadv.metrics.intervals import (
    Interval,
    mcnemar,
    mean_interval,
    paired_difference_interval,
)
from bcadv.metrics.pooled import Clusters, percentiles, resampled_sums
from bcadv.results.condition import Condition
from bcadv.study.arms import Measured, Model, undefended
from bcadv.study.found import Found
from bcadv.study.measures import DESCRIBED, Draw, described, typed
from bcadv.study.naming import differing

COLUMNS = (
    "arm",
    "reference",
    "seed",
    *DESCRIBED,
    "n",
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


def compare(arms: Sequence[Measured], draw: Draw) -> tuple[pd.DataFrame, list[Found]]:
    """Compares every arm with its undefended one on the same images of the same seeds.

    Args:
        arms: all arms.
        draw: gives the resamples of patients.

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
        records += _compared(measured, reference, seeds, draw)
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
    measured: Measured, reference: Measured, seeds: Sequence[int], draw: Draw
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
        found = draw([measured.models[seed] for seed in shared_seeds])
        pairs = [
            [_pair(measured, reference, seed, key) for seed in shared_seeds] for key in conditions
        ]
        resampled = _resampled_differences(pairs, found)
        each = [([s], seed) for s, seed in enumerate(shared_seeds)]
        for chosen, label in [*each, (list(range(len(shared_seeds))), None)]:
            ends = percentiles(np.mean([resampled[s] for s in chosen], axis=0))
            for key, of_seeds, bootstrap in zip(conditions, pairs, ends.T, strict=True):
                row = _row([of_seeds[s] for s in chosen], (bootstrap[0], bootstrap[1]))
                records.append(
                    (measured.arm.name, reference.arm.name, label, *described(key), *row)
                )
    return records


def _pair(measured: Measured, reference: Measured, seed: int, condition: Condition) -> _Pair:
    target = measured.models[seed].images.target
    one, other = (each.cells(seed)[condition].answers for each in (reference, measured))
    return _Pair(one.prediction == target, other.prediction == target)


def _resampled_differences(pairs: Sequence[Sequence[_Pair]], found: Clusters) -> list[Floats]:
    """Differences of accuracy under every resample of patients: per seed, (resamples, conditions).

    Args:
        pairs: per condition, per seed.
        found: the patients of these seeds.
    """
    result = []
    for s, number in enumerate(found.numbers):
        gain = np.stack([of[s].arm.astype(np.int8) - of[s].reference for of in pairs], axis=1)
        columns = np.concatenate([gain, np.ones((len(number), 1))], axis=1)
        drawn = resampled_sums(found, s, columns)
        result.append(share(drawn[:, :-1], np.repeat(drawn[:, -1:], len(pairs), axis=1)))
    return result


def _row(pairs: Sequence[_Pair], bootstrap: Interval) -> tuple[Any, ...]:
    """What the table says of one condition: n, discordant images, p, difference, interval."""
    counts = [pair.counts for pair in pairs]
    value = float(np.mean([(c[1] - c[2]) / sum(c) for c in counts]))
    only_arm, only_reference = (sum(c[side] for c in counts) for side in (1, 2))
    # Over several seeds the same image counts several times: no exact test of all together.
    p = mcnemar(pairs[0].reference, pairs[0].arm) if len(pairs) == 1 else math.nan
    n = sum(sum(c) for c in counts)
    return n, only_reference, only_arm, p, value, *_interval(value, bootstrap, counts)


def _interval(
    value: float, bootstrap: Interval, counts: Sequence[tuple[int, int, int, int]]
) -> Interval:
    """From the lower of the lower ends to the higher of the upper ends of two intervals.

    The bootstrap over patients is too narrow where few patients or few images make the difference;
    Newcombe's interval takes images for independent. Neither is to be trusted alone.
    """
    formula = mean_interval([paired_difference_interval(*c) for c in counts])
    low, high = (f(b, n) for f, b, n in zip((min, max), bootstrap, formula, strict=True))
    return min(low, value), max(high, value)
