"""What a model gets wrong when images suffer without anybody's intent."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bcadv.metrics.corruption import LEAST_PATIENTS
from bcadv.report.document import Block, Cell, Pictures, Table, Text
from bcadv.report.draft import Draft
from bcadv.report.sections.robustness import curves
from bcadv.report.words import say
from bcadv.results.condition import CLEAN, Condition
from bcadv.study.arms import Arm
from bcadv.study.corruption import ALL
from bcadv.study.marks import ordered_checks
from bcadv.study.numbers import UNDEFINED, rate, ratio


def blocks(draft: Draft) -> list[Block]:
    """The mean corruption errors, a table per model, and a curve per corruption."""
    errors = draft.study.corruption_errors
    if errors.empty:
        return [Text("No model was measured under corruptions; corruptions=all does so.")]
    related = bool(errors["relative"].notna().any())
    of_arms = errors[errors["corruption"] != ALL].groupby("arm")[["corruption", "severities"]]
    differ = len({tuple(map(tuple, of.to_numpy())) for _, of in of_arms}) > 1
    drawn = [picture for of in draft.study.corruptions for picture in curves(draft, of, "accuracy")]
    arms = [arm for arm in draft.study.arms if arm.name in set(errors["arm"])]
    said = say(
        "corruption_errors", related=related, differ=differ, seeds=draft.seeds, least=LEAST_PATIENTS
    )
    return [
        Text(said),
        _means(draft, arms, related=related),
        *(_table(draft, arm) for arm in arms),
        *([Pictures(tuple(drawn))] if drawn else []),
    ]


def frames(draft: Draft) -> Mapping[str, pd.DataFrame]:
    """A row per model and corruption."""
    errors = draft.study.corruption_errors
    return {} if errors.empty else {"corruptions": errors}


def _means(draft: Draft, arms: list[Arm], *, related: bool) -> Table:
    rows = []
    for arm in arms:
        row = next(row for row in _rows(draft, arm) if row["corruption"] == ALL)
        clean = draft.facts.clean(arm)
        cells = [
            Cell.of(rate(1 - clean.value, 1 - clean.high, 1 - clean.low))._replace(
                mark=draft.mark(arm, CLEAN)
            ),
            *_cells(draft, row, related=related),
            Cell(f"{row['corruptions']}"),
            Cell(str(row["severities"]).replace(" ", ", ")),
        ]
        rows.append((arm.name, tuple(cells)))
    head = ("model", "clean error", "mCE", *(["relative"] if related else []))
    return Table("Mean corruption error", (*head, "corruptions", "severities"), tuple(rows))


def _table(draft: Draft, arm: Arm) -> Table:
    """Errors of a model: a row per corruption, a column per severity and their mean."""
    series = {each.name: each for each in draft.study.corruptions}
    tried = sorted({c.strength for each in series.values() for c in each.conditions})
    found, rows = _rows(draft, arm), []
    related = any(isinstance(row["reference"], str) for row in found)
    for row in found:
        of = series.get(str(row["corruption"]))
        conditions = {} if of is None else {c.strength: c for c in of.conditions}
        cells = [_error(draft, arm, conditions.get(severity)) for severity in tried]
        name = "mean of all (mCE)" if of is None else str(row["label"])
        rows.append((name, (*cells, *_cells(draft, row, related=related))))
    numbers = [f"{severity:g}" for severity in tried]
    head = ("severity", *numbers, "mean (CE)", *(["relative"] if related else []))
    return Table(f"Errors under corruption, {arm.name}", head, tuple(rows))


def _rows(draft: Draft, arm: Arm) -> list[Mapping[str, object]]:
    errors = draft.study.corruption_errors
    rows = errors[errors["arm"] == arm.name].to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _error(draft: Draft, arm: Arm, condition: Condition | None) -> Cell:
    number = None if condition is None else draft.facts.number(arm, condition)
    if condition is None or number is None:
        return Cell(UNDEFINED)
    return Cell(f"{100 * (1 - number.value):.1f}", mark=draft.mark(arm, condition))


def _cells(draft: Draft, row: Mapping[str, object], *, related: bool) -> list[Cell]:
    tried = [c for series in draft.study.corruptions for c in series.conditions]
    own, theirs = (draft.study.suspect(str(row[name]), *tried) for name in ("arm", "reference"))
    mark, beside = draft.notes.mark(own), draft.notes.mark(ordered_checks([*own, *theirs]))
    error, relative = (
        [float(str(row[name])) for name in names]
        for names in (("value", "low", "high"), ("relative", "relative_low", "relative_high"))
    )
    made = [Cell.of(rate(*error))._replace(mark=mark)]
    return [*made, *([Cell.of(ratio(*relative))._replace(mark=beside)] if related else [])]
