"""BreakHis: finds the images of the official tree (or a flat folder) and selects among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from bcadv.config import DataConfig
from bcadv.data.records import (
    BENIGN_SUBTYPES,
    MAGNIFICATIONS,
    MALIGNANT_SUBTYPES,
    SUBTYPES,
    BreakhisName,
    Record,
    Selection,
    image_files,
    parse_name,
)
from bcadv.errors import BcadvError

PAPER_SUBTYPES = (*BENIGN_SUBTYPES, "DC")
"""The paper's 644 benign and 903 malignant images are, at 100X, exactly these subtypes."""

OFFICIAL_COUNTS: Mapping[int, Mapping[str, int]] = MappingProxyType(
    {
        40: {"A": 114, "F": 253, "PT": 109, "TA": 149, "DC": 864, "LC": 156, "MC": 205, "PC": 145},
        100: {"A": 113, "F": 260, "PT": 121, "TA": 150, "DC": 903, "LC": 170, "MC": 222, "PC": 142},
        200: {"A": 111, "F": 264, "PT": 108, "TA": 140, "DC": 896, "LC": 163, "MC": 196, "PC": 135},
        400: {"A": 106, "F": 237, "PT": 115, "TA": 130, "DC": 788, "LC": 137, "MC": 169, "PC": 138},
    }
)
"""Images of the complete data set per magnification and subtype, counted in the official lists."""

Target = Literal["malignancy", "subtype"]


class BreakHisData(DataConfig):
    """What to take of BreakHis."""

    source: str = "breakhis"
    magnification: Literal[40, 100, 200, 400] | None = Field(
        default=100, description="Give 40, 100, 200, 400, or null for all."
    )
    """Which images by their magnification."""
    subtypes: Literal["paper", "all"] | tuple[str, ...] = Field(
        default="paper", description="Give paper, all, or a list such as [A,F,DC]."
    )
    """Which tumours: the paper's are all benign ones and ductal carcinoma."""
    target: Target = Field(default="malignancy", description="Give malignancy or subtype.")
    """What the classes are: benign and malignant, or the subtypes."""

    def check(self) -> None:
        """Missing images and unknown subtypes."""
        if not self.is_reachable():
            from bcadv.data.sources.download import missing_data_message

            raise BcadvError(missing_data_message(self.root or Path("data/breakhis")))
        chosen_subtypes(self.subtypes)

    def find(self) -> Selection:
        """The images of the official tree, or of any folder that holds such files."""
        if self.root is None:
            raise BcadvError("data=breakhis needs data.root=FOLDER.")
        return find(
            self.root,
            magnification=self.magnification,
            subtypes=self.subtypes,
            target=self.target,
        )


def find(
    root: Path,
    *,
    magnification: int | None = 100,
    subtypes: Literal["paper", "all"] | Sequence[str] = "paper",
    target: Target = "malignancy",
) -> Selection:
    """Finds the ``SOB_*.png`` files anywhere below a folder and selects among them.

    Args:
        root: folder of the unpacked data set, or any folder above or inside it.
        magnification: 40, 100, 200 or 400; ``None`` takes all of them.
        subtypes: ``paper`` (all benign ones and ductal carcinoma: Li & Liu 2023), ``all``, or a
            list of subtypes.
        target: what the classes are. ``malignancy``: benign and malignant; ``subtype``: the
            subtypes present, in the order of `bcadv.data.records.SUBTYPES`.

    Returns:
        The selection, ordered by file name. Where its counts differ from the complete data set's,
        a note says so with both numbers.

    Raises:
        BcadvError: nothing there, a name that is none of the data set's, one name twice, fewer
            than two classes, or an argument out of range.
    """
    wanted = chosen_subtypes(subtypes)
    if magnification is not None and magnification not in MAGNIFICATIONS:
        raise BcadvError(
            f"data.magnification={magnification} does not exist in BreakHis: choose one of "
            f"{', '.join(map(str, MAGNIFICATIONS))}, or null for all"
        )
    if target not in ("malignancy", "subtype"):
        raise BcadvError(f"data.target={target} is unknown: choose malignancy or subtype")

    names = _names(root)
    magnifications = MAGNIFICATIONS if magnification is None else (magnification,)
    chosen = [
        (path, name)
        for path, name in names
        if name.subtype in wanted and name.magnification in magnifications
    ]
    if not chosen:
        present = Counter((n.magnification, n.subtype) for _, n in names)
        inventory = ", ".join(f"{n} of {s} at {m}X" for (m, s), n in sorted(present.items()))
        raise BcadvError(
            f"none of the {len(names)} BreakHis images below {root} is at "
            f"{_times(magnifications)} with subtype {', '.join(wanted)}: there are {inventory}; "
            "change data.magnification or data.subtypes"
        )
    records = tuple(
        Record(
            path=path,
            image_id=name.image_id,
            label=_label(name.subtype, target),
            patient=name.patient,
            slide=name.slide,
            subtype=name.subtype,
            magnification=name.magnification,
        )
        for path, name in sorted(chosen, key=lambda pair: (pair[1].image_id, pair[0]))
    )
    _refuse_twins(records)

    found = Counter(record.label for record in records)
    classes = tuple(label for label in _order(target) if found[label])
    if len(classes) < 2:
        raise BcadvError(
            f"the selection from {root} holds only the class '{classes[0]}' "
            f"({found[classes[0]]} images): widen data.subtypes so that there are two classes"
        )
    expected: Counter[str] = Counter()
    for m in magnifications:
        for subtype in wanted:
            expected[_label(subtype, target)] += OFFICIAL_COUNTS[m][subtype]
    malignant = {_label(subtype, target) for subtype in MALIGNANT_SUBTYPES}
    return Selection(
        records=records,
        classes=classes,
        positive=tuple(i for i, label in enumerate(classes) if label in malignant),
        found={label: found[label] for label in classes},
        expected={label: expected[label] for label in _order(target) if expected[label]},
        notes=_notes(records, found, expected, wanted, magnifications),
        left_out=_left_out(names, {record.path for record in records}),
    )


