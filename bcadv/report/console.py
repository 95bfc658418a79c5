"""The comparison in short, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bcadv.report.table import warning_of
from bcadv.results.condition import CLEAN, Series
from bcadv.study.corruption import ALL
from bcadv.study.numbers import UNDEFINED, Key, Number, rate
from bcadv.study.prose import listed, plural
from bcadv.study.study import Study
from bcadv.text import shown

_MOST_WITH_INTERVAL = 3


def console_comparison(study: Study) -> RenderableType:
    """Accuracy of every arm, clean and under everything tried.

    Up to three arms are columns and have 95 % intervals. More are rows of a table for each
    perturbation that was tried at several strengths, without intervals. Of corruptions the mean
    error is told.
    """
    numbers = study.numbers
    warning = [Text(warning_of(study), "bold red")] if study.synthetic else []
    if len(study.arms) <= _MOST_WITH_INTERVAL:
        return Group(*warning, _with_intervals(study, numbers), *map(Text, _corruption(study)))
    tables = [_without_intervals(study, numbers, of) for of in study.sized]
    return Group(*warning, *tables, *map(Text, _corruption(study)))


def _with_intervals(study: Study, numbers: Mapping[Key, Number]) -> Table:
    table = _table("Accuracy (%) [95 % interval]", "image")
    for arm in study.arms:
        table.add_column(Text(shown(arm.name)), justify="right", overflow="fold")
    for condition in study.conditions:
        if condition.kind == "corruption":
            continue
        found = (numbers.get((arm.name, condition, "accuracy")) for arm in study.arms)
        cells = (UNDEFINED if number is None else number.rate for number in found)
        table.add_row(Text(shown(condition.text)), *map(Text, cells))
    return table


def _without_intervals(study: Study, numbers: Mapping[Key, Number], series: Series) -> Table:
    table = _table(f"Accuracy (%), {series.label}, {series.first.axis}", "")
    tried = series.conditions
    for condition in (CLEAN, *tried):
        heading = "clean" if condition == CLEAN else f"{condition.strength:g}"
        table.add_column(heading, justify="right", overflow="fold", min_width=2)
    for arm in study.arms:
        found = (numbers.get((arm.name, key, "accuracy")) for key in (CLEAN, *tried))
        cells = (UNDEFINED if number is None else _whole(number) for number in found)
        table.add_row(Text(shown(arm.name)), *map(Text, cells))
    table.caption = Text("Intervals stand in the report.", justify="left")
    return table


def _corruption(study: Study) -> list[str]:
    """The mean corruption error of each arm, a line each."""
    errors = study.corruption_errors
    if errors.empty:
        return []
    rows = errors[errors["corruption"] == ALL]
    columns = ("arm", "value", "low", "high", "corruptions", "severities")
    return [
        f"Mean corruption error (%), {shown(arm)}: {rate(value, low, high)} "
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
