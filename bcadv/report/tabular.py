"""What a table of a report is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        name: stem of its files.
        title: what it shows.
        frame: the raw numbers, shares in [0, 1]; for CSV.
        shown: the texts as printed, the first column being the row's heading; for HTML, Markdown.
        notes: what must be known to read it, a sentence each.
    """

    name: str
    title: str
    frame: pd.DataFrame
    shown: pd.DataFrame
    notes: tuple[str, ...]


def table_of(
    name: str,
    title: str,
    frame: pd.DataFrame,
    shown: Iterable[dict[str, str]],
    notes: Iterable[str],
) -> Table:
    """Puts a table together; the texts come as a dict per line."""
    return Table(name, title, frame, pd.DataFrame(list(shown)).fillna(""), tuple(notes))
