"""Which attack is worth its time: what each achieved, what it cost, who broke what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import pandas as pd

from bcadv.report.document import Block, Cell, Picture, Pictures, Table, Text
from bcadv.report.draft import COLUMNS, Draft, slug
from bcadv.report.figures import against_queries
from bcadv.report.words import say
from bcadv.results.condition import Condition, Series
from bcadv.results.effort import Effort
from bcadv.study.arms import Arm
from bcadv.study.numbers import rate


def blocks(draft: Draft) -> list[Block]:
    """A table per model with a row per attack, and one per ensemble; nothing of a lone attack."""
    made: list[Block] = []
    for arm in draft.study.arms:
        efforts = _efforts(draft, arm)
        if len(efforts) > 1 or any(effort.broken_by for _, effort in efforts):
            made.append(_compared(draft, arm, efforts))
            made += [_members(draft, arm, *pair) for pair in efforts if pair[1].broken_by]
    said = [Text(say("efforts", seeds=draft.seeds))] if made else []
    return [*said, *made, *_queries(draft)]


def frames(draft: Draft) -> Mapping[str, pd.DataFrame]:
    """A row per model, strength of a black box and number of queries."""
    found = draft.study.queries
    return {} if found.empty else {"queries": found}


def _queries(draft: Draft) -> list[Block]:
    """What black boxes fooled for how many queries: curves of a few models, a table of each."""
    counted = draft.study.queries
    if counted.empty:
        return []
    curves: list[Picture] = []
    tables: list[Table] = []
    tried: list[Condition] = []
    for arm in draft.study.arms:
        told = set(counted.loc[counted["arm"] == arm.name, "condition"])
        for series in draft.study.attacks:
            found = Series(tuple(c for c in series.conditions if c.id in told))
            if not found.conditions:
                continue
            tried += [c for c in found.conditions if c not in tried]
            tables.append(_within(draft, arm, found))
            if arm in draft.foremost:
                curves.append(_curve(draft, arm, found))
    several = len(tried) > len({c.series for c in tried})
    aimed = not all(c.is_untargeted for c in tried)
    said = say("queries", several=several, aimed=aimed, seeds=draft.seeds)
    return [Pictures(tuple(curves)), Text(said), *tables]


def _curve(draft: Draft, arm: Arm, series: Series) -> Picture:
    return draft.album.add(
        slug("queries", series.name, arm.name),
        partial(against_queries, draft.study, arm, series),
        alt=f"Share of images that {series.label} has fooled against the number of queries, a "
        f"line for each strength: {arm.name}. The numbers stand in the tables.",
        caption=arm.name,
    )


def _within(draft: Draft, arm: Arm, series: Series) -> Table:
    """A row per strength, a column per number of queries."""
    rows = draft.study.queries
    rows = rows[(rows["arm"] == arm.name) & rows["told"].astype(bool)]
    rows = rows[rows["condition"].isin([c.id for c in series.conditions])]
    spent = sorted({int(number) for number in rows["queries"]})[-COLUMNS:]
    cells = {
        (condition, queries): Cell.of(rate(*ends))
        for condition, queries, *ends in zip(
            *(rows[name].tolist() for name in ("condition", "queries", "value", "low", "high")),
            strict=True,
        )
    }
    return Table(
        f"Fooled within so many queries, {series.label}: {arm.name}",
        ("strength", *(f"{number:,}" for number in spent)),
        tuple(
            (
                c.amount,
                tuple(
                    cells.get((c.id, number), Cell("–"))._replace(mark=draft.mark(arm, c))
                    for number in spent
                ),
            )
            for c in series.conditions
        ),
    )


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
