"""Whether each defence helps: the verdicts, and every model against the undefended one."""

from __future__ import annotations

from bcadv.report.document import Block, Bullets, Cell, Text
from bcadv.report.draft import Draft
from bcadv.report.words import p_text, say, sentence, verdict_text
from bcadv.results.condition import CLEAN, Condition
from bcadv.study.arms import Arm
from bcadv.study.differences import Difference


def blocks(draft: Draft) -> list[Block]:
    """The verdict on each defended model, and the paired comparison with the undefended one."""
    verdicts = [
        f"“{answer.arm}”: {verdict_text(answer.defence)} – {sentence(answer.defence)}."
        for answer in draft.conclusion.answers
        if answer.defence is not None
    ]
    if not verdicts:
        return [Text(say("no_defence"))]
    rows = {(row.arm, row.condition): row for of in draft.facts.differences.values() for row in of}

    def cell(arm: Arm, condition: Condition) -> Cell | None:
        row = rows.get((arm.name, condition))
        if row is None:
            return None
        suspect = draft.facts.suspect_gain(arm, condition)
        return _cell(row)._replace(mark=draft.notes.mark(suspect))

    made: list[Block] = [Bullets(tuple(verdicts))]
    compared = [
        table
        for series in draft.study.sized
        for table in draft.tables(
            f"Gain over the undefended model, {series.label}", [CLEAN, *series.conditions], cell
        )
    ]
    if compared:
        tests = max(len(of) for of in draft.facts.differences.values())
        made.append(Text(say("compared", seeds=draft.seeds, tests=tests)))
    return [*made, *compared]


def _cell(row: Difference) -> Cell:
    value, interval, _ = Cell.of(row.text)
    mark = {True: " ▲", False: " ▼"}[row.value > 0] if row.certain else ""
    return Cell(f"{value}{mark}", f"{interval} p {p_text(row.p)}")
