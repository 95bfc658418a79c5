"""Every other metric, clean and attacked."""

from __future__ import annotations

import math

from bcadv.report.document import Block, Pictures, Text
from bcadv.report.draft import Draft
from bcadv.report.figures import METRICS
from bcadv.report.sections.robustness import curves
from bcadv.report.words import say
from bcadv.results.condition import CLEAN

_DRAWN = ("sensitivity", "specificity", "auroc", "ece")


def blocks(draft: Draft) -> list[Block]:
    """A table per metric and attack; curves of the main attack. Corruptions have a section."""
    made: list[Block] = [Text(f"{say('in_percent', seeds=draft.seeds)} {say('metrics')}")]
    attack = draft.main_attack
    if attack is not None:
        drawn = [p for metric in _DRAWN for p in curves(draft, attack, metric)]
        made += [Pictures(tuple(drawn))] if drawn else []
    for metric, name in METRICS.items():
        if metric != "accuracy" and _known(draft, metric):
            for series in draft.study.sized:
                conditions = [CLEAN, *series.conditions]
                made += draft.tables(f"{name}, {series.label}", conditions, draft.rates(metric))
    return made


def _known(draft: Draft, metric: str) -> bool:
    """Whether any model has a value of it; where no patient is known, one metric has none."""
    numbers = draft.study.numbers.items()
    return any(key[2] == metric and not math.isnan(number.value) for key, number in numbers)