def _left_out(
    names: Sequence[tuple[Path, BreakhisName]], chosen: Set[Path]
) -> tuple[tuple[str, int, str], ...]:
    """Images of the data set that options did not choose."""
    others = sorted(path for path, _ in names if path not in chosen)
    why = "of another subtype or magnification than was chosen"
    return ((why, len(others), str(others[0])),) if others else ()


def chosen_subtypes(subtypes: str | Sequence[str]) -> tuple[str, ...]:
    """The subtypes that ``data.subtypes`` stands for.

    Raises:
        BcadvError: one of them does not exist, or there is none.
    """
    if isinstance(subtypes, str):
        if subtypes not in ("paper", "all"):
            raise BcadvError(
                f"data.subtypes={subtypes} is unknown: choose paper, all, or a list of "
                f"{', '.join(SUBTYPES)}"
            )
        return PAPER_SUBTYPES if subtypes == "paper" else SUBTYPES
    unknown = [subtype for subtype in subtypes if subtype not in SUBTYPES]
    if unknown or not subtypes:
        raise BcadvError(
            f"data.subtypes={list(subtypes)} must be a list of {', '.join(SUBTYPES)}"
            + (f"; '{unknown[0]}' is none of them" if unknown else ", not an empty one")
        )
    return tuple(subtype for subtype in SUBTYPES if subtype in subtypes)


def _label(subtype: str, target: Target) -> str:
    if target == "subtype":
        return subtype
    return "malignant" if subtype in MALIGNANT_SUBTYPES else "benign"


def _order(target: Target) -> tuple[str, ...]:
    return SUBTYPES if target == "subtype" else ("benign", "malignant")


def _times(magnifications: Iterable[int]) -> str:
    return ", ".join(f"{m}X" for m in magnifications)


def _names(root: Path) -> list[tuple[Path, BreakhisName]]:
    names: list[tuple[Path, BreakhisName]] = []
    for path in image_files(root, {".png"}):
        if path.name.startswith("SOB_"):
            try:
                names.append((path, parse_name(f"{path.stem}.png")))
            except BcadvError as error:
                raise BcadvError(f"{error} (in {path.parent}; remove or rename it)") from None
    if not names:
        from bcadv.data.sources.download import missing_data_message

        raise BcadvError(missing_data_message(root))
    return names


def _refuse_twins(records: Sequence[Record]) -> None:
    for one, other in pairwise(records):
        if one.image_id == other.image_id:
            raise BcadvError(
                f"the image {one.image_id} lies below data.root twice: {one.path} and "
                f"{other.path}; keep one copy, or point data.root at one of the two trees"
            )


def _notes(
    records: Sequence[Record],
    found: Mapping[str, int],
    expected: Mapping[str, int],
    wanted: Sequence[str],
    magnifications: Sequence[int],
) -> tuple[str, ...]:
    cells = Counter((r.magnification, r.subtype) for r in records)
    fewer: list[str] = []
    more: list[str] = []
    for m in magnifications:
        for subtype in wanted:
            n, official = cells[m, subtype], OFFICIAL_COUNTS[m][subtype]
            if n != official:
                (fewer if n < official else more).append(f"{subtype} {m}X {n} of {official}")
    notes = []
    if fewer:
        per_class = ", ".join(f"{label} {found[label]} of {n}" for label, n in expected.items())
        notes.append(
            f"This is NOT the complete BreakHis selection: {per_class} images "
            f"({', '.join(fewer)}). Numbers from it cannot be held against the paper's."
        )
    if more:
        notes.append(
            "There are MORE images than the official data set has, so some are not part of it: "
            f"{', '.join(more)}."
        )
    return tuple(notes)
