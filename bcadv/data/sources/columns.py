"""What the cells of a table say an image shows: one class, or findings, or that nobody knows."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

from bcadv.data.sources.layout import named
from bcadv.data.sources.naming import Marks, known
from bcadv.data.sources.sheet import Sheet, Table, measured, whole
from bcadv.errors import BcadvError
from bcadv.text import brief, listed, shown

K = TypeVar("K")

Policy = Literal["ignore", "zero", "one"]
Policies = Policy | Mapping[str, Policy] | None
"""What stands for a cell that is no answer: the same in every column, or by column."""

LIST = "list"
"""The separator of findings that are written as a list of Python or JSON."""

_YES = frozenset({"1", "true", "yes"})
_NO = frozenset({"0", "false", "no"})
_BLANK = frozenset({"", "nan", "na", "n/a", "null", "none"})
_MOST_CLASSES = 1000


Reading = str | Marks | None
"""A class, findings, or nothing that could be used."""


@dataclass
class Read:
    """What the rows of a table say.

    Attributes:
        rows: a reading for each row.
        unused: rows that say nothing usable, by why.
        notes: what must be known about the reading.
    """

    rows: list[Reading]
    unused: Counter[str]
    notes: list[str]


@lru_cache(maxsize=4096)
def flag(cell: str) -> Literal["one", "zero", "uncertain", "blank"] | None:
    """What a cell of a column of zeros and ones says; ``None``: something else.

    1, 1.0, true and yes are one, 0, 0.0, false and no are zero, -1 and -1.0 are uncertain, in any
    capitals; a blank cell, NaN, NA, null and None are blank.
    """
    low = cell.lower()
    if low in _YES:
        return "one"
    if low in _NO:
        return "zero"
    if low in _BLANK:
        return "blank"
    try:
        number = float(low)
    except ValueError:
        return None
    kinds: dict[float, Literal["one", "zero", "uncertain"]]
    kinds = {1.0: "one", 0.0: "zero", -1.0: "uncertain"}
    return kinds.get(number)


class _Asks:
    """Cells that are no answer, and about which nothing was said."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._counts: dict[str, Counter[str]] = {"uncertain": Counter(), "blank": Counter()}

    def add(self, kind: str, column: str, count: int) -> None:
        self._counts[kind][column] += count

    def settle(self, choices: str = "ignore|zero|one") -> None:
        """Asks about them.

        Raises:
            BcadvError: there are some.
        """
        for kind, cells in (("uncertain", "-1"), ("blank", "blank")):
            counts = self._counts[kind]
            if counts:
                some = listed([f"{n} in '{shown(c)}'" for c, n in counts.most_common(4)])
                more = f" and more in {len(counts) - 4} other columns" if len(counts) > 4 else ""
                one = choices.partition("|")[0]
                each = (
                    f", or for each column data.{kind}={{{shown(next(iter(counts)))}: {one}, ...}}"
                    if len(counts) > 1
                    else ""
                )
                raise self._table.wrong(
                    f"has cells that are {cells}: {some}{more}",
                    f"say what they mean with data.{kind}={choices}{each}",
                )


def _policy(policies: Policies, column: str) -> Policy | None:
    return policies.get(column) if isinstance(policies, Mapping) else policies


def _first_rows(keys: Iterable[K], numbers: Sequence[int]) -> dict[K, int]:
    """The first row of everything that is different."""
    first: dict[K, int] = {}
    for key, number in zip(keys, numbers, strict=True):
        first.setdefault(key, number)
    return first


