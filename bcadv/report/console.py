"""The comparison in short, for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isnan
from operator import attrgetter

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bcadv.report.marks import Notes
from bcadv.report.table import warning_of
from bcadv.results.condition import CLEAN, Condition, Series
from bcadv.study.corruption import ALL
from bcadv.study.numbers import UNDEFINED, Number, rate
from bcadv.study.prose import plural
from bcadv.study.study import Study
from bcadv.text import listed, shown

_MOST_WITH_INTERVAL = 3


def console_comparison(study: Study, notes: Notes | None = None) -> RenderableType:
    """Accuracy of every arm, clean and under everything tried; what is suspect has a red sign.

    Up to three arms are columns and have 95 % intervals. More are rows of a table for each
    perturbation that was tried at several strengths, without intervals. Of corruptions the mean
    error is told.

    Args:
        study: to tell of.
        notes: hands out the signs; ``None``: the first is a.
    """
    signs = _Signs(study, notes or Notes(study.asked))
    warning = [Text(warning_of(study), "bold red")] if study.synthetic else []
    tables = (
        [_with_intervals(study, signs)]
        if len(study.arms) <= _MOST_WITH_INTERVAL
        else [_without_intervals(study, signs, of) for of in study.sized]
    )
    lines = _corruption(study, signs)
    lines += signs.notes.legend(signs.used)
    return Group(*warning, *tables, *map(signs.notes.coloured, lines))


@dataclass
class _Signs:
    """The cells of the tables with their signs, and which signs were used."""

    study: Study
    notes: Notes
    used: list[str] = field(default_factory=list)

    def beside(self, text: str, arm: str, *conditions: Condition) -> str:
        self.used.append(self.notes.beside(text, self.study.suspect(arm, *conditions)))
        return self.used[-1]

    def cell(self, arm: str, condition: Condition, write: Callable[[Number], str]) -> Text:
        number = self.study.numbers.get((arm, condition, "accuracy"))
        if number is None:
            return Text(UNDEFINED)
        return self.notes.coloured(self.beside(write(number), arm, condition))


def _with_intervals(study: Study, signs: _Signs) -> Table:
    table = _table("Accuracy (%) [95 % interval]", "image")
    for arm in study.arms:
        table.add_column(Text(shown(arm.name)), justify="right", overflow="fold")
    for condition in study.conditions:
        if condition.kind == "corruption":
            continue
        cells = (signs.cell(arm.name, condition, attrgetter("rate")) for arm in study.arms)
        table.add_row(Text(shown(condition.text)), *cells)
    return table


def _without_intervals(study: Study, signs: _Signs, series: Series) -> Table:
    table = _table(f"Accuracy (%), {series.label}, {series.first.axis}", "")
    tried = series.conditions
    for condition in (CLEAN, *tried):
        heading = "clean" if condition == CLEAN else f"{condition.strength:g}"
        table.add_column(heading, justify="right", overflow="fold", min_width=2)
    for arm in study.arms:
        cells = (signs.cell(arm.name, key, _whole) for key in (CLEAN, *tried))
        table.add_row(Text(shown(arm.name)), *cells)
    table.caption = Text("Intervals stand in the report.", justify="left")
    return table


def _corruption(study: Study, signs: _Signs) -> list[str]:
    """The mean corruption error of each arm, a line each."""
    errors = study.corruption_errors
    if errors.empty:
        return []
    rows = errors[errors["corruption"] == ALL]
    tried = [c for series in study.corruptions for c in series.conditions]
    columns = ("arm", "value", "low", "high", "corruptions", "severities")
    return [
        f"Mean corruption error (%), {shown(arm)}: "
        f"{signs.beside(rate(value, low, high), arm, *tried)} "
        f"({plural(count, 'corruption')}, severity {listed(severities.split())})."
        for arm, value, low, high, count, severities in zip(
            *(rows[name].tolist() for name in columns), strict=True
        )
    ]


def _whole(number: Number) -> str:
    return UNDEFINED if isnan(number.value) else f"{100 * number.value:.0f}"


def _table(title: str, corner: str) -> Table:
    table = Table(title=Text(shown(title)), box=box.SIMPLE, padding=(0, 1, 0, 0), show_edge=False)
    # Where a terminal is narrow, letters and digits go to the next line rather than get lost.
    table.add_column(corner, justify="left", overflow="fold")
    return table
