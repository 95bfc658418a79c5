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


def written(path: Path, *rows: str, header: str = "image_id,split") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


OTHERS = [record(f"{label}/x{i}", label, f"p{label}{i}") for label in "ab" for i in range(4)]


def test_somebody_elses_table_is_read_with_its_own_words(tmp_path: Path) -> None:
    rows = [f" {r.image_id}.png , Training" for r in OTHERS]
    for i, part in ((0, "Validation"), (1, "testing"), (4, "dev"), (5, "test_set"), (7, "Unused")):
        rows[i] = f"{OTHERS[i].image_id},{part}"
    path = written(tmp_path / "s.csv", *(row.strip() for row in rows))
    path.write_text("\ufeff" + path.read_text().replace(" ,", ","))  # as Excel writes it
    split = from_csv(OTHERS, path)
    assert split == Split(train=(2, 3, 6), val=(0, 4), test=(1, 5))


def test_without_validation_one_is_drawn_by_patient(tmp_path: Path) -> None:
    parts = ["train", "train", "train", "test"] * 2
    rows = [f"{r.image_id},{part}" for r, part in zip(OTHERS, parts, strict=True)]
    split = from_csv(OTHERS, written(tmp_path / "s.csv", *rows), seed=3)
    assert split.test == (3, 7)
    assert len(split.val) == 2
    assert {*split.train, *split.val} == {0, 1, 2, 4, 5, 6}


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("image_id,split", "a/x0,held out", "row 2, says 'a' in part 'held out'"),
        ("image_id,split", "c/x9,train", "1 image.*c/x9"),
        ("image_id;split", "a/x0;train", "no column 'image_id'.*separated by commas"),
        ("image_id,split,split", "a/x0,train,test", "several columns 'split'"),
        ("image_id,part", "a/x0,train", "no column 'split', in its first row: image_id, part"),
        ("image_id,split", "x0.png,train", "several images are called 'x0.png'"),
    ],
)
def test_a_table_that_is_no_split_is_answered(
    tmp_path: Path, header: str, row: str, said: str
) -> None:
    twice = [*OTHERS, record("b/deep/x0", "b")]
    twice = [Record(Path(r.image_id + ".png"), r.image_id, r.label) for r in twice]
    path = written(tmp_path / "s.csv", row, header=header)
    with pytest.raises(BcadvError, match=said):
        from_csv(twice, path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'image_id,split\n"a', b"\n\n"])
def test_bytes_that_are_no_table_are_answered(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with pytest.raises(BcadvError, match=r"the split .*s\.csv"):
        from_csv(OTHERS, path)
