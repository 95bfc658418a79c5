"""Whether each defence helps: the verdicts, and every model against the undefended one."""

from __future__ import annotations

from bcadv.report.document import Block, Bullets, Cell, Text
from bcadv.report.draft import Draft
from bcadv.report.words import p_text, say, sentence
from bcadv.results.condition import Condition
from bcadv.study.arms import Arm
from bcadv.study.differences import Difference


def blocks(draft: Draft) -> list[Block]:
    """The verdict on each defended model, and the paired comparison with the undefended one."""
    judged = [a for a in draft.conclusion.answers if a.defence is not None]
    if not judged:
        return [Text(say("no_defence"))]
    verdicts = [
        f"“{answer.arm}”: {answer.helps} – {sentence(answer.defence)}."
        for answer in judged
        if answer.defence is not None
    ]
    rows = {arm: {row.condition: row for row in of} for arm, of in draft.facts.differences.items()}
    p = _p_values(draft)

    def cell(arm: Arm, condition: Condition) -> Cell | None:
        row = rows.get(arm.name, {}).get(condition)
        return None if row is None else _cell(row, p.get((arm.name, condition.id), []))

    tests = sum(len(of) for of in rows.values())
    made: list[Block] = [Bullets(tuple(verdicts))]
    compared = [
        table
        for label, conditions in draft.rows()
        for table in draft.tables(f"Gain over the undefended model, {label}", conditions, cell)
    ]
    if compared:
        made.append(Text(say("compared", seeds=draft.seeds, tests=tests)))
    return [*made, *compared]


def _cell(row: Difference, p: list[float]) -> Cell:
    value, _, interval = row.text.partition(" ")
    mark = {True: " ▲", False: " ▼"}[row.value > 0] if row.certain else ""
    return Cell(f"{value}{mark}", f"{interval} p {' / '.join(map(p_text, p))}")


def _p_values(draft: Draft) -> dict[tuple[str, str], list[float]]:
    """Arm and condition -> p, seed by seed."""
    frame = draft.study.comparisons
    found: dict[tuple[str, str], list[float]] = {}
    if frame.empty:
        return found
    single = frame[frame["seed"].notna()].sort_values("seed")
    for arm, condition, p in zip(single["arm"], single["condition"], single["p"], strict=True):
        found.setdefault((arm, condition), []).append(float(p))
    return found
