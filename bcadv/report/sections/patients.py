"""What it means for patients: missed cases and false alarms at a prevalence."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from bcadv.report.document import Block, Cell, Text
from bcadv.report.draft import Draft
from bcadv.report.words import count_text, say
from bcadv.results.condition import CLEAN, Condition
from bcadv.study.arms import Arm
from bcadv.study.fall import PER, consequence
from bcadv.study.measures import DESCRIBED, described
from bcadv.study.numbers import cases


def blocks(draft: Draft) -> list[Block]:
    """Two tables an attack: missed cases, and false alarms."""
    facts, what = draft.facts, cases(draft.study.jobs)

    def cell(field: str, arm: Arm, condition: Condition) -> Cell | None:
        count = getattr(consequence(facts, arm, condition), field, None)
        return None if count is None else Cell.of(count_text(count))

    made: list[Block] = []
    for series in draft.study.attacks:
        for field, name in (("missed", f"Missed {what}"), ("alarms", "False alarms")):
            title = f"{name} per {PER:,} patients, {series.label}"
            made += draft.tables(title, [CLEAN, *series.conditions], partial(cell, field))
    if not made:
        return []
    ill = PER * facts.prevalence
    said = say("patients", what=what, per=PER, ill=ill, prevalence=facts.prevalence)
    return [Text(said), Text(say("patients_limits")), *made]


def frames(draft: Draft) -> Mapping[str, pd.DataFrame]:
    """A row per model and condition."""
    records = []
    for arm in draft.study.arms:
        for condition in draft.study.conditions:
            found = consequence(draft.facts, arm, condition)
            if found is None or condition.kind not in ("clean", "attack"):
                continue
            record = {"arm": arm.name, **dict(zip(DESCRIBED, described(condition), strict=True))}
            record["prevalence"] = draft.facts.prevalence
            for name, count in (("missed", found.missed), ("alarms", found.alarms)):
                ends = (None,) * 3 if count is None else count[:3]
                record |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
            records.append(record)
    return {"consequences": pd.DataFrame(records)} if records else {}
