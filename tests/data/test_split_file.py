"""The split of a job, written down."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bcadv.data.records import Record
from bcadv.data.split_file import COLUMNS, to_csv
from bcadv.data.splits import Split
from bcadv.errors import BcadvError

RECORDS = [
    Record(Path("a.png"), "a", "benign", "14-1", "14-1AB", "A", 100),
    Record(Path("b.png"), "NA", "malignant", None, None, "DC", None),
    Record(Path("c.png"), 'c,"', "benign"),
    Record(Path("d.png"), "d", "benign"),
]
SPLIT = Split(train=(1,), val=(3,), test=(0,))


def test_every_image_stands_there_with_its_part(tmp_path: Path) -> None:
    path = tmp_path / "new" / "split.csv"
    to_csv(RECORDS, SPLIT, path)
    assert list(path.parent.iterdir()) == [path]
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert tuple(table) == COLUMNS
    assert table.to_numpy().tolist() == [
        ["a", "a.png", "benign", "14-1", "14-1AB", "A", "100", "test"],
        ["NA", "b.png", "malignant", "", "", "DC", "", "train"],
        ['c,"', "c.png", "benign", "", "", "", "", "unused"],
        ["d", "d.png", "benign", "", "", "", "", "val"],
    ]


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BcadvError, match="cannot write the split"):
        to_csv(RECORDS, SPLIT, tmp_path / "file" / "split.csv")
