"""A table in a file, CSV, TSV or Parquet, packed or not: its columns as text, by their names."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from bcadv.data.sources.layout import named
from bcadv.errors import BcadvError
from bcadv.text import brief, shown

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)
_LONGEST = 1 << 24
"""Characters of the longest cell; what is longer began with a quotation mark and never ended."""

_NUMBER = re.compile(r"-?\d+(\.0*)?")
_MEASURE = re.compile(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?")
_ROUNDED = re.compile(r"\d(\.\d+)?[eE]\+\d+")
_FILE = re.compile(r".*\.(png|jpe?g|tiff?|bmp|dcm|gif|webp)", re.IGNORECASE)


@dataclass(frozen=True)
class Sheet:
    """Columns of a table.

    Attributes:
        cells: text of each row by column, without spaces around it; empty where there is none.
        numbers: of the rows as a spreadsheet counts them, the header being row 1.
    """

    cells: Mapping[str, list[str]]
    numbers: Sequence[int]


class Table:
    """A table whose header was read.

    Args:
        path: of its file.
        option: that named it, for messages.

    Attributes:
        columns: their names; the empty one of a column without a name may stand in it often.
        notes: what must be known about how it is read.

    Raises:
        BcadvError: it cannot be read, is none, or two columns have one name.
    """

    def __init__(self, path: Path, option: str) -> None:
        self.path, self.option = path, option
        self.notes: list[str] = []
        self._separator = ","
        try:
            with path.open("rb") as file:
                self._parquet = file.read(4) == b"PAR1"
        except OSError as error:
            raise BcadvError(f"{option}={path} cannot be read: {error.strerror}") from None
        header = self._parquet_file().schema_arrow.names if self._parquet else self._header()
        self.columns = tuple(name.strip() for name in header)
        self._name_header(header)

    def read(self, wanted: Collection[str]) -> Sheet:
        """The cells of some columns, wholly blank rows left out.

        Raises:
            BcadvError: no such column, no rows, or rows that are not as long as the header.
        """
        self.require(wanted)
        sheet = self._read_parquet(wanted) if self._parquet else self._read_text(wanted)
        if not sheet.numbers:
            raise self.wrong("has a header and no rows", "give the table of the images")
        return sheet

    def require(self, wanted: Collection[str]) -> None:
        """Refuses columns that are not there.

        Raises:
            BcadvError: with names that are close to the one that is missing.
        """
        for name in wanted:
            if name and name in self.columns:
                continue
            named_ones = [column for column in self.columns if column]
            lower = {column.lower(): column for column in named_ones}
            near = get_close_matches(name.lower(), list(lower), n=1)
            hint = f"did you mean '{shown(lower[near[0]])}'? " if near else ""
            raise self.wrong(
                f"has no column '{shown(name)}'",
                f"{hint}Its columns are {named(named_ones, 40)}{self._no_header()}",
            )

    def wrong(self, what: str, remedy: str) -> BcadvError:
        """A sentence about this table."""
        return BcadvError(f"{self.option}={self.path} {what}: {remedy}")

    def _no_header(self) -> str:
        """What must be said where the first row is one of images and no header."""
        first = next((c for c in self.columns if _MEASURE.fullmatch(c) or _FILE.fullmatch(c)), None)
        if first is None:
            return ""
        return (
            f". They look like a row of data, as '{shown(first)}': if the table has no header, "
            "write one as its first line"
        )

    def _name_header(self, header: Sequence[str]) -> None:
        if not any(self.columns):
            raise self.wrong("is empty or begins with an empty line", "its first line is a header")
        twice = [name for name, n in Counter(self.columns).items() if n > 1 and name]
        if twice:
            raise self.wrong(
                f"has {Counter(self.columns)[twice[0]]} columns called '{shown(twice[0])}'",
                f"which of them is meant is not certain; rename them{self._no_header()}",
            )
        spaced = [name for name in header if name != name.strip()]
        if spaced:
            self.notes.append(
                f"{self.path.name} has columns with spaces around their names, which are read "
                f"without them: {named(spaced)}."
            )
        if self._separator != ",":
            self.notes.append(
                f"The columns of {self.path.name} are read as separated by a "
                f"{_SEPARATORS[self._separator]}."
            )

    @contextmanager
    def _text(self) -> Iterator[IO[str]]:
        """The lines of a text table, unpacked."""
        try:
            with self._unpacked() as raw:
                if raw.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    raise self.wrong(
                        "is UTF-16, as some programs call Unicode", "save it as UTF-8 (CSV UTF-8)"
                    )
                with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
                    yield text
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise self.wrong(
                f"is not UTF-8 (it holds the byte 0x{byte:02x})",
                "save it as UTF-8, for instance with iconv -f latin1 -t utf8",
            ) from None
        except _BROKEN as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise self.wrong(f"cannot be read ({shown(str(why))})", "give a whole file") from None
        except csv.Error as error:
            raise self.wrong(
                f"is no table of text: {error}",
                "look for a quotation mark that does not end, or save it anew",
            ) from None

    @contextmanager
    def _unpacked(self) -> Iterator[io.BufferedReader]:
        with self.path.open("rb") as file:
            head = file.read(4)
            file.seek(0)
            if head[:2] == b"\x1f\x8b":
                with gzip.open(file) as unzipped:
                    yield io.BufferedReader(unzipped)
            elif head == b"PK\x03\x04":
                with zipfile.ZipFile(file) as archive, archive.open(self._member(archive)) as inner:
                    yield io.BufferedReader(inner)  # type: ignore[arg-type]
            else:
                yield file

    def _member(self, archive: zipfile.ZipFile) -> str:
        """The one table within an archive."""
        names = archive.namelist()
        if "[Content_Types].xml" in names:
            raise self.wrong("is a workbook of a spreadsheet", "save the sheet as CSV UTF-8")
        tables = [
            name
            for name in names
            if name.lower().endswith((".csv", ".tsv", ".txt"))
            and not name.startswith("__MACOSX")
            and not Path(name).name.startswith(".")
        ]
        if len(tables) != 1:
            raise self.wrong(
                f"is an archive of {len(tables)} tables", "unpack it and name the table itself"
            )
        return tables[0]

    def _header(self) -> list[str]:
        with self._text() as text:
            first = text.readline()
            if "\0" in first:
                raise self.wrong("is no table of text", "give a CSV, TSV or Parquet file")
            if first.lower().lstrip('"').startswith("sep="):
                said = shown(brief(first.strip(), 60))
                raise self.wrong(f"begins with the line '{said}'", "take out that line")
            lines = [first, *islice(text, 20)]
            fits = {one: self._fits(one, lines) for one in _SEPARATORS}
            self._separator = max(fits, key=fits.__getitem__)
            if fits[self._separator][1] < 2:
                names = "comma, semicolon, tab or vertical bar"
                raise self.wrong(
                    f"has no {names} in its first line, '{shown(brief(first.strip(), 60))}'",
                    "a table needs a column for the image and one for what it shows",
                )
            return next(self._rows(lines), [])

    def _fits(self, separator: str, lines: Sequence[str]) -> tuple[bool, int]:
        """Whether rows cut at a separator are as long as the header; and how long that is."""
        # The last line may be cut within a cell of several.
        rows = csv.reader([*lines[:1], *lines[1:-1]], delimiter=separator)
        lengths = [len(row) for row in rows if row]
        width = lengths[0] if lengths else 0
        return width > 1 and set(lengths) == {width}, width

    def _rows(self, text: Any) -> Iterator[list[str]]:
        csv.field_size_limit(_LONGEST)
        return csv.reader(text, delimiter=self._separator, strict=True)

    def _read_text(self, wanted: Collection[str]) -> Sheet:
        columns: list[tuple[int, list[str]]]
        columns = [(self.columns.index(name), []) for name in wanted]
        numbers: list[int] = []
        width = len(self.columns)
        # Most cells repeat: each text is kept once.
        pool: dict[str, str] = {}
        with self._text() as text:
            for number, row in enumerate(self._rows(text), start=1):
                if number == 1 or not any(row):
                    continue
                if len(row) != width:
                    row = self._padded(row, number)  # noqa: PLW2901
                numbers.append(number)
                for k, cells in columns:
                    cell = row[k]
                    clean = pool.get(cell)
                    if clean is None:
                        clean = pool[cell] = cell.strip()
                    cells.append(clean)
        return Sheet(dict(zip(wanted, (cells for _, cells in columns), strict=True)), numbers)

    def _padded(self, row: list[str], number: int) -> list[str]:
        """A row that differs from the header in empty columns without a name alone."""
        width = len(self.columns)
        if not any(row[width:]) and not any(self.columns[len(row) :]):
            return (row + [""] * width)[:width]
        raise self.wrong(
            f"has {len(row)} cells in row {number} and {width} columns",
            "mend that row; a cell that holds the separator has to stand in quotation marks",
        )

    def _parquet_file(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self.path)
        except (OSError, pa.ArrowException) as error:
            raise self.wrong(f"cannot be read ({shown(str(error))})", "give a whole file") from None

    def _read_parquet(self, wanted: Collection[str]) -> Sheet:
        file = self._parquet_file()
        original = dict(zip(self.columns, file.schema_arrow.names, strict=True))
        cells = {}
        for name in wanted:
            values = file.read(columns=[original[name]]).column(0).to_pylist()
            strange = next((v for v in values if isinstance(v, bytes | dict)), None)
            if strange is not None:
                raise self.wrong(
                    f"has {type(strange).__name__} in column '{shown(name)}'",
                    "name a column of text or numbers",
                )
            cells[name] = [_as_text(value) for value in values]
        return Sheet(cells, range(2, file.metadata.num_rows + 2))


def _as_text(value: Any) -> str:
    """A value of a typed table as a text table would have it."""
    return "" if value is None or value != value else str(value).strip()  # noqa: PLR0124


def chained(
    table: Table, more: Table | None, names: Collection[str], key: Collection[str]
) -> Sheet:
    """Columns of a table, those that it lacks taken from another by what names the image.

    Args:
        table: has a row or several for each image.
        more: has a row for each image; ``None``: there is none.
        names: of the columns.
        key: columns that both have.

    Raises:
        BcadvError: no such column, or two rows of ``more`` about one image.
    """
    lacking = [name for name in names if name not in table.columns]
    if more is None or not lacking:
        return table.read(names)
    table.require(key)
    more.require([*key, *lacking])
    own = table.read([name for name in names if name not in lacking])
    other = more.read(list(dict.fromkeys(chain(key, lacking))))
    at: dict[tuple[str, ...], int] = {}
    for i, one in enumerate(zip(*(other.cells[name] for name in key), strict=True)):
        if one in at:
            raise more.wrong(
                f"names '{shown('/'.join(one))}' in row {other.numbers[at[one]]} and in row "
                f"{other.numbers[i]}",
                "it needs one row for each image",
            )
        at[one] = i
    rows = [at.get(one) for one in zip(*(own.cells[name] for name in key), strict=True)]
    found = sum(row is not None for row in rows)
    if not found:
        raise more.wrong(
            f"names none of the images of {table.path.name}",
            f"the column {named(list(key))} has to name them alike in both",
        )
    if found < len(rows):
        table.notes.append(
            f"{more.path.name} says nothing about {len(rows) - found} of {len(rows)} rows of "
            f"{table.path.name}."
        )
    cells = dict(own.cells)
    for name in lacking:
        column = other.cells[name]
        cells[name] = ["" if row is None else column[row] for row in rows]
    return Sheet(cells, own.numbers)


def whole(cells: Sequence[str]) -> list[str]:
    """Whole numbers without ``.0``, which a column gains where a cell is blank; else as it is."""
    kinds = set(cells) - {""}
    if not all(_NUMBER.fullmatch(cell) for cell in kinds):
        return list(cells)
    plain = {cell: cell.partition(".")[0] for cell in kinds} | {"": ""}
    return [plain[cell] for cell in cells]


def measured(cells: Collection[str]) -> str | None:
    """A number with a fraction, if a column holds nothing but numbers; else ``None``."""
    if not all(_MEASURE.fullmatch(cell) for cell in cells):
        return None
    return next((cell for cell in cells if not _NUMBER.fullmatch(cell)), None)


def unrounded(table: Table, column: str, sheet: Sheet) -> None:
    """Refuses names that a spreadsheet took for large numbers and rounded.

    Raises:
        BcadvError: two things may go by one name then.
    """
    for cell, number in zip(sheet.cells[column], sheet.numbers, strict=True):
        if _ROUNDED.fullmatch(cell):
            raise table.wrong(
                f"has '{cell}' in column '{shown(column)}', row {number}",
                "a spreadsheet rounded what was a name; take the original table",
            )
