"""Which file below a folder a table means: paths from templates, and names looked up."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from string import Formatter

from bcadv.data.sources.sheet import Table
from bcadv.errors import BcadvError
from bcadv.text import is_utf8, printable, shown

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class Template:
    """How the columns of a row make a path, as ``{ImageDir}/{ImageID}``.

    Args:
        text: the name of a column, or a text with names of columns in braces.
        columns: of the table.

    Attributes:
        names: the columns it takes.

    Raises:
        BcadvError: it cannot be read.
    """

    def __init__(self, text: str, columns: Sequence[str]) -> None:
        self.text = text
        self._pieces: list[tuple[str, str | None]] = [("", text)]
        if text not in columns and "{" in text:
            try:
                parsed = list(Formatter().parse(text))
            except ValueError as error:
                raise self._wrong(str(error)) from None
            self._pieces = []
            for literal, name, form, conversion in parsed:
                if form or conversion or name == "":
                    raise self._wrong("braces hold the name of a column and nothing else")
                self._pieces.append((literal, name))
        self.names = tuple(dict.fromkeys(name for _, name in self._pieces if name is not None))
        if not self.names:
            raise self._wrong("it names no column")

    def _wrong(self, why: str) -> BcadvError:
        return BcadvError(
            f"data.path={self.text} is no template of a path ({why}): write columns in braces, as "
            "in 'data.path=\"{id}.png\"' or 'data.path=\"images/{folder}/{name}\"'"
        )

    def fill(self, cells: Mapping[str, Sequence[str]]) -> Iterator[str]:
        """The path of each row; empty where a column that it takes is."""
        columns = [
            (literal, None if name is None else cells[name]) for literal, name in self._pieces
        ]
        for i in range(len(cells[self.names[0]])):
            row = [(literal, None if column is None else column[i]) for literal, column in columns]
            lacking = any(cell == "" for _, cell in row)
            yield "" if lacking else "".join(literal + (cell or "") for literal, cell in row)


def is_file(path: str | Path) -> bool:
    """Whether there is a file; of a name that is too long for one, `Path.is_file` raises."""
    return os.path.isfile(path)  # noqa: PTH113


def inside(text: str, root: Path) -> str | None:
    """A path below a root as its folders and name joined by slashes; ``None``: it leaves the root.

    Backslashes count as slashes: tables written on Windows have them.
    """
    path = text.replace("\\", "/")
    if path.startswith("/"):
        top = f"{root.absolute().as_posix().rstrip('/')}/"
        if not path.startswith(top):
            return None
        path = path[len(top) :]
    if _DRIVE.match(text):
        return None
    steps = [step for step in path.split("/") if step not in ("", ".")]
    return None if ".." in steps or not steps else "/".join(steps)


class Tree:
    """The files below a folder, listed when it must be, and once; hidden ones left out.

    Args:
        root: the folder.

    Attributes:
        in_other_capitals: paths that were found under a name in other capitals.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.in_other_capitals = 0

    @cached_property
    def files(self) -> frozenset[str]:
        """Paths of all, below the root."""
        return frozenset(_files(self.root))

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self.files:
            found.setdefault(posixpath.basename(path), []).append(path)
        return found

    @cached_property
    def _by_lower_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self.files:
            found.setdefault(posixpath.basename(path).lower(), []).append(path)
        return found

    def find(self, path: str) -> str | None:
        """The file of a path below the root; a mere name may lie in any folder, in any capitals.

        Raises:
            BcadvError: files of that name lie in two folders, or in one whose name is not UTF-8.
        """
        if "/" in path:
            # Asking for each file is quicker than to list a tree with a folder per patient.
            return path if is_file(f"{self.root}/{path}") else None
        if path in self.files:
            return path
        found = sorted(self._by_name.get(path, ()))
        if not found:
            found = sorted(self._by_lower_name.get(path.lower(), ()))
            self.in_other_capitals += len(found) == 1
        if len(found) > 1:
            raise BcadvError(
                f"the table names '{shown(path)}', and {printable(found[0])} and "
                f"{printable(found[1])} below {self.root} are called so: say with data.path which "
                "folder is meant, or set data.root to it"
            )
        if found and not found[0].isascii() and not is_utf8(found[0]):
            raise BcadvError(
                f"the name of {printable(found[0])} is not UTF-8 (\\x.. are its bytes): rename the "
                "folder, for instance with convmv -f latin1 -t utf8"
            )
        return found[0] if found else None

    def hint(self, path: str, template: Template) -> str:
        """What may be meant by a path that no file has; empty where nothing is like it."""
        return next(self._guesses(path, template), "")

    def _guesses(self, path: str, template: Template) -> Iterator[str]:
        steps = path.split("/")
        parent = self.root.absolute().parent
        if is_file(f"{parent}/{path}"):
            yield f"with data.root={parent} it would be there. "
        for k in range(1, len(steps)):
            if "/".join(steps[k:]) in self.files:
                yield f"'{'/'.join(steps[k:])}' is there, so a folder of the path is missing. "
        name = steps[-1]
        ends = {posixpath.splitext(one)[0]: posixpath.splitext(one)[1] for one in self._by_name}
        if name in ends:
            text = template.text if "{" in template.text else f"{{{template.text}}}"
            yield f"the files have endings: 'data.path=\"{text}{ends[name]}\"' would find it. "
        stem, end = posixpath.splitext(name)
        if ends.get(stem, end) != end:
            yield f"'{stem}{ends[stem]}' is there, with another ending. "
        near = self._by_lower_name.get(name.lower())
        if near:
            yield f"there is '{printable(near[0])}'. "


