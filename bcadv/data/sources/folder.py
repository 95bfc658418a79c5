"""Any data set laid out in folders: their names say the class, perhaps the part and the patient."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from bcadv.config import DataConfig
from bcadv.data.records import Record, Selection
from bcadv.data.sources import words
from bcadv.data.sources.choose import (
    LeftOut,
    chosen,
    folders,
    suffixes,
    without_copies,
    without_masks,
)
from bcadv.data.sources.disease import note_on_order, positive_classes
from bcadv.data.sources.headers import with_patients
from bcadv.data.sources.layout import Layout, guess, named
from bcadv.data.sources.naming import apart
from bcadv.errors import BcadvError
from bcadv.section import Name, as_list_or_none
from bcadv.text import shown

Names = Annotated[tuple[Name, ...] | None, BeforeValidator(as_list_or_none)]


class FolderData(DataConfig):
    """What the names of files and folders say."""

    source: str = "folder"
    layout: str | None = Field(
        default=None, description="Give what each folder is, as in part/class or patient/class."
    )
    """What each folder below data.root is, of part, class, patient and *; null: told by names."""
    include: Names = Field(default=None, description="Give patterns of paths, as in */images/*.")
    """Patterns of paths below data.root, one of which every file has to match; null: all do."""
    exclude: Names = Field(default=None, description="Give patterns of paths, as in */masks/*.")
    """Patterns of paths below data.root of what is left out."""
    class_map: dict[Name, Name | None] | None = Field(
        default=None, description="Give {folder: class}, with null for one to leave out."
    )
    """Other names of classes, to rename or to merge them; null as a name leaves a class out."""
    group_regex: str | None = Field(
        default=None, description="Give a regular expression with one group."
    )
    """Finds the patient in a file's name, or in its path if it has a slash: its one group, or the
    group named patient; null: unknown."""
    positive: Names = Field(default=None, description="Give class names.")
    """Classes that count as the disease; null: the second of two, unless it sounds healthy."""

    def check(self) -> None:
        """A missing folder, a regular expression and a layout that are none."""
        if self.root is None:
            raise BcadvError(
                "data=folder needs to know where the images lie: add data.root=FOLDER, "
                "a folder per class (optionally below train/, val/ and test/)."
            )
        if not self.is_reachable():
            raise BcadvError(f"data.root={self.root} is not a folder: give one that exists.")
        compile_groups(self.group_regex)
        if self.layout is not None:
            Layout.of(self.layout)

    def find(self) -> Selection:
        """The images of each class folder."""
        if self.root is None:
            raise BcadvError("data=folder needs data.root=FOLDER.")
        return find(
            self.root,
            layout=self.layout,
            include=self.include,
            exclude=self.exclude or (),
            class_map=self.class_map,
            group_regex=self.group_regex,
            positive=self.positive,
        )


def find(
    root: Path,
    *,
    layout: str | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    class_map: Mapping[str, str | None] | None = None,
    group_regex: str | None = None,
    positive: Sequence[str] | None = None,
) -> Selection:
    r"""Finds the images below a folder, and takes their class, part and patient from its folders.

    Without a ``layout`` names decide: folders called like parts (``Training``, ``test_set``) stand
    above the classes, and where names contradict the reading nothing is guessed.

    Example of a ``group_regex``, for the chest X-ray pneumonia set (Kermany et al. 2018), whose
    pneumonia files name a person and whose normal files name a study:
    ``^(person\d+|(?:NORMAL2-)?IM-\d+)``.

    Args:
        root: the folder.
        layout: what each folder below it is; see `Layout`.
        include: patterns of paths below the root, of which a file has to match one.
        exclude: patterns of paths of files that are left out.
        class_map: class folder -> name of the class, or ``None`` to leave it out.
        group_regex: searched in each file name, or in its path below the root if it has a slash;
            its one group, or its group named ``patient``, is the patient. A file it does not match
            has no known patient. ``None``: none is known.
        positive: names of the positive classes. ``None``: of two classes the second in
            alphabetical order, of more none.

    Returns:
        The selection, ordered by ``image_id``, the path below the root without its ending.

    Raises:
        BcadvError: no such folder, fewer than two classes, names that contradict every reading, a
            disease that nobody named and that sounds healthy, an option that cannot be used or
            fits nothing, or two files with one ``image_id``.
    """
    if not root.is_dir():
        raise BcadvError(f"data.root={root} is not a folder: set it to the folder of the images")
    pattern = compile_groups(group_regex)
    told = None if layout is None else Layout.of(layout)
    if told is not None and pattern is not None and "patient" in told.steps:
        raise BcadvError(
            f"data.layout={layout} and data.group_regex={group_regex} both name the patient: leave "
            "one of them out"
        )
    out = LeftOut()
    files = chosen(root, include, exclude, out)
    if told is None:
        files = without_masks(files, root, out)
        files = without_copies(files, root, out)
    read = told or guess((folders(path, root) for path in files), str(root))
    _check_map(class_map, files, root, read)
    records = list(_records(files, root, read, told, out, class_map or {}, pattern))
    records.sort(key=lambda record: (record.image_id, record.path))
    for one, other in pairwise(records):
        if one.image_id == other.image_id:
            raise BcadvError(
                f"{one.path} and {other.path} differ in their ending alone, so one name would "
                "stand for two images: rename or remove one"
            )

    found = Counter(record.label for record in records)
    classes = tuple(sorted(found))
    if told is not None and files and all(read.read(folders(p, root)) is None for p in files):
        raise BcadvError(
            f"data.layout={told} fits none of the {len(files)} images below {root}, for instance "
            f"{files[0]}: it needs {len(told.steps)} folder(s) between the root and a file"
        )
    apart(classes)
    if len(classes) < 2:
        raise BcadvError(
            f"data.root={root} must hold a folder of images for each of at least two classes, on "
            f"top or below train and test; found {_inventory(found)}{out.clause()}"
        )
    if told is None:
        _same_in_parts(records, root)
    by_header: list[str] = []
    if pattern is None and "patient" not in read.steps:
        records, by_header = with_patients(records)
    unknown = sum(record.patient is None for record in records)
    if pattern is not None and unknown == len(records):
        raise BcadvError(
            f"data.group_regex={group_regex} matches none of the {len(records)} file names, for "
            f"instance '{_searched(pattern, records[0].path, root)}': "
            f"{_mended(pattern, records, root)}"
        )
    notes = [*out.notes(), *by_header]
    if unknown:
        notes.append(f"The patient is unknown for {unknown} of {len(records)} images.")
    disease = positive_classes(classes, positive)
    if positive is None:
        notes += note_on_order(classes, disease)
    return Selection(
        records=tuple(records),
        classes=classes,
        positive=disease,
        positive_by="order" if positive is None else "user",
        found={label: found[label] for label in classes},
        notes=tuple(notes),
        layout=str(read),
        left_out=out.counts(),
    )


def _records(
    files: Iterable[Path],
    root: Path,
    read: Layout,
    told: Layout | None,
    out: LeftOut,
    class_map: Mapping[str, str | None],
    pattern: re.Pattern[str] | None,
) -> Iterator[Record]:
    """What the path of each file says; a layout that was told has to fit every file."""
    for path in files:
        said = read.read(folders(path, root))
        part = None
        if said is not None and "part" in said:
            part = _part(said["part"], path, told)
        if said is None or ("part" in said and part is None):
            out.add("in no class folder", path)
            continue
        label = class_map.get(said["class"], said["class"])
        if label is None:
            out.add("of a class that data.class_map leaves out", path)
            continue
        yield Record(
            path=path,
            image_id=_image_id(path, root),
            label=label,
            patient=said.get("patient") or _patient(pattern, path, root),
            part=part,
        )


def _image_id(path: Path, root: Path) -> str:
    """The path below the root without its ending, where that is one."""
    inner = path.relative_to(root)
    return (inner.with_suffix("") if path.suffix.lower() in suffixes() else inner).as_posix()


def _part(folder: str, path: Path, told: Layout | None) -> str | None:
    """The part that a folder is called after."""
    part = words.part_of(folder)
    if part is None and told is not None:
        raise BcadvError(
            f"data.layout={told} has the part where {path} has '{shown(folder)}', which is called "
            "like none (train, val or test): rename the folder, leave it out with data.exclude, or "
            "write * for part"
        )
    return part


def _check_map(
    class_map: Mapping[str, str | None] | None, files: Iterable[Path], root: Path, read: Layout
) -> None:
    said = (read.read(folders(path, root)) for path in files)
    known = {each["class"] for each in said if each}
    for name in class_map or ():
        if name not in known:
            raise BcadvError(
                f"data.class_map names '{name}', which is none of the folders "
                f"{named(sorted(known))}"
            )


def _same_in_parts(records: Sequence[Record], root: Path) -> None:
    """Asks where a part lacks a class.

    Raises:
        BcadvError: one does.
    """
    parts: dict[str, set[str]] = {}
    for record in records:
        if record.part is not None:
            parts.setdefault(record.part, set()).add(record.label)
    classes = set().union(*parts.values())
    lacking = {part: sorted(classes - labels) for part, labels in parts.items()}
    said = [f"{part} has no {named(labels)}" for part, labels in lacking.items() if labels]
    if len(parts) > 1 and said:
        raise BcadvError(
            f"data.root={root}: not every part has every class: {'; '.join(said)}. Rename or merge "
            "them with data.class_map={OLD: NEW}, leave them out with data.class_map={OLD: null}, "
            "or say data.layout=part/class if it is meant so"
        )


def compile_groups(group_regex: str | None) -> re.Pattern[str] | None:
    """The pattern that finds the patient in a file's name.

    Raises:
        BcadvError: it is no regular expression, or has not exactly one group for the patient.
    """
    if group_regex is None:
        return None
    try:
        pattern = re.compile(group_regex)
    except re.error as error:
        raise BcadvError(
            f"data.group_regex={group_regex} is not a regular expression: {error}"
        ) from None
    if "patient" not in pattern.groupindex and pattern.groups != 1:
        raise BcadvError(
            f"data.group_regex={group_regex} has {pattern.groups} groups: it needs exactly one, "
            "the patient, or one named (?P<patient>...)"
        )
    return pattern


def _mended(pattern: re.Pattern[str], records: Sequence[Record], root: Path) -> str:
    """What to do about a pattern that matches no file."""
    # Who comes from a language with escapes in its texts doubles every backslash.
    single = pattern.pattern.replace("\\\\", "\\")
    try:
        found = any(_patient(re.compile(single), record.path, root) for record in records)
    except (re.error, IndexError):
        found = False
    if found:
        return f"with each backslash once, {single}, it would match"
    return "correct it, or set it to null"


def _searched(pattern: re.Pattern[str], path: Path, root: Path) -> str:
    """What a pattern is searched in: a file's name, or its path if the pattern has a slash."""
    return path.relative_to(root).as_posix() if "/" in pattern.pattern else path.name


def _patient(pattern: re.Pattern[str] | None, path: Path, root: Path) -> str | None:
    return None if pattern is None else patient_in(pattern, _searched(pattern, path, root))


def patient_in(pattern: re.Pattern[str], text: str) -> str | None:
    """The patient that a pattern of `compile_groups` finds in a name or a path."""
    match = pattern.search(text)
    if match is None:
        return None
    return match["patient"] if "patient" in pattern.groupindex else match[1]


def _inventory(found: Counter[str]) -> str:
    return ", ".join(f"'{label}' with {n}" for label, n in found.items()) or "none"