def flags(
    table: Table,
    sheet: Sheet,
    rows: Sequence[int],
    labels: Sequence[str],
    *,
    uncertain: Policies = None,
    blank: Policies = None,
) -> list[Marks]:
    """Reads columns of zeros and ones; see `flag`.

    Args:
        table: for messages.
        sheet: its cells.
        rows: to read, as places in the sheet.
        labels: the columns.
        uncertain: what -1 means; ``None``: it is asked.
        blank: what a blank cell means; ``None``: it is asked.

    Raises:
        BcadvError: another value, or one that must be asked about.
    """
    for option, policies in (("uncertain", uncertain), ("blank", blank)):
        for name in policies if isinstance(policies, Mapping) else ():
            if name not in labels:
                raise BcadvError(
                    f"data.{option} names '{shown(name)}', which is none of data.labels, "
                    f"{named(labels, 20)}"
                )
    columns = [sheet.cells[label] for label in labels]
    keys = [tuple(column[i] for column in columns) for i in rows]
    first = _first_rows(keys, [sheet.numbers[i] for i in rows])
    counts = Counter(keys)
    asks = _Asks(table)
    said = {"uncertain": uncertain, "blank": blank}
    marks = {}
    for key, number in first.items():
        found: dict[str, set[str]] = {"one": set(), "zero": set(), "ignore": set()}
        for label, cell in zip(labels, key, strict=True):
            kind = flag(cell)
            if kind is None:
                raise table.wrong(
                    f"has '{shown(brief(cell, 60))}' in column '{shown(label)}', row {number}",
                    "a column of data.labels holds 0, 1, -1 or nothing; a column of names is "
                    "data.label",
                )
            if kind in said:
                policy = _policy(said[kind], label)
                if policy is None:
                    asks.add(kind, label, counts[key])
                    continue
                found[policy].add(label)
            else:
                found[kind].add(label)
        marks[key] = Marks(frozenset(found["one"]), frozenset(found["ignore"]))
    asks.settle()
    return [marks[key] for key in keys]


def one_hot(
    table: Table, sheet: Sheet, rows: Sequence[int], marks: Sequence[Marks], asked: bool | None
) -> list[str | None] | None:
    """Columns of zeros and ones of which one is 1, as the class of each row.

    Args:
        table: for messages.
        sheet: its cells.
        rows: that the marks are of.
        marks: of each row.
        asked: whether the user says that it is so; ``None``: nothing was said.

    Returns:
        A class for each row, ``None`` where it is unknown; ``None`` if these are findings.

    Raises:
        BcadvError: it is not so though the user says it, or it is and the user says nothing.
    """
    if asked is False:
        return None
    odd = [k for k, mark in enumerate(marks) if len(mark.shown) != 1 and not mark.unknown]
    if asked is None:
        if not odd and not any(mark.unknown for mark in marks):
            raise table.wrong(
                "has exactly one 1 in each row of data.labels",
                "say data.one_hot=true if each image is of one class, or data.one_hot=false if "
                "these are findings of which it may show several",
            )
        return None
    if odd:
        mark = marks[odd[0]]
        said = f"1 in {named(sorted(mark.shown))}" if mark.shown else "no 1"
        raise table.wrong(
            f"has {said} in row {sheet.numbers[rows[odd[0]]]}, as {len(odd)} of {len(rows)} rows "
            "have none or several",
            "with data.one_hot=true each has one; leave it out if an image may show several",
        )
    return [next(iter(mark.shown)) if len(mark.shown) == 1 else None for mark in marks]


def lists(
    table: Table,
    sheet: Sheet,
    rows: Sequence[int],
    column: str,
    *,
    separator: str | None,
    nothing: str | None,
    unusable: Sequence[str] = (),
    blank: Policies = None,
) -> Read:
    """Reads a column of names of findings, one or several in a cell.

    Args:
        table: for messages.
        sheet: its cells.
        rows: to read, as places in the sheet.
        column: its name.
        separator: between names; `LIST`: a cell is a list of Python or JSON; ``None``: one each.
        nothing: the word for no finding; beside findings it does not count.
        unusable: words that make a row useless.
        blank: what a blank cell means, ``ignore`` or ``zero``; ``None``: it is asked.

    Raises:
        BcadvError: a cell that is no list, or blank ones that must be asked about.
    """
    cells = [sheet.cells[column][i] for i in rows]
    counts = Counter(cells)
    asks = _Asks(table)
    made: dict[str, Reading] = {}
    unused: Counter[str] = Counter()
    contrary, words = 0, Counter[str]()
    for cell, number in _first_rows(cells, [sheet.numbers[i] for i in rows]).items():
        is_blank = cell.lower() in _BLANK - {"none"}
        found = set() if is_blank else _names(table, cell, separator, column, number)
        words.update(dict.fromkeys(found, counts[cell]))
        if not found:
            policy = _policy(blank, column)
            if policy is None:
                asks.add("blank", column, counts[cell])
            elif policy == "ignore":
                unused[f"blank in '{shown(column)}' (data.blank=ignore)"] += counts[cell]
            made[cell] = Marks(frozenset()) if policy == "zero" else None
            continue
        if not found.isdisjoint(unusable):
            unused[f"named {named(sorted(found & set(unusable)))} (data.unusable)"] += counts[cell]
            made[cell] = None
            continue
        if nothing in found and len(found) > 1:
            contrary += counts[cell]
        made[cell] = Marks(frozenset(found - {nothing}))
    asks.settle("ignore|zero")
    for option, asked in (("nothing", [nothing] if nothing else []), ("unusable", unusable)):
        for word in asked:
            if word not in words:
                raise table.wrong(
                    f"never says '{shown(word)}' in column '{shown(column)}', as data.{option} "
                    "has it",
                    f"it says {named([one for one, _ in words.most_common()], 20)}",
                )
    notes = (
        [
            f"{contrary} rows of {table.path.name} name '{shown(nothing or '')}' beside findings: "
            "the findings count."
        ]
        if contrary
        else []
    )
    return Read([made[cell] for cell in cells], unused, notes)


