"""A split written down: which image stood where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bcadv.data.records import Record
from bcadv.data.splits import Split
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
