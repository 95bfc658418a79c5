"""Any data set laid out as a folder per class, with or without train and test parts on top."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from pydantic import Field

from bcadv.config import DataConfig
from bcadv.data.records import Record, Selection, image_files
from bcadv.errors import BcadvError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})

_PART_FOLDERS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


class FolderData(DataConfig):
    """What the names of files and folders say."""

    source: str = "folder"
    group_regex: str | None = Field(
        default=None, description="Give a regular expression with one group."
    )
    """Finds the patient in a file's name: its one group, or the group named patient; null: unknown.
    """
    positive: tuple[str, ...] | None = Field(default=None, description="Give class names.")
    """Classes that count as the disease; null: the second of two."""

    def check(self) -> None:
        """A missing folder, and a regular expression that is none."""
        if self.root is None:
            raise BcadvError(
                "data=folder needs to know where the images lie: add data.root=FOLDER, "
                "a folder per class (optionally below train/, val/ and test/)."
            )
        if not self.is_reachable():
            raise BcadvError(f"data.root={self.root} is not a folder: give one that exists.")
        compile_groups(self.group_regex)

    def find(self) -> Selection:
        """The images of each class folder."""
        if self.root is None:
            raise BcadvError("data=folder needs data.root=FOLDER.")
        return find(self.root, group_regex=self.group_regex, positive=self.positive)


def find(
    root: Path,
    *,
    group_regex: str | None = None,
    positive: Sequence[str] | None = None,
) -> Selection:
    r"""Finds the images below ``root/CLASS`` or ``root/<train|val|valid|test>/CLASS``.

    Example of a ``group_regex``, for the chest X-ray pneumonia set (Kermany et al. 2018), whose
    pneumonia files name a person and whose normal files name a study:
    ``^(person\d+|(?:NORMAL2-)?IM-\d+)``.

    Args:
        root: the folder.
        group_regex: searched in each file name; its one group, or its group named ``patient``, is
            the patient. A file it does not match has no known patient. ``None``: none is known.
        positive: names of the positive classes. ``None``: of two classes the second in
            alphabetical order, of more none.

    Returns:
        The selection, ordered by ``image_id``, the path below the root without its ending.

    Raises:
        BcadvError: no such folder, fewer than two classes, an unusable or never matching
            ``group_regex``, an unknown positive class, or two files with one ``image_id``.
    """
    if not root.is_dir():
        raise BcadvError(f"data.root={root} is not a folder: set it to the folder of the images")
    pattern = compile_groups(group_regex)
    files = sorted(image_files(root, SUFFIXES))
    with_parts = any(
        _PART_FOLDERS.get(path.relative_to(root).parts[0].lower())
        for path in files
        if len(path.relative_to(root).parts) > 2
    )
    # The class folder stands this many steps below the root.
    depth = 1 if with_parts else 0
    records: list[Record] = []
    outside: list[Path] = []
    for path in files:
        steps = path.relative_to(root).parts
        part = _PART_FOLDERS.get(steps[0].lower()) if with_parts else None
        if len(steps) <= depth + 1 or (with_parts and part is None):
            outside.append(path)
            continue
        records.append(
            Record(
                path=path,
                image_id=path.relative_to(root).with_suffix("").as_posix(),
                label=steps[depth],
                patient=_patient(pattern, path.name),
                part=part,
            )
        )
    records.sort(key=lambda record: (record.image_id, record.path))
    for one, other in pairwise(records):
        if one.image_id == other.image_id:
            raise BcadvError(
                f"{one.path} and {other.path} differ in their ending alone, so one name would "
                "stand for two images: rename or remove one"
            )

    found = Counter(record.label for record in records)
    classes = tuple(sorted(found))
    if len(classes) < 2:
        raise BcadvError(
            f"data.root={root} must hold a folder of images for each of at least two classes, on "
            f"top or below train and test; found {_inventory(found)}"
        )
    unknown = sum(record.patient is None for record in records)
    if pattern is not None and unknown == len(records):
        raise BcadvError(
            f"data.group_regex={group_regex} matches none of the {len(records)} file names, for "
            f"instance '{records[0].path.name}': {_mended(pattern, records)}"
        )
    notes = []
    if outside:
        notes.append(
            f"{len(outside)} image(s) lie in no class folder and are left out, for instance "
            f"{outside[0]}."
        )
    if unknown:
        notes.append(f"The patient is unknown for {unknown} of {len(records)} images.")
    chosen = _positive(classes, positive)
    if positive is None:
        notes += _note_on_order(classes, chosen)
    return Selection(
        records=tuple(records),
        classes=classes,
        positive=chosen,
        positive_by="order" if positive is None else "user",
        found={label: found[label] for label in classes},
        notes=tuple(notes),
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


def _mended(pattern: re.Pattern[str], records: Sequence[Record]) -> str:
    """What to do about a pattern that matches no file."""
    # Who comes from a language with escapes in its texts doubles every backslash.
    single = pattern.pattern.replace("\\\\", "\\")
    try:
        found = any(_patient(re.compile(single), record.path.name) for record in records)
    except (re.error, IndexError):
        found = False
    if found:
        return f"with each backslash once, {single}, it would match"
    return "correct it, or set it to null"


def _patient(pattern: re.Pattern[str] | None, name: str) -> str | None:
    match = None if pattern is None else pattern.search(name)
    if match is None:
        return None
    return match["patient"] if "patient" in match.re.groupindex else match[1]


_HEALTHY = re.compile(
    r"^(normal|healthy|negative|benign|control|clear|clean|none|no|non|un|not)"
    r"|(normal|healthy|negative|benign|control)s?$",
    re.IGNORECASE,
)
"""Names that say that a class is not the disease."""


def _note_on_order(classes: tuple[str, ...], positive: tuple[int, ...]) -> tuple[str, ...]:
    """What must be said where nobody chose which class counts as the disease."""
    if not positive:
        return (
            "No class counts as the disease, so there is no sensitivity and no specificity: name "
            f"the classes that do, of {', '.join(classes)}, with data.positive=[...].",
        )
    chosen = classes[positive[0]]
    said = (
        f"'{chosen}' counts as the disease only because its name comes last in the alphabet; "
        "sensitivity, specificity and missed cases are about it. Set data.positive=[...] to one of "
        f"{', '.join(classes)}."
    )
    if _HEALTHY.search(chosen):
        said = f"'{chosen}' sounds healthy. {said}"
    return (said,)


def _positive(classes: tuple[str, ...], positive: Sequence[str] | None) -> tuple[int, ...]:
    if positive is None:
        return (1,) if len(classes) == 2 else ()
    for name in positive:
        if name not in classes:
            raise BcadvError(
                f"data.positive names '{name}', which is none of the classes {', '.join(classes)}"
            )
    return tuple(sorted({classes.index(name) for name in positive}))


def _inventory(found: Counter[str]) -> str:
    return ", ".join(f"'{label}' with {n}" for label, n in found.items()) or "none"