def _names(table: Table, cell: str, separator: str | None, column: str, number: int) -> set[str]:
    """The names in a cell."""
    if separator is None:
        return {cell}
    if separator != LIST:
        return {name.strip() for name in cell.split(separator)} - {""}
    try:
        names = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        names = None
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise table.wrong(
            f"has '{shown(brief(cell, 60))}' in column '{shown(column)}', row {number}, which is "
            "no list of names",
            "data.separator=list reads cells such as ['nodule', 'edema']; name the separator if it "
            "is another, as data.separator='|'",
        )
    return {name.strip() for name in names} - {""}


def classes(
    table: Table,
    sheet: Sheet,
    rows: Sequence[int],
    column: str,
    *,
    class_map: Mapping[str, str | None],
    blank: Policies = None,
) -> Read:
    """Reads a column that names the class of each image.

    Whole numbers may be written with ``.0``. A blank cell and NaN are blank.

    Args:
        table: for messages.
        sheet: its cells.
        rows: to read, as places in the sheet.
        column: its name.
        class_map: name in the table -> name of the class, or ``None`` to leave it out.
        blank: ``ignore`` leaves blank rows out; ``None``: it is asked.

    Raises:
        BcadvError: a column of measurements or of as many names as rows, a name in ``class_map``
            that is not there, or blank cells that must be asked about.
    """
    cells = whole(["" if c.lower() == "nan" else c for c in (sheet.cells[column][i] for i in rows)])
    counts = Counter(cells)
    empty = counts.pop("", 0)
    fraction = measured(counts)
    if fraction is not None:
        raise table.wrong(
            f"has numbers such as {fraction} in column '{shown(column)}'",
            "data.label names a column of classes; give one of names or whole numbers",
        )
    _no_lists(table, column, [name for name in counts if name not in class_map])
    if len(counts) > _MOST_CLASSES or (len(counts) > 20 and len(counts) > len(rows) / 2):
        raise table.wrong(
            f"has {len(counts)} different values in {len(rows)} rows of column '{shown(column)}'",
            "data.label names a column of classes; lists of findings need data.separator",
        )
    asks = _Asks(table)
    unused: Counter[str] = Counter()
    if empty:
        if _policy(blank, column) == "ignore":
            unused[f"blank in '{shown(column)}' (data.blank=ignore)"] = empty
        else:
            asks.add("blank", column, empty)
    asks.settle("ignore")
    known(class_map, counts, f"the values of column '{shown(column)}'")
    for name, count in counts.items():
        if class_map.get(name, name) is None:
            unused[f"of class '{shown(name)}' (data.class_map)"] = count
    return Read([class_map.get(cell, cell) if cell else None for cell in cells], unused, [])


def _no_lists(table: Table, column: str, names: Sequence[str]) -> None:
    """Asks about names that are no classes by their looks.

    Raises:
        BcadvError: lists of others, or -1, which often stands for no answer.
    """
    there = set(names)
    for name in names:
        own = LIST if name.startswith("[") and name.endswith("]") else None
        for separator in ("|", ";", ",", "/", "+"):
            pieces = {piece.strip() for piece in name.split(separator)}
            if len(pieces) > 1 and pieces <= there:
                own = separator
        if own is not None:
            raise table.wrong(
                f"has '{shown(brief(name, 60))}' in column '{shown(column)}', which looks like a "
                "list of findings",
                f"say data.separator='{own}' if it is one; if it is a class, give it another name "
                "with data.class_map",
            )
        if name == "-1":
            raise table.wrong(
                f"has '-1' in column '{shown(column)}', which often stands for no answer",
                "leave it out with data.class_map={-1: null}, or give the class a name in place of "
                "null",
            )
