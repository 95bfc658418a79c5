"""A split written down: which image stood where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bcadv.data.deal import carve
from bcadv.data.records import PARTS, Record
from bcadv.data.sources import words
from bcadv.data.splits import Split, checked
from bcadv.errors import BcadvError
from bcadv.files import write_atomically
from bcadv.text import first_line, shown

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


def from_csv(records: Sequence[Record], path: Path, *, seed: int = 0) -> Split:
    """Reads a split: one that `to_csv` wrote, or somebody else's, with rows in any order.

    The columns ``image_id`` and ``split`` are needed. Images are named by their ``image_id``, or by
    the name of their file, with its ending or without, where only one file is called so; thus the
    table is good on any machine. Parts are called as folders of parts are (``train``,
    ``Training``, ``dev``, ``test_set``), or ``unused``. Where there is a column ``label``, it has
    to say what the data set says. Without a validation part, one is drawn from training by
    patient.

    Args:
        records: the images.
        path: of the table.
        seed: of the draw of a validation part.

    Raises:
        BcadvError: the file cannot be read, or names other images, labels or parts.
    """
    table = _read(path)
    known = _called(records)
    placed: dict[str, list[int]] = {part: [] for part in (*PARTS, _UNUSED)}
    rows: dict[int, int] = {}
    strangers: list[str] = []
    labels = table["label"] if "label" in table else [None] * len(table)
    for row, (name, label, said) in enumerate(
        zip(table["image_id"], labels, table["split"], strict=True), start=2
    ):
        i = known.get(name)
        if i is None:
            strangers.append(name)
            continue
        if i == _SEVERAL:
            raise BcadvError(
                f"the split {path}, row {row}: several images are called '{shown(name)}'; name "
                "them by their image_id, which bcadv data shows"
            )
        if i in rows:
            raise BcadvError(
                f"the split {path} names the image {shown(name)} twice, in rows {rows[i]} and {row}"
            )
        rows[i] = row
        part = _UNUSED if said.strip().lower() == _UNUSED else words.part_of(said.strip())
        record = records[i]
        if part is None or label not in (None, record.label):
            raise BcadvError(
                f"the split {path}, row {row}, says '{shown(label or record.label)}' in part "
                f"'{shown(said)}' of {shown(name)}, whose class is '{record.label}'; parts are "
                f"{', '.join(placed)}"
            )
        placed[part].append(i)
    lacking = [r.image_id for i, r in enumerate(records) if i not in rows]
    for names, problem in (
        (strangers, "names {n} image(s) that data.root does not hold"),
        (lacking, f"lacks {{n}} of the images (a row with the part {_UNUSED} leaves one out)"),
    ):
        if names:
            raise BcadvError(
                f"the split {path} {problem.format(n=len(names))}, the first is "
                f"{shown(names[0])}: it belongs to another selection of images"
            )
    train, val = placed["train"], placed["val"]
    if train and not val:
        train, val = carve(records, train, seed)
    return checked(records, train, val, placed["test"])


_SEVERAL = -1


def _called(records: Sequence[Record]) -> dict[str, int]:
    """What images may be called -> their number, or `_SEVERAL`; an ``image_id`` is never that."""
    known: dict[str, int] = {}
    for i, record in enumerate(records):
        for name in {record.path.name, record.path.stem, record.image_id + record.path.suffix}:
            known[name] = _SEVERAL if name in known else i
    return known | {record.image_id: i for i, record in enumerate(records)}


def _read(path: Path) -> pd.DataFrame:
    """The table, as text.

    Raises:
        BcadvError: it cannot be read, or is no such table.
    """
    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", header=None
        )
    except (OSError, ValueError) as error:
        raise BcadvError(f"cannot read the split {path}: {first_line(str(error))}") from None
    header = [name.strip() for name in table.iloc[0]]
    for column in ("image_id", "split"):
        if header.count(column) != 1:
            names = ", ".join(map(shown, header[:8]))
            many = "no column" if column not in header else "several columns"
            raise BcadvError(
                f"the split {path} has {many} '{column}', in its first row: {names}. It needs "
                "the columns image_id and split, separated by commas"
            )
    body = table.iloc[1:]
    body.columns = pd.Index(header)
    return body
