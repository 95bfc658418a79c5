"""How far each model falls under attack, and what that means for patients."""

from __future__ import annotations

import math
from typing import NamedTuple

from bcadv.results.condition import CLEAN, Condition
from bcadv.study.arms import Arm
from bcadv.study.facts import Facts
from bcadv.study.found import Found
from bcadv.study.numbers import cases

PER = 1000
"""Patients that consequences are counted on."""


def fall(facts: Facts, arm: Arm) -> Found:
    """From which accuracy a model falls to which, at which strength.

    Looked at is the worst attack at each strength. A fall is certain where the interval lies below
    that of the clean images; nothing less is called one.
    """
    clean, worst = facts.clean(arm), facts.worst(arm)
    tried = [pair for pairs in worst.values() for pair in pairs]
    # Of the first norm (the maximum norm, if tried) that brings it down, the weakest attack.
    first = next((pair for pair in tried if pair[1].high < clean.low), None)
    same = worst[first[0].norm] if first is not None else tried
    lowest = min(same, key=lambda pair: pair[1].value, default=None)
    return Found(
        "fall",
        "failed" if first is not None else "unknown",
        80,
        "robustness",
        {
            "clean": clean,
            "first": first,
            "lowest": lowest,
            "strongest": [pairs[-1][0] for pairs in worst.values()],
            "of": arm.name,
        },
        about=arm.name,
    )


class Count(NamedTuple):
    """Patients of so many, with the interval of the rate carried over."""

    value: float
    low: float
    high: float
    of: float


class Consequence(NamedTuple):
    """What a model means for `PER` patients.

    Attributes:
        missed: the ill whom it calls well; ``None`` where that was not measured.
        alarms: the well whom it calls ill.
        what: the missed, in the plural.
    """

    missed: Count | None
    alarms: Count | None
    what: str


def consequence(facts: Facts, arm: Arm, condition: Condition) -> Consequence | None:
    """Missed cases and false alarms per `PER` patients at the prevalence.

    missed = prevalence × (1 − sensitivity), false alarms = (1 − prevalence) × (1 − specificity).

    Returns:
        ``None`` where neither rate was measured.
    """
    ill = PER * facts.prevalence
    counts: list[Count | None] = []
    for metric, patients in (("sensitivity", ill), ("specificity", PER - ill)):
        rate = facts.number(arm, condition, metric)
        if rate is None or math.isnan(rate.value):
            counts.append(None)
        else:
            value, low, high = (1 - end for end in (rate.value, rate.high, rate.low))
            counts.append(Count(patients * value, patients * low, patients * high, patients))
    if counts == [None, None]:
        return None
    return Consequence(counts[0], counts[1], cases(facts.study.jobs))


def missed(facts: Facts, arm: Arm) -> list[Found]:
    """How many more of the ill an attacked model misses, at the first strength where it is sure."""
    before = consequence(facts, arm, CLEAN)
    if before is None or before.missed is None:
        return []
    for pairs in facts.worst(arm).values():
        for condition, _ in pairs:
            after = consequence(facts, arm, condition)
            if after is None or after.missed is None or after.missed.low <= before.missed.high:
                continue
            said = {
                "before": before.missed,
                "after": after.missed,
                "what": after.what,
                "condition": condition,
                "of": arm.name,
                "prevalence": facts.prevalence,
                "per": PER,
                "synthetic": facts.study.synthetic,
            }
            return [Found("missed", "failed", 75, "patients", said, about=arm.name)]
    return []
