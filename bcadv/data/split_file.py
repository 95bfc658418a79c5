"""A split written down: which image stood where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bcadv.data.records import PARTS, Record
from bcadv.data.splits import Split, checked
from bcadv.errors import BcadvError
from bcadv.files import write_atomically

COLUMNS = ("image_id", "path", "label", "patient", "slide", "subtype", "magnification", "split")

_UNUSED = "unused"


def to_csv(records: Sequence[Record], split: Split, path: Path) -> None:
    """Writes a row per record with the columns `COLUMNS`, all at once or not at all.

    Unknown values are empty; a record in no part has the split ``unused``.

    Raises:
        BcadvError: the file cannot be written.
    """
    part_of = {i: part for part, members in split.by_part().items() for i in members}
    table = pd.DataFrame(
        [
            (
                r.image_id,
                r.path,
                r.label,
                r.patient,
                r.slide,
                r.subtype,
                None if r.magnification is None else str(r.magnification),
                part_of.get(i, _UNUSED),
            )
            for i, r in enumerate(records)
        ],
        columns=pd.Index(COLUMNS),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, table.to_csv(index=False, lineterminator="\n"))
    except OSError as error:
        raise BcadvError(
            f"cannot write the split to {path} ({error}): choose another folder"
        ) from error


def from_csv(records: Sequence[Record], path: Path) -> Split:
    """Reads a split that `to_csv` wrote, for the same images, in whatever order.

    Images are matched by ``image_id``, so the file is good on any machine.

    Raises:
        BcadvError: the file cannot be read, or names other images, labels or parts.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise BcadvError(f"cannot read the split {path}: {error}") from None
    missing = [column for column in ("image_id", "label", "split") if column not in table]
    if missing:
        raise BcadvError(f"the split {path} has no column '{missing[0]}'")
    rows = {
        image_id: (label, part)
        for image_id, label, part in zip(
            table["image_id"], table["label"], table["split"], strict=True
        )
    }
    if len(rows) != len(table):
        raise BcadvError(f"the split {path} names {len(table) - len(rows)} image(s) twice")
    known = {record.image_id for record in records}
    for strangers, problem in (
        ([i for i in rows if i not in known], "names {n} image(s) that data.root does not hold"),
        ([r.image_id for r in records if r.image_id not in rows], "lacks {n} of the images"),
    ):
        if strangers:
            raise BcadvError(
                f"the split {path} {problem.format(n=len(strangers))}, the first is "
                f"{strangers[0]}: it belongs to another selection of images"
            )
    placed: dict[str, list[int]] = {part: [] for part in (*PARTS, _UNUSED)}
    for i, record in enumerate(records):
        label, part = rows[record.image_id]
        if label != record.label or part not in placed:
            raise BcadvError(
                f"the split {path} says '{label}' in part '{part}' of {record.image_id}, whose "
                f"class is '{record.label}'; parts are {', '.join(placed)}"
            )
        placed[part].append(i)
    return checked(records, placed["train"], placed["val"], placed["test"])