def located(
    table: Table,
    tree: Tree,
    template: Template,
    rows: Sequence[tuple[str, int]],
    *,
    skip: bool,
) -> list[str | None]:
    """The file that each row is about.

    Args:
        table: for messages.
        tree: the files there are.
        template: that made the paths.
        rows: path and number of each.
        skip: whether some files may be missing.

    Returns:
        Paths below the root; ``None``: there is no such file.

    Raises:
        BcadvError: a row without a path or with one out of the root, or missing files.
    """
    found: dict[str, str | None] = {}
    for text, number in rows:
        if text not in found:
            found[text] = tree.find(_inside(table, tree.root, template, text, number))
    lost = [(text, number) for text, number in rows if found[text] is None]
    if lost and (len(lost) == len(rows) or not skip):
        text, number = lost[0]
        path = _inside(table, tree.root, template, text, number)
        remedy = "" if len(lost) == len(rows) else "data.missing=skip leaves them out; "
        raise table.wrong(
            f"names files that are missing below data.root={tree.root} in {len(lost)} of "
            f"{len(rows)} rows, as '{shown(path)}' in row {number}",
            f"{tree.hint(path, template)}{remedy}data.path={template.text} says where they are",
        )
    return [found[text] for text, _ in rows]


def _inside(table: Table, root: Path, template: Template, text: str, number: int) -> str:
    if not text:
        raise table.wrong(
            f"has nothing in row {number} for data.path={template.text}",
            "mend that row, or leave it out with data.where",
        )
    path = inside(text, root)
    if path is None:
        raise table.wrong(
            f"names '{shown(text)}' in row {number}, which lies outside of data.root={root}",
            "give paths below it, or set data.root to a folder above all images",
        )
    return path


def _files(root: Path) -> Iterator[str]:
    """Paths below the root of what is a file, links followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    ahead = [("", str(root))]
    while ahead:
        prefix, folder = ahead.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116
            entries = list(os.scandir(folder))
        except OSError as error:
            raise BcadvError(
                f"{printable(folder)} cannot be listed: {error.strerror}. Give the right to read "
                "it, or set data.root to another folder"
            ) from None
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            if entry.name.startswith((".", "__MACOSX")):
                continue
            if entry.is_dir():
                ahead.append((f"{prefix}{entry.name}/", entry.path))
            elif entry.is_file():
                yield prefix + entry.name
