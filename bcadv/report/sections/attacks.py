"""Which attack is worth its time: what each achieved, what it cost, who broke what."""

from __future__ import annotations

from collections.abc import Iterator

from bcadv.report.document import Block, Cell, Table, Text
from bcadv.report.draft import Draft
from bcadv.report.words import say
from bcadv.results.condition import Series
from bcadv.results.effort import Effort
from bcadv.study.arms import Arm


def blocks(draft: Draft) -> list[Block]:
    """A table per model with a row per attack, and one per ensemble; nothing of a lone attack."""
    made: list[Block] = []
    for arm in draft.study.arms:
        efforts = _efforts(draft, arm)
        if len(efforts) > 1 or any(effort.broken_by for _, effort in efforts):
            made.append(_compared(draft, arm, efforts))
            made += [_members(draft, arm, *pair) for pair in efforts if pair[1].broken_by]
    return [Text(say("efforts", seeds=draft.seeds)), *made] if made else []


def _efforts(draft: Draft, arm: Arm) -> list[tuple[Series, Effort]]:
    """Of the newest job of the arm: efforts of several seeds have no common median."""
    job = arm.jobs[-1]
    found = {(e.batchnorm, e.series): e for e in job.result.efforts}
    named = ((series, found.get((arm.variant, series.name))) for series in draft.study.attacks)
    return [(series, effort) for series, effort in named if effort is not None]


def _compared(draft: Draft, arm: Arm, efforts: list[tuple[Series, Effort]]) -> Table:
    head = ("attack", "broken", "median distance", "passes per image", "optimality")
    rows = tuple(
        (series.label, tuple(_cells(series, effort, draft.mark(arm, *series.conditions))))
        for series, effort in efforts
    )
    return Table(f"What each attack achieved: {arm.name}", head, rows)


def _cells(series: Series, effort: Effort, mark: str) -> Iterator[Cell]:
    yield Cell(f"{effort.broken} of {effort.n}", mark=mark)
    yield Cell(_distance(series, effort.median_distance), mark=mark)
    passes = [
        f"{count:,.0f} {word}"
        for count, word in ((effort.queries, "forward"), (effort.gradients, "backward"))
        if count is not None
    ]
    yield Cell(", ".join(passes) or "–")
    yield Cell("–" if effort.optimality is None else f"{effort.optimality:.3f}", mark=mark)


def _distance(series: Series, distance: float | None) -> str:
    if distance is None:
        return "–"
    if series.first.unit == "grey level":
        return f"{distance * 255:.3g}/255"
    return f"{distance:.3g}"


def _members(draft: Draft, arm: Arm, series: Series, effort: Effort) -> Table:
    """Images that each member broke first, a row per strength."""
    tried = [c for c in series.conditions if c.id in effort.broken_by]
    members = list(dict.fromkeys(m for c in tried for m in effort.broken_by[c.id]))
    rows = tuple(
        (
            c.amount,
            tuple(
                Cell(f"{effort.broken_by[c.id].get(m, 0)}", mark=draft.mark(arm, c))
                for m in members
            ),
        )
        for c in tried
    )
    head = ("strength", *("wrong when clean" if m == "clean" else m for m in members))
    return Table(f"Who broke what first, {series.label}: {arm.name}", head, rows)
