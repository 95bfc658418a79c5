"""The split of a job, written down."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bcadv.data.records import Record
from bcadv.data.split_file import COLUMNS, from_csv, to_csv
from bcadv.data.splits import Split, limit, paper
from bcadv.errors import BcadvError
from tests.data.test_splits import breakhis, cohort, names_of, record

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


def test_a_csv_brings_the_split_back_in_any_order(tmp_path: Path) -> None:
    names = ["SOB_B_A-14-22549AB-100-001.png", "SOB_M_DC-14-2523-100-001.png"]
    numbered = [n.replace("001", f"{i:03d}") for n in names for i in range(1, 31)]
    records = [*breakhis(numbered), record("NA", "benign")]
    split = limit(records, paper(records, seed=3), {"train": {"benign": 5}}, seed=0)
    path = tmp_path / "new" / "split.csv"
    to_csv(records, split, path)
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert list(path.parent.iterdir()) == [path]
    assert from_csv(records, path) == split
    back = records[::-1]
    assert names_of(back, from_csv(back, path)) == names_of(records, split)


def test_a_csv_of_other_images_is_refused(tmp_path: Path) -> None:
    records = cohort(a=[9], b=[9])
    path = tmp_path / "split.csv"
    to_csv(records, paper(records, seed=0), path)
    with pytest.raises(BcadvError, match=r"names 1 image.*b0_8"):
        from_csv(records[:-1], path)
    with pytest.raises(BcadvError, match=r"lacks 1 of.*more"):
        from_csv([*records, record("more", "a")], path)
    relabelled = [record(records[0].image_id, "b"), *records[1:]]
    with pytest.raises(BcadvError, match="a0_0"):
        from_csv(relabelled, path)
    text = path.read_text()
    path.write_text(text.replace(",val\n", ",holdout\n"))
    with pytest.raises(BcadvError, match="holdout"):
        from_csv(records, path)
    path.write_text(text + text.splitlines()[-1] + "\n")
    with pytest.raises(BcadvError, match="twice"):
        from_csv(records, path)
    path.write_text("a,b\n")
    with pytest.raises(BcadvError, match="no column"):
        from_csv(records, path)
    with pytest.raises(BcadvError, match="cannot read"):
        from_csv(records, tmp_path / "none.csv")
