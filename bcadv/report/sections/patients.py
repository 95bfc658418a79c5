"""What it means for patients: missed cases and false alarms at a prevalence."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bcadv.report.document import Block, Cell, Text
from bcadv.report.draft import Draft
from bcadv.report.words import counted, say
from bcadv.results.condition import Condition
from bcadv.study.arms import Arm
from bcadv.study.fall import PER, Count, consequence
from bcadv.study.measures import DESCRIBED, described
from bcadv.study.numbers import cases


def blocks(draft: Draft) -> list[Block]:
    """Two tables an attack: missed cases, and false alarms."""
    facts, what = draft.facts, cases(draft.study.jobs)

    def cell(number: int, arm: Arm, condition: Condition) -> Cell | None:
        found = consequence(facts, arm, condition)
        count = None if found is None else (found.missed, found.alarms)[number]
        return None if count is None else _cell(count)

    made: list[Block] = []
    attacks = {series.label for series in draft.study.attacks} or {"clean"}
    for label, conditions in draft.rows():
        if label in attacks:
            for number, name in enumerate((f"Missed {what}", "False alarms")):
                made += draft.tables(
                    f"{name} per {PER:,} patients, {label}",
                    conditions,
                    lambda arm, condition, number=number: cell(number, arm, condition),  # type: ignore[misc]
                )
    if not made:
        return []
    ill = PER * facts.prevalence
    said = say("patients", what=what, per=PER, ill=ill, prevalence=facts.prevalence)
    return [Text(said), Text(say("patients_limits")), *made]


def _cell(count: Count) -> Cell:
    value, low, high = (counted(number, count.of) for number in count[:3])
    return Cell(value, f"[{low}, {high}]")


def frames(draft: Draft) -> Mapping[str, pd.DataFrame]:
    """A row per model and condition."""
    records = []
    for arm in draft.study.arms:
        for condition in draft.study.conditions:
            found = consequence(draft.facts, arm, condition)
            if found is None or condition.kind == "noise":
                continue
            record = {"arm": arm.name, **dict(zip(DESCRIBED, described(condition), strict=True))}
            record["prevalence"] = draft.facts.prevalence
            for name, count in (("missed", found.missed), ("alarms", found.alarms)):
                ends = (None,) * 3 if count is None else count[:3]
                record |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
            records.append(record)
    return {"consequences": pd.DataFrame(records)} if records else {}
