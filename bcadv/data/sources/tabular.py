"""The images that a table speaks of, as its settings say."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from bcadv.data.records import NO_FINDING, Record, Selection
from bcadv.data.sources import columns
from bcadv.data.sources.columns import Read, Reading
from bcadv.data.sources.disease import note_on_order, positive_classes
from bcadv.data.sources.folder import compile_groups, patient_in
from bcadv.data.sources.layout import named
from bcadv.data.sources.naming import Marks, apart, known, on_findings, renamed
from bcadv.data.sources.rows import agreed, connected, constant, listed_parts, parts_of
from bcadv.data.sources.sheet import Sheet, Table, chained, unrounded, whole
from bcadv.data.sources.tree import Template, Tree, located
from bcadv.errors import BcadvError
from bcadv.text import listed, printable, shown

if TYPE_CHECKING:
    from bcadv.data.sources.table import TableData


class Finder:
    """Finds the images that settings speak of; each step is a method."""

    def __init__(self, settings: TableData) -> None:
        assert settings.root is not None
        assert settings.table is not None
        assert settings.path is not None
        self.settings, self.root = settings, settings.root
        self.table = Table(settings.table, "data.table")
        more = settings.metadata
        self.more = None if more is None else Table(more, "data.metadata")
        columns_there = (*self.table.columns, *(self.more.columns if self.more else ()))
        self.template = Template(settings.path, columns_there)
        self.unused: Counter[str] = Counter()
        self.notes: list[str] = []
        self.sheet = self._sheet()
        self.rows = self._where()

    def _sheet(self) -> Sheet:
        s = self.settings
        labels = [s.label] if s.label is not None else s.labels or ()
        others = (s.patient, s.group, s.part, s.rater, *(s.where or ()))
        names = (*self.template.names, *labels, *(name for name in others if name is not None))
        sheet = chained(self.table, self.more, dict.fromkeys(names), self.template.names)
        for name in (*self.template.names, s.patient, s.group):
            if name is not None:
                unrounded(self.table, name, sheet)
        return sheet

    def _where(self) -> list[int]:
        """The rows that data.where leaves, as places in the sheet."""
        kept = list(range(len(self.sheet.numbers)))
        for column, values in (self.settings.where or {}).items():
            if values is None:
                continue
            cells = whole(self.sheet.cells[column])
            wanted = {*values, *whole(values)}
            there = Counter(cells)
            for value in values:
                if value not in there and whole([value])[0] not in there:
                    raise BcadvError(
                        f"data.where asks for '{shown(value)}' in column '{shown(column)}' of "
                        f"{self.table.path}, where no row has it: it has "
                        f"{named([cell for cell, _ in there.most_common()], 20)}"
                    )
            before = len(kept)
            kept = [i for i in kept if cells[i] in wanted]
            self._leave_out(f"of other {shown(column)} (data.where)", before - len(kept))
        if not kept:
            raise self.table.wrong("has no row that fits all of data.where", "ask for other values")
        return kept

    def _leave_out(self, why: str, count: int, what: str = "row") -> None:
        if count:
            self.unused[f"{what}{'' if count == 1 else 's'} {why}"] += count

    def find(self) -> Selection:
        """The images.

        Raises:
            BcadvError: whatever is wrong with the table, the files or the options.
        """
        readings, classes = self._readings()
        images, readings = self._images(readings)
        s = self.settings
        numbers = [self.sheet.numbers[i] for i in self.rows]
        raters = None if s.rater is None else [self.sheet.cells[s.rater][i] for i in self.rows]
        together = agreed(self.table, images, readings, numbers, agree=s.agree, raters=raters)
        self._say_several(images, together.several, together.disputed)
        self._leave_out("without a majority (data.agree)", together.tied, "image")
        labels = self._labels(together.readings, classes)
        images = {image: images[image] for image in labels}
        if not images:
            raise self.table.wrong(f"has no usable row{self._why()}", "look at the options of data")
        patients = self._patients(images, numbers)
        parts = self._parts(images, numbers)
        records = [
            self._record(image, labels[image], patients[image], parts.get(image))
            for image in images
            if not parts or image in parts
        ]
        used = sum(len(rows) for image, rows in images.items() if not parts or image in parts)
        records.sort(key=lambda record: record.image_id)
        return self._selection(records, classes, used)

    def _readings(self) -> tuple[list[Reading], tuple[str, ...] | None]:
        """What each row says; and the findings, if there are several."""
        s, class_map = self.settings, self.settings.class_map or {}
        if s.label is None:
            return self._flags(s.labels or (), class_map)
        if not s.finds_several:
            read = columns.classes(
                self.table, self.sheet, self.rows, s.label, class_map=class_map, blank=s.blank
            )
            self._say_unused(read)
            return read.rows, None
        read = columns.lists(
            self.table,
            self.sheet,
            self.rows,
            s.label,
            separator=s.separator,
            nothing=s.nothing,
            unusable=s.unusable or (),
            blank=s.blank,
        )
        there = {name for r in read.rows if isinstance(r, Marks) for name in r.shown}
        for name in s.labels or ():
            if name not in there:
                raise self.table.wrong(
                    f"never names '{shown(name)}' in column '{shown(s.label)}', as data.labels "
                    "does",
                    f"it names {named(sorted(there), 20)}",
                )
        return self._findings(read, s.labels or sorted(there))

    def _flags(
        self, labels: Sequence[str], class_map: Mapping[str, str | None]
    ) -> tuple[list[Reading], tuple[str, ...] | None]:
        """The same, of columns of zeros and ones."""
        s = self.settings
        marks = columns.flags(
            self.table, self.sheet, self.rows, labels, uncertain=s.uncertain, blank=s.blank
        )
        kept = {class_map.get(label, label) for label in labels} - {None}
        hot = None
        if len(kept) > 1 or s.one_hot:
            hot = columns.one_hot(self.table, self.sheet, self.rows, marks, s.one_hot)
        if hot is None:
            return self._findings(Read(list(marks), Counter(), []), labels)
        known(class_map, labels, "data.labels")
        self._leave_out("of which the class is unknown", hot.count(None))
        made: list[Reading] = [None if r is None else class_map.get(r, r) for r in hot]
        self._leave_out(
            "of classes that data.class_map leaves out", made.count(None) - hot.count(None)
        )
        return made, None

    def _findings(self, read: Read, labels: Sequence[str]) -> tuple[list[Reading], tuple[str, ...]]:
        class_map = self.settings.class_map or {}
        known(class_map, labels, "the findings")
        names, rename = renamed(class_map, labels)
        apart(names)
        self._say_unused(read)
        self.notes += read.notes
        made = [rename(r) if isinstance(r, Marks) else r for r in read.rows]
        pairs = zip(read.rows, made, strict=True)
        lost = sum(
            isinstance(r, Marks) and bool(r.shown) and not m.shown
            for r, m in pairs
            if isinstance(m, Marks)
        )
        if lost and len(names) > 1:
            self.notes.append(
                f"{lost} rows show other findings than these alone and count as showing none."
            )
        return made, names

    def _say_unused(self, read: Read) -> None:
        for why, count in read.unused.items():
            self._leave_out(why, count)

    def _images(self, readings: list[Reading]) -> tuple[dict[str, list[int]], list[Reading]]:
        """Rows by the file they are about; rows whose file is missing are dropped on the way."""
        s = self.settings
        tree = Tree(self.root)
        paths = list(self.template.fill(self.sheet.cells))
        numbered = [(paths[i], self.sheet.numbers[i]) for i in self.rows]
        files = located(self.table, tree, self.template, numbered, skip=s.missing == "skip")
        images: dict[str, list[int]] = {}
        rows: list[int] = []
        kept: list[Reading] = []
        for i, file, reading in zip(self.rows, files, readings, strict=True):
            if file is not None:
                images.setdefault(file, []).append(len(rows))
                rows.append(i)
                kept.append(reading)
        self._leave_out("whose file is missing (data.missing=skip)", len(files) - len(rows))
        if tree.in_other_capitals:
            self.notes.append(
                f"{tree.in_other_capitals} files are called as in the table in other capitals."
            )
        self.rows = rows
        return images, kept

    def _say_several(self, images: Mapping[str, Sequence[int]], several: int, odd: int) -> None:
        if not several:
            return
        more = sum(len(rows) for rows in images.values()) - len(images)
        said = f"; {odd} say different things, which data.agree={self.settings.agree} settles"
        self.notes.append(
            f"{several} images have several rows ({more} rows more than images) and count once"
            f"{said if odd else ''}."
        )

    def _labels(
        self, readings: Mapping[str, Reading], classes: tuple[str, ...] | None
    ) -> dict[str, str | Marks]:
        """A class or findings for each image that has them."""
        if classes is None or len(classes) > 1:
            return {image: reading for image, reading in readings.items() if reading is not None}
        if not classes:
            raise BcadvError("data.class_map leaves no finding: keep one at least")
        kept: dict[str, str | Marks] = {}
        unknown = 0
        for image, reading in readings.items():
            if isinstance(reading, Marks):
                if classes[0] in reading.unknown:
                    unknown += 1
                    continue
                kept[image] = classes[0] if classes[0] in reading.shown else f"no {classes[0]}"
        self._leave_out(f"without an answer about '{shown(classes[0])}'", unknown, "image")
        return kept

    def _patients(
        self, images: Mapping[str, Sequence[int]], numbers: Sequence[int]
    ) -> Mapping[str, str | None]:
        s = self.settings
        pattern = compile_groups(s.group_regex)
        patients: dict[str, str | None]
        if s.patient is not None:
            cells = self._cells(s.patient)
            named_ones = constant(self.table, images, cells, numbers, s.patient)
            patients = {image: cell or None for image, cell in named_ones.items()}
        else:
            patients = {image: _searched(pattern, image) for image in images}
        nobody = all(one is None for one in patients.values())
        if pattern is not None and nobody:
            raise BcadvError(
                f"data.group_regex={s.group_regex} matches none of the {len(images)} paths, for "
                f"instance '{shown(next(iter(images)))}': correct it, or set it to null"
            )
        if s.group is not None:
            cells = self._cells(s.group)
            patients, joined = connected(
                patients, constant(self.table, images, cells, numbers, s.group)
            )
            if joined:
                self.notes.append(
                    f"{joined} patients share a {shown(s.group)} with another and are kept "
                    "together with it."
                )
            if nobody:
                self.notes.append(
                    f"Images of one {shown(s.group)} count as one patient's, for the patient is "
                    "unknown."
                )
        unknown = sum(one is None for one in patients.values())
        if s.patient is not None and len({*patients.values()} - {None}) == len(images):
            self.notes.append(
                f"Every image has a patient of its own in column '{shown(s.patient)}': if it names "
                "the image and not the person, patients are unknown."
            )
        if unknown:
            self.notes.append(f"The patient is unknown for {unknown} of {len(images)} images.")
        return patients

    def _cells(self, column: str) -> list[str]:
        """A column of names, of the rows that are used."""
        cells = self.sheet.cells[column]
        return whole(
            ["" if columns.flag(c) == "blank" else c for c in (cells[i] for i in self.rows)]
        )

    def _parts(
        self, images: Mapping[str, Sequence[int]], numbers: Sequence[int]
    ) -> Mapping[str, str]:
        s = self.settings
        if s.split != "parts" and (s.part or s.lists):
            self.notes.append(f"The parts of the table are not used: data.split={s.split}.")
        if s.part is not None:
            cells = constant(self.table, images, self._cells(s.part), numbers, s.part)
            return parts_of(self.table, cells, s.part)
        if s.lists is None:
            return {}
        paths = list(self.template.fill(self.sheet.cells))
        aliases = {
            image: {image, posixpath.basename(image), paths[self.rows[rows[0]]]}
            for image, rows in images.items()
        }
        parts, notes = listed_parts(s.lists, {i: sorted(names) for i, names in aliases.items()})
        self.notes += notes
        self._leave_out("in none of data.lists", len(images) - len(parts), "image")
        return parts

    def _record(
        self, image: str, label: str | Marks, patient: str | None, part: str | None
    ) -> Record:
        shows = None if isinstance(label, str) else tuple(sorted(label.shown))
        return Record(
            path=self.root / image,
            image_id=posixpath.splitext(image)[0],
            label=label if isinstance(label, str) else "|".join(shows or (NO_FINDING,)),
            patient=patient,
            part=part,
            findings=shows,
            unknown=() if isinstance(label, str) else tuple(sorted(label.unknown)),
        )

    def _selection(
        self, records: list[Record], findings: tuple[str, ...] | None, used: int
    ) -> Selection:
        for one, other in pairwise(records):
            if one.image_id == other.image_id:
                raise BcadvError(
                    f"{printable(str(one.path))} and {printable(str(other.path))} differ in their "
                    "ending alone, so one name would stand for two images: leave one out"
                )
        several = findings is not None and len(findings) > 1
        found = Counter(name for r in records for name in (r.findings or ()))
        if not several:
            found = Counter(record.label for record in records)
        classes = tuple(sorted(found))
        if findings is not None and not several:
            classes = tuple(name for name in (f"no {findings[0]}", findings[0]) if found[name])
        apart(classes)
        if len(classes) < 2:
            has = listed([f"{n} of '{shown(name)}'" for name, n in found.items()]) or "none"
            raise self.table.wrong(
                f"gives images of fewer than two {'findings' if several else 'classes'} ({has})"
                f"{self._why()}",
                f"choose one finding, as data.labels=[{shown(classes[0])}]"
                if several and classes
                else "a classifier needs two",
            )
        s = self.settings
        notes = [
            *self.table.notes,
            *(self.more.notes if self.more else ()),
            self._used(used),
            *self.notes,
        ]
        order = s.positive is None and findings is None
        if several:
            every = tuple(range(len(classes)))
            own = s.positive is None or {*s.positive} >= {*classes}
            disease = every if own else positive_classes(classes, s.positive)
            notes += on_findings(records, findings or (), classes)
        else:
            disease = positive_classes(classes, s.positive)
            notes += note_on_order(classes, disease) if order else ()
        return Selection(
            records=tuple(records),
            classes=classes,
            positive=disease,
            positive_by="user" if s.positive is not None else "order" if order else "source",
            found={name: found[name] for name in classes},
            notes=tuple(notes),
            kind="multilabel" if several else "multiclass",
        )

    def _why(self) -> str:
        """Why rows are not used, to end a sentence with."""
        said = [f"{count} {why}" for why, count in self.unused.items()]
        return f"; left out: {listed(said)}" if said else ""

    def _used(self, used: int) -> str:
        count = len(self.sheet.numbers)
        return f"{used} of {count} rows of {self.table.path.name} are used{self._why()}."


def _searched(pattern: re.Pattern[str] | None, image: str) -> str | None:
    if pattern is None:
        return None
    return patient_in(pattern, image if "/" in pattern.pattern else posixpath.basename(image))
