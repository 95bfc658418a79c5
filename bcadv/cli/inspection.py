"""An inspection of a data set, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from bcadv.console import cell, label, say
from bcadv.data import said
from bcadv.data.inspection import Inspection

_MOST_CLASSES = 40
_EXAMPLES = 5


def show(console: Console, seen: Inspection) -> None:
    """Prints the whole of it, doubts last."""
    if seen.synthetic:
        label(
            console,
            "SYNTHETIC",
            "bold yellow",
            "these images are painted by a program and say nothing about patients.",
        )
    for line in said.head(seen):
        say(console, line)
    console.print(_table(console, seen))
    for line in (*_below(seen), *_files(seen)):
        say(console, line)
    for note in said.notes(seen):
        label(console, "NOTE", "bold yellow", note)
    doubts(console, seen)


def doubts(console: Console, seen: Inspection) -> None:
    """Prints what speaks against the data, each with its remedy, or that nothing does."""
    for doubt in seen.doubts:
        word, style = ("STOPS", "bold red") if doubt.stops else ("DOUBT", "bold yellow")
        label(console, word, style, " ".join(filter(None, (doubt.text, doubt.remedy))))
    if not seen.doubts:
        say(console, "No doubts.")


def _table(console: Console, seen: Inspection) -> Table:
    top, rows = said.columns(seen)
    table = Table(box=box.SIMPLE, padding=(0, 1), show_edge=False)
    for i, name in enumerate(top):
        table.add_column(cell(console, name), justify="right" if i else "left", overflow="fold")
    for row in rows[:_MOST_CLASSES]:
        table.add_row(*(cell(console, text) for text in row))
    if len(rows) > _MOST_CLASSES:
        table.add_row(f"and {len(rows) - _MOST_CLASSES} more")
    return table


def _below(seen: Inspection) -> Iterator[str]:
    fold = "" if seen.fold is None else f", fold {seen.fold}"
    yield f"Split: data.split={seen.split}{fold}, seed={seen.seed}."
    yield said.disease(seen)
    yield said.patients(seen)
    if seen.overlap is not None:
        yield seen.overlap.sentence()


def _files(seen: Inspection) -> Iterator[str]:
    if seen.pixels is not None:
        yield f"Files: {'; '.join(said.facts(seen.pixels))}."
    for one in seen.broken[:_EXAMPLES]:
        yield f"Cannot be read: {one.path}: {one.why}."
    if len(seen.broken) > _EXAMPLES:
        yield f"Cannot be read: {len(seen.broken) - _EXAMPLES} more; json=FILE has them all."
    for found, how in ((seen.duplicates, "byte-identical"), (seen.near, "nearly equal")):
        if found is not None:
            yield said.copies(found, how)
