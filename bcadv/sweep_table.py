"""The table that a sweep ends with: a row per job. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Measure, Result, Row
from bcadv.text import shown

COLUMNS = 4
"""Attacks side by side: as many as a terminal has room for."""


@dataclass(frozen=True)
class Line:
    """A job of the table.

    Attributes:
        number: names its folder.
        settings: that not all jobs share, by name.
        result: what it found; ``None`` where it has no results.
        failed: whether it is without results because it failed.
    """

    number: int
    settings: Mapping[str, str]
    result: Result | None
    failed: bool = False


def table(lines: Sequence[Line], folder: Path, console: Console) -> Table:
    """Settings, clean accuracy, accuracy under the strongest of each attack, and folder.

    Args:
        lines: a job each.
        folder: of the sweep.
        console: has room for intervals, or has not.
    """
    wide = _table(lines, folder, intervals=True)
    needed = Measurement.get(console, console.options.update_width(10_000), wide).maximum
    return wide if needed <= console.width else _table(lines, folder, intervals=False)


def _table(lines: Sequence[Line], folder: Path, *, intervals: bool) -> Table:
    names = list(dict.fromkeys(name for line in lines for name in line.settings))
    results = [line.result for line in lines if line.result is not None]
    attacks, left_out = _attacks(results)
    interval = " [95 % interval]" if intervals and results else ""
    made = Table(
        title=Text(shown(f"Accuracy (%){interval} of each job in {folder}")),
        caption=Text(shown(_caption(results, left_out), keep="\n"), justify="left"),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    made.add_column("job", justify="right")
    for name in names:
        made.add_column(Text(shown(name.lstrip("+"))), overflow="fold")
    for heading in ("clean", *attacks):
        made.add_column(Text(shown(heading)), justify="right", overflow="fold")
    made.add_column("folder", justify="right")
    for line in lines:
        cells = [str(line.number + 1), *(line.settings.get(name, "") for name in names)]
        if line.result is None:
            cells += ["failed" if line.failed else "not run", *("" for _ in attacks)]
        else:
            rows = _strongest(line.result)
            clean = next(r for r in _shown_rows(line.result) if r.condition == CLEAN.id)
            cells.append(_rate(clean.metrics["accuracy"], intervals=intervals))
            cells += [
                f"{_rate(rows[label][1].metrics['accuracy'], intervals=intervals)} "
                f"at {rows[label][0].amount}"
                if label in rows
                else ""
                for label in attacks
            ]
        made.add_row(*(Text(shown(cell)) for cell in (*cells, str(line.number))))
    return made


def _shown_rows(result: Result) -> list[Row]:
    return [row for row in result.rows if row.batchnorm == result.model.batchnorm[0]]


def _strongest(result: Result) -> dict[str, tuple[Condition, Row]]:
    """Label of each attack -> its strongest condition."""
    found: dict[str, tuple[Condition, Row]] = {}
    for row in _shown_rows(result):
        condition = result.condition_of(row)
        if condition.kind != "attack":
            continue
        known = found.get(condition.label)
        if known is None or condition.strength > known[0].strength:
            found[condition.label] = (condition, row)
    return found


def _attacks(results: Sequence[Result]) -> tuple[list[str], int]:
    """The attacks that have a column, and how many more there are that leave more accuracy."""
    left: dict[str, list[float]] = {}
    for result in results:
        for label, (_, row) in _strongest(result).items():
            left.setdefault(label, []).append(row.metrics["accuracy"].value or 0.0)
    lowest = sorted(left, key=lambda label: sum(left[label]) / len(left[label]))[:COLUMNS]
    return [label for label in left if label in lowest], len(left) - len(lowest)


def _caption(results: Sequence[Result], left_out: int) -> str:
    several = {result.model.batchnorm[0] for result in results if len(result.model.batchnorm) > 1}
    said = ["Under the strongest of each attack."] if results else []
    if left_out:
        said.append(f"{left_out} more attacks leave more; they are in the report.")
    if several:
        said.append(
            f"BatchNorm statistics: {', '.join(sorted(several))}; the others are in the report."
        )
    if any(result.data.synthetic for result in results):
        said.append("SYNTHETIC TISSUE: these numbers say nothing about medicine.")
    return "\n".join(said)


def _rate(measure: Measure, *, intervals: bool) -> str:
    assert measure.value is not None  # no row is without its accuracy
    said = f"{100 * measure.value:.1f}"
    if intervals and measure.ci_low is not None and measure.ci_high is not None:
        said += f" [{100 * measure.ci_low:.0f}, {100 * measure.ci_high:.0f}]"
    return said
