"""From the rows of a table to its images: several rows may be about one, several images of one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bcadv.config import Part
from bcadv.data.sources import words
from bcadv.data.sources.columns import Reading
from bcadv.data.sources.layout import named
from bcadv.data.sources.naming import Marks
from bcadv.data.sources.sheet import Table
from bcadv.errors import BcadvError
from bcadv.text import shown

Agree = Literal["any", "majority"]


@dataclass(frozen=True)
class Agreed:
    """What is said of each image.

    Attributes:
        readings: by image.
        several: images with more than one row.
        disputed: those whose rows say different things.
        tied: those of them without a majority.
    """

    readings: dict[str, Reading]
    several: int
    disputed: int
    tied: int


def agreed(
    table: Table,
    images: Mapping[str, Sequence[int]],
    readings: Sequence[Reading],
    numbers: Sequence[int],
    *,
    agree: Agree | None,
    raters: Sequence[str] | None,
) -> Agreed:
    """Puts the rows of each image together.

    Args:
        table: for messages.
        images: the rows of each, as places in ``readings``.
        readings: of each row.
        numbers: of each row, for messages.
        agree: ``any``: an image shows what a row says; ``majority``: what more than half of its
            raters say, a tie being unknown; ``None``: rows have to say the same.
        raters: who wrote each row; what one says in several rows is put together. ``None``: each
            row has its own.

    Raises:
        BcadvError: rows that say different things, and nothing was said about it.
    """
    made: dict[str, Reading] = {}
    several = disputed = tied = 0
    example: tuple[str, int, int] | None = None
    for image, rows in images.items():
        made[image] = readings[rows[0]]
        if len(rows) == 1:
            continue
        several += 1
        said = {readings[row] for row in rows} - {None}
        if len(said) < 2:
            made[image] = next(iter(said), None)
            continue
        disputed += 1
        if agree is None:
            first = next(row for row in rows if readings[row] is not None)
            other = next(row for row in rows if readings[row] not in {None, readings[first]})
            example = example or (image, numbers[first], numbers[other])
            continue
        votes: dict[object, list[Reading]] = defaultdict(list)
        for row in rows:
            votes[row if raters is None else raters[row]].append(readings[row])
        made[image] = _vote(agree, votes)
        tied += made[image] is None
    if example is not None:
        image, one, two = example
        raise table.wrong(
            f"says different things about {disputed} images in several rows, as about "
            f"'{shown(image)}' in rows {one} and {two}",
            "say data.agree=majority (of the rows, or of data.rater=COLUMN) or, of findings, "
            "data.agree=any (what any row says); a column that names one finding a row needs "
            "data.nothing=WORD",
        )
    return Agreed(made, several, disputed, tied)


def _vote(agree: Agree, votes: Mapping[object, Sequence[Reading]]) -> Reading:
    """What raters say together, each of whom may say several things."""
    marks = [
        _union([one for one in said if isinstance(one, Marks)])
        for said in votes.values()
        if any(isinstance(one, Marks) for one in said)
    ]
    if not marks:
        counts = Counter(one for said in votes.values() for one in {*said} - {None})
        (best, count), (_, next_best) = counts.most_common(2)
        return best if count > len(votes) / 2 and count > next_best else None
    if agree == "any":
        return _union(marks)
    yes = Counter(name for one in marks for name in one.shown)
    unsure = Counter(name for one in marks for name in one.unknown)
    no = {name: len(marks) - yes[name] - unsure[name] for name in (yes | unsure)}
    return Marks(
        frozenset(name for name in no if yes[name] > no[name]),
        frozenset(name for name in no if yes[name] == no[name]),
    )


def _union(marks: Sequence[Marks]) -> Marks:
    shows = frozenset[str]().union(*(one.shown for one in marks))
    unsure = frozenset[str]().union(*(one.unknown for one in marks))
    return Marks(shows, unsure - shows)


def constant(
    table: Table,
    images: Mapping[str, Sequence[int]],
    cells: Sequence[str],
    numbers: Sequence[int],
    column: str,
) -> dict[str, str]:
    """A cell for each image, where it may have only one.

    Raises:
        BcadvError: two rows of an image differ in it.
    """
    for image, rows in images.items():
        if len(rows) > 1 and len({cells[row] for row in rows}) > 1:
            other = next(row for row in rows if cells[row] != cells[rows[0]])
            raise table.wrong(
                f"has '{shown(cells[rows[0]])}' and '{shown(cells[other])}' in column "
                f"'{shown(column)}' for one image, '{shown(image)}', in rows {numbers[rows[0]]} "
                f"and {numbers[other]}",
                "mend one of them",
            )
    return {image: cells[rows[0]] for image, rows in images.items()}


def connected(
    patients: Mapping[str, str | None], groups: Mapping[str, str]
) -> tuple[dict[str, str | None], int]:
    """The key of what must stay together, where images share a patient or a group.

    Args:
        patients: of each image; ``None``: unknown.
        groups: of each image; empty: in none.

    Returns:
        The key of each image, its patient's name, or of the first of several that share a group,
        or that of the group if no patient is known; and how many patients share a group.
    """
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def top(node: tuple[str, str]) -> tuple[str, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    nodes: dict[str, tuple[str, str]] = {}
    for image, patient in patients.items():
        own = [("a patient", patient)] if patient is not None else []
        own += [("group", groups[image])] if groups[image] else []
        for node in own:
            # The smaller one is the top, so that the name does not depend on the order of rows.
            one, other = sorted((top(own[0]), top(node)))
            parent[other] = one
        if own:
            nodes[image] = own[0]
    keys = {image: top(nodes[image])[1] if image in nodes else None for image in patients}
    together: dict[tuple[str, str], int] = Counter(
        top(node) for node in parent if node[0] == "a patient"
    )
    return keys, sum(count for count in together.values() if count > 1)


def parts_of(table: Table, cells: Mapping[str, str], column: str) -> dict[str, str]:
    """The part that each image's cell is called after.

    Raises:
        BcadvError: a cell that is called like none.
    """
    named_parts = {cell: words.part_of(cell) for cell in set(cells.values())}
    strange = sorted(cell for cell, part in named_parts.items() if part is None)
    if strange:
        count = sum(cell in strange for cell in cells.values())
        raise table.wrong(
            f"has {named(strange)} in column '{shown(column)}', called like no part of a split "
            f"({count} images)",
            "parts are train, val and test; leave other rows out, as with "
            f"data.where={{{shown(column)}: [train, test]}}",
        )
    return {image: str(named_parts[cell]) for image, cell in cells.items()}


def listed_parts(
    lists: Mapping[Part, Path], aliases: Mapping[str, Sequence[str]]
) -> tuple[dict[str, str], list[str]]:
    """The part of each image as files that list them say, a name or path a line.

    Args:
        lists: file of each part.
        aliases: what each image may be called in them.

    Returns:
        The part of each image that a list names, and what must be known.

    Raises:
        BcadvError: a list that cannot be read, names none of the images, or one that another
            names, or a name that several images have.
    """
    meant: dict[str, set[str]] = defaultdict(set)
    for image, names in aliases.items():
        for name in names:
            meant[name].add(image)
    parts: dict[str, str] = {}
    notes = []
    for part, path in sorted(lists.items()):
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise BcadvError(
                f"data.lists names {path} for {part}, which cannot be read: {why}. Give a text "
                "file with the name of an image in each line"
            ) from None
        wanted = [line.strip().replace("\\", "/") for line in lines if line.strip()]
        strangers = [name for name in wanted if name not in meant]
        if len(strangers) == len(wanted):
            one = f", for instance '{shown(wanted[0])}'" if wanted else ""
            raise BcadvError(
                f"data.lists names {path} for {part}, and none of its {len(wanted)} lines is one "
                f"of the images{one}: a line holds the name of a file or its path"
            )
        if strangers:
            notes.append(
                f"{len(strangers)} of {len(wanted)} lines of {path.name} are no image that is "
                f"used, for instance '{shown(strangers[0])}'."
            )
        for name in wanted:
            images = sorted(meant.get(name, ()))
            if len(images) > 1:
                raise BcadvError(
                    f"{path} lists '{shown(name)}', which may be '{shown(images[0])}' or "
                    f"'{shown(images[1])}': list paths below data.root"
                )
            for image in images:
                if parts.setdefault(image, part) != part:
                    raise BcadvError(
                        f"'{shown(image)}' is listed for {parts[image]} and, in {path}, for "
                        f"{part}: take it out of one of data.lists"
                    )
    return parts, notes
