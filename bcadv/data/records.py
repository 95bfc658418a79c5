"""File name -> record: what a BreakHis file name says about an image, in pure Python."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bcadv.errors import BcadvError
from bcadv.text import is_utf8, printable

BENIGN_SUBTYPES = ("A", "F", "PT", "TA")
"""Adenosis, fibroadenoma, phyllodes tumour, tubular adenoma."""

MALIGNANT_SUBTYPES = ("DC", "LC", "MC", "PC")
"""Ductal, lobular, mucinous and papillary carcinoma."""

SUBTYPES = BENIGN_SUBTYPES + MALIGNANT_SUBTYPES
"""The order in which subtypes are numbered when they are the classes."""

MAGNIFICATIONS = (40, 100, 200, 400)

PARTS = ("train", "val", "test")
"""The names of the parts of a split, in the order in which they are listed everywhere."""

_PATTERN = re.compile(
    r"SOB_(?P<tumour>[BM])_(?P<subtype>[A-Z]+)-(?P<year>\d+)-(?P<number>\d+)(?P<letters>[A-Z]*)"
    r"-(?P<magnification>\d+)-(?P<sequence>\d+)(?:\.png)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Record:
    """One image of a data set.

    Attributes:
        path: where the file lies.
        image_id: unique name of the image inside its source (for BreakHis the file name without
            ending); the join key of every result file.
        label: name of the class the image belongs to under the chosen target.
        patient: key of the group that must not stand on both sides of a patient-level split
            (for BreakHis the case number without letters); ``None`` where unknown.
        slide: full slide id with letters, e.g. ``14-21998AB``; ``None`` where unknown.
        subtype: e.g. ``DC``; ``None`` where unknown.
        magnification: 40, 100, 200 or 400; ``None`` where unknown.
        part: ``train``, ``val`` or ``test`` where the source itself fixes it; else ``None``.
        frame: number of the image in a file that holds several, from 0; ``None``: the file is one.
        findings: what the image shows, where it may show several; ``None``: it has one class.
        unknown: findings of which nobody knows whether the image shows them.
    """

    path: Path
    image_id: str
    label: str
    patient: str | None = None
    slide: str | None = None
    subtype: str | None = None
    magnification: int | None = None
    part: str | None = None
    frame: int | None = None
    findings: tuple[str, ...] | None = None
    unknown: tuple[str, ...] = ()

    @property
    def strata(self) -> tuple[str, ...]:
        """What a split shares out evenly: the class, or each finding, or that there is none."""
        return (self.label,) if self.findings is None else self.findings or (NO_FINDING,)


NO_FINDING = "none"
"""What stands for an image that shows nothing, where it may show several findings."""


@dataclass(frozen=True)
class Selection:
    """The images chosen from a source.

    Attributes:
        records: one per image, ordered by ``image_id``.
        classes: class names; a class's number is its place here.
        positive: numbers of the classes that count as positive (disease); may be empty.
        found: number of images per class name.
        expected: number of images per class name in the complete data set; ``None`` where the
            source has no official counts.
        notes: what a reader of the results must know about this selection.
        positive_by: who chose the positive classes: the ``user``, the ``source`` whose meaning is
            known, or the mere ``order`` of the names.
        layout: what each folder below the root was taken for; ``None`` where no folder says it.
        kind: ``multiclass``: an image is of one class; ``multilabel``: the classes are findings,
            of which it may show any number.
        left_out: files below the root that are no record: why, how many, and one of them.
    """

    records: tuple[Record, ...]
    classes: tuple[str, ...]
    positive: tuple[int, ...]
    found: Mapping[str, int]
    expected: Mapping[str, int] | None = None
    notes: tuple[str, ...] = ()
    positive_by: Literal["user", "source", "order"] = "source"
    layout: str | None = None
    kind: Literal["multiclass", "multilabel"] = "multiclass"
    left_out: tuple[tuple[str, int, str], ...] = ()


@dataclass(frozen=True)
class BreakhisName:
    """What a BreakHis file name says.

    Attributes:
        image_id: the file name without ending.
        malignant: whether the tumour class is ``M``.
        subtype: one of `SUBTYPES`.
        year: two digits, e.g. ``14``.
        number: the case number, digits only, e.g. ``21998``.
        letters: the letters behind the case number; they tell slides of one case apart.
        magnification: one of `MAGNIFICATIONS`.
        sequence: number of the image within its slide and magnification.
    """

    image_id: str
    malignant: bool
    subtype: str
    year: str
    number: str
    letters: str
    magnification: int
    sequence: int

    @property
    def patient(self) -> str:
        """Year and case number without letters, e.g. ``14-21998``."""
        return f"{self.year}-{self.number}"

    @property
    def slide(self) -> str:
        """Full slide id, e.g. ``14-21998AB``."""
        return f"{self.patient}{self.letters}"


def parse_name(name: str) -> BreakhisName:
    """Reads a BreakHis file name, with or without its ``.png``.

    The form is ``SOB_<B|M>_<subtype>-<year>-<case number><letters>-<magnification>-<sequence>``
    (Spanhol et al. 2016, "A Dataset for Breast Cancer Histopathological Image Classification").

    Args:
        name: a file name without folder, e.g. ``SOB_M_DC-14-2523-100-001.png``.

    Raises:
        BcadvError: the name does not have that form; the message says which piece is wrong.
    """
    match = _PATTERN.fullmatch(name)
    if match is None:
        raise BcadvError(
            f"'{name}' is not a BreakHis file name: expected "
            "SOB_<B|M>_<subtype>-<year>-<case>[letters]-<magnification>-<sequence>.png, "
            "for instance SOB_M_DC-14-2523-100-001.png"
        )
    tumour, subtype = match["tumour"], match["subtype"]
    allowed = MALIGNANT_SUBTYPES if tumour == "M" else BENIGN_SUBTYPES
    if subtype not in allowed:
        raise BcadvError(
            f"'{name}' is not a BreakHis file name: subtype '{subtype}' is none of "
            f"{', '.join(allowed)}, the subtypes of class {tumour}"
        )
    magnification = int(match["magnification"])
    if magnification not in MAGNIFICATIONS:
        raise BcadvError(
            f"'{name}' is not a BreakHis file name: magnification {magnification} is none of "
            f"{', '.join(map(str, MAGNIFICATIONS))}"
        )
    return BreakhisName(
        image_id=name.removesuffix(".png"),
        malignant=tumour == "M",
        subtype=subtype,
        year=match["year"],
        number=match["number"],
        letters=match["letters"],
        magnification=magnification,
        sequence=int(match["sequence"]),
    )


def image_files(root: Path, suffixes: Collection[str] | None) -> Iterator[Path]:
    """Yields the image files anywhere below a folder, in no particular order.

    Links to folders are followed, each real folder once. Hidden files and folders and the
    ``__MACOSX`` folder are left out: macOS archives carry a ``._`` twin of every image.

    Args:
        root: the folder.
        suffixes: lower-case endings with their dot; compared without regard to case. ``None``:
            every file.

    Raises:
        BcadvError: a name that is not UTF-8, which no result file could hold, or something that
            is called like an image and is no file, such as a named pipe.
    """
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(s for s in subfolders if not s.startswith((".", "__MACOSX")))
        for name in names:
            if not name.startswith(".") and (
                suffixes is None or os.path.splitext(name)[1].lower() in suffixes  # noqa: PTH122
            ):
                yield _checked(os.path.join(folder, name))  # noqa: PTH118


def _checked(path: str) -> Path:
    if not is_utf8(path):
        raise BcadvError(
            f"the name of {printable(path)} is not UTF-8 (\\x.. are its bytes): rename the file or "
            "folder, for instance with convmv -f latin1 -t utf8"
        )
    # Reading a pipe would wait for ever. A dangling link is found out when it is read.
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise BcadvError(
            f"{printable(path)} is called like an image and is no file (a folder, a pipe or a "
            "device): remove or rename it"
        )
    return Path(path)
