"""A table of labels beside a folder of images, as most data sets with a name are published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bcadv.config import DataConfig
from bcadv.config import Part as PartName
from bcadv.data.records import Selection
from bcadv.data.sources.columns import Policy
from bcadv.data.sources.folder import Names, compile_groups
from bcadv.data.sources.layout import named
from bcadv.data.sources.rows import Agree
from bcadv.data.sources.sheet import Table
from bcadv.data.sources.tree import is_file
from bcadv.errors import BcadvError
from bcadv.section import Name, as_list_or_none


def _cell(value: object) -> object:
    """YAML reads `1`, `1.0` and `true` as what they are; a table has text."""
    return str(value) if isinstance(value, bool | int | float) else value


Cell = Annotated[str, BeforeValidator(_cell)]
Cells = Annotated[tuple[Cell, ...] | None, BeforeValidator(as_list_or_none)]
_POLICY = "Give ignore, zero or one, or {column: ignore, ...}."


class TableData(DataConfig):
    """What a table says about the files below a folder."""

    source: str = "table"
    table: Path | None = Field(default=None, description="Give a CSV, TSV or Parquet file.")
    """The table of the images, packed with gzip or zip or not."""
    metadata: Path | None = Field(default=None, description="Give a CSV, TSV or Parquet file.")
    """Another table with a row for each image, for columns that the first one lacks."""
    path: Name | None = Field(
        default=None, description="Give a column, or a template as in 'data.path=\"{id}.png\"'."
    )
    """The column of the path below data.root, or a template with columns in braces. Files of which
    it gives the name alone may lie in any folder."""
    label: Name | None = Field(default=None, description="Give the name of a column.")
    """The column that names the class of an image, or its findings."""
    labels: Names = Field(default=None, description="Give a list of columns, or of findings.")
    """Columns of zeros and ones; with data.label, those of its findings that count. One gives two
    classes, several give several labels per image."""
    one_hot: bool | None = Field(default=None, description="Give true or false.")
    """Whether each row has one 1 in the columns of data.labels, which is its class."""
    separator: str | None = Field(
        default=None, description="Give what separates findings, as '|', or list."
    )
    """What separates the findings in a cell of data.label; the word list reads cells that are
    lists of Python or JSON."""
    nothing: Name | None = Field(default=None, description="Give the word for no finding.")
    """The word for no finding in data.label, which makes the others findings."""
    unusable: Names = Field(default=None, description="Give words of the column data.label.")
    """Words in data.label that make an image useless: its rows are left out."""
    uncertain: Policy | dict[Name, Policy] | None = Field(default=None, description=_POLICY)
    """What -1 in data.labels means: nobody knows (ignore), 0 or 1; null: it is asked."""
    blank: Policy | dict[Name, Policy] | None = Field(default=None, description=_POLICY)
    """The same for a blank cell."""
    class_map: dict[Name, Name | None] | None = Field(
        default=None, description="Give {name in the table: class}, with null to leave it out."
    )
    """Other names of classes or findings, to rename or to merge them; null leaves one out."""
    positive: Names = Field(default=None, description="Give class names.")
    """Classes that count as the disease; null: the finding, or the second of two classes, unless
    it sounds healthy."""
    where: dict[Name, Cells] | None = Field(
        default=None, description="Give {column: [value, ...]}."
    )
    """Rows that are used: those with one of these values in each column; null for a column: all."""
    patient: Name | None = Field(default=None, description="Give the name of a column.")
    """The column of the patient."""
    group: Name | None = Field(default=None, description="Give the name of a column.")
    """The column of what else must stay together, as a lesion."""
    group_regex: str | None = Field(
        default=None, description="Give a regular expression with one group."
    )
    """Finds the patient in a file's name, or in its path if it has a slash: its one group, or the
    group named patient; null: unknown."""
    part: Name | None = Field(default=None, description="Give the name of a column.")
    """The column of the part, for data.split=parts."""
    lists: dict[PartName, Path] | None = Field(
        default=None, description="Give {train: FILE, val: FILE, test: FILE}."
    )
    """Files that list the images of a part, for data.split=parts."""
    agree: Agree | None = Field(default=None, description="Give any or majority.")
    """What counts where rows of one image say different things: what any says, or most; null: that
    is refused."""
    rater: Name | None = Field(default=None, description="Give the name of a column.")
    """The column of who wrote a row, for data.agree=majority; null: each row has its own."""
    missing: Literal["raise", "skip"] = Field(default="raise", description="Give raise or skip.")
    """What a row whose file is missing does: it ends the job, or is left out and counted."""

    def check(self) -> None:
        """Missing places, and options that do not go together."""
        if self.root is None:
            raise BcadvError(
                f"data={self.source} needs to know where the images lie: add data.root=FOLDER."
            )
        if not self.is_reachable():
            raise BcadvError(f"data.root={self.root} is not a folder: give one that exists.")
        if self.table is None:
            raise BcadvError("data=table needs the table: add data.table=FILE (.csv, .tsv, ...).")
        self._check_files(self.root)
        if self.path is None:
            raise BcadvError(
                "data=table needs to know which file a row is about: add data.path=COLUMN, or a "
                f"template as in 'data.path=\"{{id}}.png\"'. {self._has()}"
            )
        if self.label is None and self.labels is None:
            raise BcadvError(
                "data=table needs to know what an image shows: add data.label=COLUMN (a class, or "
                "a list of findings with data.separator) or data.labels=[COLUMN, ...] (zeros and "
                f"ones). {self._has()}"
            )
        if self.split == "parts" and self.part is None and self.lists is None:
            raise BcadvError(
                "data.split=parts needs to know the part of an image: add data.part=COLUMN or "
                "data.lists={train: FILE, test: FILE}, or take data.split=patient"
            )
        compile_groups(self.group_regex)
        for one, value, other, why in self._contradictions():
            if value:
                raise BcadvError(f"data.{one} does not go with {other}: {why}")

    def _check_files(self, root: Path) -> None:
        places = {"table": self.table, "metadata": self.metadata}
        places |= {f"lists.{part}": path for part, path in (self.lists or {}).items()}
        for option, path in places.items():
            if path is not None and not is_file(path):
                below = next((p for p in (root / path, root / path.name) if is_file(p)), None)
                hint = f"is data.{option}={below} meant?" if below else "give one that exists."
                raise BcadvError(f"data.{option}={path} is no file: {hint}")

    def _has(self) -> str:
        assert self.table is not None
        named_ones = [name for name in Table(self.table, "data.table").columns if name]
        return f"{self.table} has the columns {named(named_ones, 40)}"

    def _contradictions(self) -> tuple[tuple[str, object, str, str], ...]:
        findings = self.finds_several
        flags = self.label is None
        return (
            ("separator", self.separator and flags, "data.labels alone", "it needs data.label"),
            ("nothing", self.nothing and flags, "data.labels alone", "it needs data.label"),
            ("unusable", self.unusable and flags, "data.labels alone", "it needs data.label"),
            ("uncertain", self.uncertain and not flags, "data.label", "-1 is one of its names"),
            (
                "blank",
                self.blank and not flags and not findings and self.blank != "ignore",
                "a class in data.label",
                "ignore leaves blank rows out",
            ),
            ("one_hot", self.one_hot is not None and not flags, "data.label", "leave one out"),
            ("unusable", self.unusable and not findings, "a class in data.label", _BY_MAP),
            ("agree=any", self.agree == "any" and not findings, "classes", "take majority"),
            (
                "rater",
                self.rater and self.agree != "majority",
                "other than data.agree=majority",
                "add that",
            ),
            ("patient", self.patient and self.group_regex, "data.group_regex", "leave one out"),
            ("part", self.part and self.lists, "data.lists", "leave one out"),
        )

    @property
    def finds_several(self) -> bool:
        """Whether rows say findings, of which an image may show any number."""
        if self.label is None:
            return not self.one_hot
        return any(v is not None for v in (self.separator, self.nothing, self.labels))

    def find(self) -> Selection:
        """The images of the table's rows."""
        self.check()
        from bcadv.data.sources.tabular import Finder

        return Finder(self).find()


_BY_MAP = "data.class_map={WORD: null} leaves a class out"
