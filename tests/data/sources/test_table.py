"""A table of labels beside a folder of images."""

from __future__ import annotations

import gzip
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from bcadv.data.records import Selection
from bcadv.data.sources.table import TableData
from bcadv.errors import BcadvError


def made(root: Path, text: str | bytes, *images: str, name: str = "labels.csv") -> Path:
    """A table, and empty files in place of images beside it."""
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
    for image in images:
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        (root / image).touch()
    return root / name


def settings(beside: Path, **options: Any) -> TableData:
    given = {"root": beside.parent, "table": beside, "path": "image", "split": "patient"} | options
    return TableData.model_validate(given)


def find(beside: Path, **options: Any) -> Selection:
    return settings(beside, **options).find()


def labels(chosen: Selection) -> dict[str, str]:
    return {record.image_id: record.label for record in chosen.records}


def noted(chosen: Selection) -> str:
    return " ".join(chosen.notes)


PLAIN = "image,dx,who\na.png,sick,p1\nb.png,well,p2\nc.png,sick,p1\n"
FLAGS = "image,A,B\na.png,1,0\nb.png,1,1\nc.png,0,0\n"
ABC = ("a.png", "b.png", "c.png")


def test_a_class_a_row(tmp_path: Path) -> None:
    chosen = find(made(tmp_path, PLAIN, *ABC), label="dx", patient="who", positive=["sick"])
    assert labels(chosen) == {"a": "sick", "b": "well", "c": "sick"}
    assert [record.patient for record in chosen.records] == ["p1", "p2", "p1"]
    assert [record.path for record in chosen.records] == [tmp_path / name for name in ABC]
    assert (chosen.classes, chosen.positive, chosen.kind) == (("sick", "well"), (0,), "multiclass")
    assert chosen.found == {"sick": 2, "well": 1}
    assert chosen.positive_by == "user"
    assert chosen.notes == ("3 of 3 rows of labels.csv are used.",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [(",", ";", "semicolon"), (",", "\t", "tab"), (",", "|", "vertical bar")],
)
def test_other_separators_are_found_and_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = PLAIN.replace(old, new).replace("who", '"who, or whose"')
    chosen = find(made(tmp_path, text, *ABC), label="dx", positive=["sick"])
    assert labels(chosen) == {"a": "sick", "b": "well", "c": "sick"}
    assert f"separated by a {said}" in noted(chosen)


def test_commas_in_a_header_that_is_separated_otherwise(tmp_path: Path) -> None:
    text = PLAIN.replace(",", ";").replace("who", "who, or, or whose, whoever")
    chosen = find(made(tmp_path, text, *ABC), label="dx", positive=["sick"])
    assert labels(chosen)["b"] == "well"


def test_a_table_may_be_packed_or_typed(tmp_path: Path) -> None:
    expected = {"a": "sick", "b": "well", "c": "sick"}
    marked = made(tmp_path, b"\xef\xbb\xbf" + PLAIN.encode(), *ABC)
    assert labels(find(marked, label="dx", positive=["sick"])) == expected
    zipped = tmp_path / "labels.csv.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("inside/labels.csv", PLAIN)
        archive.writestr("__MACOSX/._labels.csv", "x")
    unzipped = made(tmp_path, gzip.compress(PLAIN.encode(), mtime=0), name="labels.csv.gz")
    typed = tmp_path / "labels.parquet"
    frame = pd.DataFrame(
        {"image": ABC, "dx": ["sick", "well", "sick"], "grade": [1.0, None, 0.0], "flag": [1, 0, 1]}
    )
    frame.to_parquet(typed)
    for table in (zipped, unzipped, typed):
        assert labels(find(table, label="dx", positive=["sick"])) == expected
    graded = find(typed, label="grade", blank="ignore", positive=[1])
    assert labels(graded) == {"a": "1", "c": "0"}
    assert "1 row blank in 'grade' (data.blank=ignore)" in noted(graded)
    assert labels(find(typed, labels=["flag"])) == {"a": "flag", "b": "no flag", "c": "flag"}
    lists = tmp_path / "lists.parquet"
    pd.DataFrame({"image": ABC, "dx": [["x", "y"], ["x"], []]}).to_parquet(lists)
    several = find(lists, label="dx", separator="list", blank="zero")
    assert labels(several) == {"a": "x|y", "b": "x", "c": "none"}


def test_paths_by_template_and_by_name(tmp_path: Path) -> None:
    table = made(
        tmp_path,
        "id,folder,dx\n1,u,x\n2,v,y\n",
        "set/u/1.png",
        "set/v/2.png",
    )
    for path in ("set/{folder}/{id}.png", "{id}.png", ".\\set\\{folder}\\{id}.png"):
        chosen = find(table, path=path, label="dx", positive=["x"])
        assert labels(chosen) == {"set/u/1": "x", "set/v/2": "y"}
    whole = find(table, path=f"{tmp_path}/set/{{folder}}/{{id}}.png", label="dx", positive=["x"])
    assert labels(whole) == {"set/u/1": "x", "set/v/2": "y"}


def test_a_name_in_other_capitals_is_found_and_said(tmp_path: Path) -> None:
    chosen = find(made(tmp_path, PLAIN, "A.PNG", *ABC[1:]), label="dx", positive=["sick"])
    assert labels(chosen)["A"] == "sick"
    assert "1 files are called as in the table in other capitals" in noted(chosen)


def test_numbers_are_classes(tmp_path: Path) -> None:
    text = "image,grade,who\na.png,0.0,7.0\nb.png,4,\nc.png,1.0,8\n"
    chosen = find(made(tmp_path, text, *ABC), label="grade", patient="who", positive=[4])
    assert labels(chosen) == {"a": "0", "b": "4", "c": "1"}
    assert chosen.positive == (2,)
    assert [record.patient for record in chosen.records] == ["7", None, "8"]
    assert "The patient is unknown for 1 of 3 images." in chosen.notes


def test_one_column_of_zeros_and_ones_is_two_classes(tmp_path: Path) -> None:
    text = "image,Mass\na.png,1.0\nb.png,False\nc.png,yes\nd.png,-1\n"
    table = made(tmp_path, text, *ABC, "d.png")
    chosen = find(table, labels="Mass", uncertain="ignore")
    assert chosen.classes == ("no Mass", "Mass")
    assert chosen.positive == (1,)
    assert chosen.positive_by == "source"
    assert labels(chosen) == {"a": "Mass", "b": "no Mass", "c": "Mass"}
    assert all(record.findings is None for record in chosen.records)
    assert "3 of 4 rows" in noted(chosen)
    assert "1 image without an answer about 'Mass'" in noted(chosen)
    assert labels(find(table, labels="Mass", uncertain={"Mass": "one"}))["d"] == "Mass"
    assert labels(find(table, labels="Mass", uncertain="zero"))["d"] == "no Mass"


def test_several_columns_are_findings(tmp_path: Path) -> None:
    text = "image,A,B\na.png,1,0\nb.png,1,1\nc.png,0,0\nd.png,,-1\n"
    table = made(tmp_path, text, *ABC, "d.png")
    chosen = find(table, labels=["A", "B"], blank={"A": "zero"}, uncertain={"B": "ignore"})
    assert chosen.kind == "multilabel"
    assert chosen.classes == ("A", "B")
    assert chosen.found == {"A": 2, "B": 1}
    assert labels(chosen) == {"a": "A", "b": "A|B", "c": "none", "d": "none"}
    assert [record.findings for record in chosen.records] == [("A",), ("A", "B"), (), ()]
    assert [record.unknown for record in chosen.records] == [(), (), (), ("B",)]
    assert "Whether an image shows it is unknown 1 times for 'B'." in chosen.notes


def test_lists_of_findings(tmp_path: Path) -> None:
    text = "image,dx\na.png,A|B\nb.png,No Finding\nc.png, B \n"
    table = made(tmp_path, text, *ABC)
    chosen = find(table, label="dx", separator="|", nothing="No Finding")
    assert labels(chosen) == {"a": "A|B", "b": "none", "c": "B"}
    one = find(table, label="dx", separator="|", nothing="No Finding", labels=["A"])
    assert labels(one) == {"a": "A", "b": "no A", "c": "no A"}
    mapped = find(table, label="dx", separator="|", nothing="No Finding", class_map={"A": "B"})
    assert labels(mapped) == {"a": "B", "b": "no B", "c": "B"}


def test_lists_as_python_writes_them(tmp_path: Path) -> None:
    text = (
        "image,dx\na.png,\"['A', ' B']\"\nb.png,\"['normal', 'A']\"\n"
        "c.png,\"['exclude']\"\nd.png,['normal']\n"
    )
    table = made(tmp_path, text, *ABC, "d.png")
    chosen = find(table, label="dx", separator="list", nothing="normal", unusable=["exclude"])
    assert labels(chosen) == {"a": "A|B", "b": "A", "d": "none"}
    assert "1 rows of labels.csv name 'normal' beside findings" in noted(chosen)
    assert "1 row named 'exclude' (data.unusable)" in noted(chosen)


def test_one_of_several_columns(tmp_path: Path) -> None:
    text = "image,A,B,C\na.png,1.0,0.0,0\nb.png,0.0,1.0,0\nc.png,1,0,0\n"
    table = made(tmp_path, text, *ABC)
    chosen = find(table, labels=["A", "B", "C"], one_hot=True, positive=["B"])
    assert labels(chosen) == {"a": "A", "b": "B", "c": "A"}
    assert (chosen.classes, chosen.kind) == (("A", "B"), "multiclass")
    assert find(table, labels=["A", "B", "C"], one_hot=False).kind == "multilabel"
    merged = find(table, labels=["A", "B", "C"], one_hot=True, class_map={"A": "X", "B": "Y"})
    assert labels(merged) == {"a": "X", "b": "Y", "c": "X"}


def test_rows_are_chosen_by_value(tmp_path: Path) -> None:
    text = "image,dx,view,ok\na.png,x,PA,1.0\nb.png,y,AP,1.0\nc.png,y,L,1.0\nd.png,x,PA,\n"
    table = made(tmp_path, text, *ABC, "d.png")
    chosen = find(table, label="dx", where={"view": ["PA", "AP"], "ok": 1}, positive=["x"])
    assert labels(chosen) == {"a": "x", "b": "y"}
    assert "2 of 4 rows" in noted(chosen)
    assert "1 row of other view (data.where) and 1 row of other ok (data.where)" in noted(chosen)
    assert len(find(table, label="dx", where={"view": None}, positive=["x"]).records) == 4


def test_missing_files_may_be_skipped(tmp_path: Path) -> None:
    table = made(tmp_path, PLAIN, *ABC[:2])
    with pytest.raises(BcadvError, match=r"in 1 of 3 rows, as 'c.png' in row 4.*data.missing=skip"):
        find(table, label="dx")
    chosen = find(table, label="dx", missing="skip", positive=["sick"])
    assert list(labels(chosen)) == ["a", "b"]
    assert "1 row whose file is missing (data.missing=skip)" in noted(chosen)


def test_a_lesion_and_a_patient_stay_together(tmp_path: Path) -> None:
    rows = ["a,x,p1,l1", "b,y,p2,l1", "c,x,p2,", "d,y,,l9", "e,x,,l9", "f,y,,"]
    text = "image,dx,who,lesion\n" + "".join(f"{row}\n" for row in rows)
    table = made(tmp_path, text, *(f"{name}.png" for name in "abcdef"))
    options: dict[str, Any] = {"path": "{image}.png", "label": "dx", "positive": ["x"]}
    both = find(table, **options, patient="who", group="lesion")
    assert [record.patient for record in both.records] == ["p1", "p1", "p1", "l9", "l9", None]
    assert "2 patients share a lesion with another" in noted(both)
    lesions = find(table, **options, group="lesion")
    assert [record.patient for record in lesions.records] == ["l1", "l1", None, "l9", "l9", None]
    assert "Images of one lesion count as one patient's" in noted(lesions)


def test_a_patient_in_the_path(tmp_path: Path) -> None:
    text = "image,dx\nu/a.png,x\nv/b.png,y\n"
    table = made(tmp_path, text, "u/a.png", "v/b.png")
    chosen = find(table, label="dx", group_regex="^([^/]+)/", positive=["x"])
    assert [record.patient for record in chosen.records] == ["u", "v"]
    named = find(table, label="dx", group_regex="^(.)[.]", positive=["x"])
    assert [record.patient for record in named.records] == ["a", "b"]


def test_parts_by_column_and_by_lists(tmp_path: Path) -> None:
    text = "image,dx,set\na.png,x,Training\nb.png,y,valid\nc.png,x,TEST\n"
    table = made(tmp_path, text, *ABC)
    by_column = find(table, label="dx", part="set", positive=["x"])
    assert [record.part for record in by_column.records] == ["train", "val", "test"]
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("a.png\n\nother.png\n")
    test.write_text("b.png")
    by_list = find(table, label="dx", lists={"train": train, "test": test}, positive=["x"])
    assert {r.image_id: r.part for r in by_list.records} == {"a": "train", "b": "test"}
    assert "1 of 2 lines of train.txt are no image that is used" in noted(by_list)
    assert "2 of 3 rows" in noted(by_list)
    assert "1 image in none of data.lists" in noted(by_list)


def test_rows_of_one_image_that_say_the_same(tmp_path: Path) -> None:
    chosen = find(made(tmp_path, PLAIN + "a.png,sick,p1\n", *ABC), label="dx", positive=["sick"])
    assert chosen.found == {"sick": 2, "well": 1}
    assert "1 images have several rows (1 rows more than images) and count once" in noted(chosen)


RATED = "image,dx,by\n" + "".join(
    f"{image}.png,{dx},{by}\n"
    for image, by, dx in (
        *(("a", "1", "A"), ("a", "1", "B"), ("a", "2", "A"), ("a", "2", "B"), ("a", "3", "A")),
        *(("b", "1", "no"), ("b", "2", "no"), ("b", "3", "B"), ("b", "3", "B"), ("b", "3", "B")),
        *(("c", "1", "B"), ("c", "2", "no")),
    )
)


def test_raters_who_disagree(tmp_path: Path) -> None:
    table = made(tmp_path, RATED, *ABC)
    with pytest.raises(BcadvError, match=r"about 3 images in several rows, as about 'a.png' in"):
        find(table, label="dx", nothing="no")
    every = find(table, label="dx", nothing="no", agree="any")
    assert labels(every) == {"a": "A|B", "b": "B", "c": "B"}
    most = find(table, label="dx", nothing="no", agree="majority", rater="by")
    assert labels(most) == {"a": "A|B", "b": "none", "c": "none"}
    assert [record.unknown for record in most.records] == [(), (), ("B",)]


def test_classes_by_majority(tmp_path: Path) -> None:
    text = "image,dx\n" + "".join(
        f"{image}.png,{dx}\n"
        for image, seen in (("a", "xxy"), ("b", "y"), ("c", "xy"))
        for dx in seen
    )
    chosen = find(made(tmp_path, text, *ABC), label="dx", agree="majority", positive=["x"])
    assert labels(chosen) == {"a": "x", "b": "y"}
    assert "1 image without a majority (data.agree)" in noted(chosen)
    assert "4 of 6 rows" in noted(chosen)


def test_a_rater_who_says_two_things_decides_nothing(tmp_path: Path) -> None:
    text = "image,dx,by\na.png,x,1\na.png,y,1\nb.png,x,1\nc.png,y,2\n"
    table = made(tmp_path, text, *ABC)
    chosen = find(table, label="dx", agree="majority", rater="by", positive=["x"])
    assert labels(chosen) == {"b": "x", "c": "y"}


def test_names_that_no_file_can_have_are_missing_files(tmp_path: Path) -> None:
    text = f"image,dx\n{'a' * 5000}.png,x\nu/{'b' * 5000}.png,y\n"
    with pytest.raises(BcadvError, match="missing"):
        find(made(tmp_path, text, *ABC), label="dx")
    with pytest.raises(BcadvError, match="is no file"):
        find(made(tmp_path, PLAIN, *ABC), label="dx", metadata="x" * 5000)


def test_a_second_table_has_more_columns(tmp_path: Path) -> None:
    table = made(tmp_path, PLAIN, *ABC)
    more = made(tmp_path, "lesion,image\nl1,c.png\nl1,a.png\n", name="more.csv")
    chosen = find(table, label="dx", metadata=more, group="lesion", positive=["sick"])
    assert [record.patient for record in chosen.records] == ["l1", None, "l1"]
    assert "more.csv says nothing about 1 of 3 rows of labels.csv." in chosen.notes
    twice = made(tmp_path, "lesion,image\nl1,a.png\nl2,a.png\n", name="twice.csv")
    with pytest.raises(BcadvError, match=r"names 'a.png' in row 2 and in row 3"):
        find(table, label="dx", metadata=twice, group="lesion")
    other = made(tmp_path, "lesion,image\nl1,z.png\n", name="other.csv")
    with pytest.raises(BcadvError, match="names none of the images"):
        find(table, label="dx", metadata=other, group="lesion")


def test_blank_lines_do_not_shift_the_numbers_of_rows(tmp_path: Path) -> None:
    table = made(tmp_path, "image,A\n\na.png,1\n,\nb.png,7\n", *ABC)
    with pytest.raises(BcadvError, match="has '7' in column 'A', row 5"):
        find(table, labels="A")


def test_images_in_a_linked_folder_and_of_one_name(tmp_path: Path) -> None:
    table = made(tmp_path / "root", "image,dx\nlink/a.png,x\nb.png,y\n", "own/b.png")
    made(tmp_path / "away", "", "a.png")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "away")
    (tmp_path / "root" / "again").symlink_to(tmp_path / "root")
    assert labels(find(table, label="dx", positive=["x"])) == {"link/a": "x", "own/b": "y"}
    made(tmp_path / "root", "", "link/b.png", name="x.txt")
    with pytest.raises(BcadvError, match=r"own/b.png .*are called so: say with data.path"):
        find(table, label="dx", positive=["x"])


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("image,dx,dx\na.png,x,y\n", {"label": "dx"}, ["2 columns called 'dx'", "rename"]),
        (PLAIN, {"label": "Dx "}, ["no column 'Dx '", "did you mean 'dx'", "'who'"]),
        (PLAIN, {"label": "dx", "patient": "Whom"}, ["no column 'Whom'", "did you mean 'who'"]),
        ("", {"label": "dx"}, ["its first line"]),
        ("\n\n", {"label": "dx"}, ["in its first line"]),
        ("image,dx\n", {"label": "dx"}, ["a header and no rows"]),
        ("image,dx\n\n,\n", {"label": "dx"}, ["a header and no rows"]),
        ("image\na.png\n", {"label": "dx"}, ["no comma, semicolon, tab"]),
        ("a.png,1,x\nb.png,0,y\n", {"label": "dx"}, ["look like a row of data", "'a.png'"]),
        ("a.png,1,1\nb.png,0,y\n", {"label": "dx"}, ["2 columns called '1'", "no header"]),
        ("image,dx\na.png,x,y\n", {"label": "dx"}, ["3 cells in row 2", "2 columns"]),
        ("image,dx\na.png,x\nb.png\n", {"label": "dx"}, ["1 cells in row 3"]),
        ('image,dx\na.png,"x\nb.png,y\n', {"label": "dx"}, ["no table of text", "quotation"]),
        (PLAIN.encode("utf-16"), {"label": "dx"}, ["UTF-16", "UTF-8"]),
        (
            "image,dx\na.png,gr\xfcn\n".encode("latin1"),
            {"label": "dx"},
            ["not UTF-8", "0xfc", "iconv"],
        ),
        (b"\x00\x01,\x02\n", {"label": "dx"}, ["no table of text", "Parquet"]),
        (b"PAR1 and no more", {"label": "dx"}, ["cannot be read", "whole file"]),
        (
            gzip.compress(PLAIN.encode(), mtime=0)[:30],
            {"label": "dx"},
            ["cannot be read", "whole file"],
        ),
        (b"PK\x03\x04 and no more", {"label": "dx"}, ["cannot be read", "whole file"]),
        (
            "image,A\na.png,1\nb.png,2\n",
            {"labels": "A"},
            ["'2' in column 'A', row 3", "data.label"],
        ),
        ("image,A\na.png,1\nb.png,\xbd\n", {"labels": "A"}, ["row 3"]),
        ("image,A\na.png,1\nb.png,-1\n", {"labels": "A"}, ["cells that are -1: 1 in 'A'", "zero"]),
        ("image,A\na.png,1\nb.png,NaN\n", {"labels": "A"}, ["are blank: 1 in 'A'", "data.blank="]),
        ("image,dx\na.png,x\nb.png,\n", {"label": "dx"}, ["are blank: 1 in 'dx'", "ignore"]),
        ("image,dx\na.png,x\nb.png,nan\n", {"label": "dx"}, ["are blank: 1 in 'dx'"]),
        (FLAGS, {"labels": ["A", "B"], "uncertain": {"C": "one"}}, ["names 'C'", "'A' and 'B'"]),
        (FLAGS, {"labels": ["A", "B"], "one_hot": True}, ["1 in 'A' and 'B' in row 3", "2 of 3"]),
        (FLAGS.replace("1,1", "0,1").replace("0,0", "1,0"), {"labels": ["A", "B"]}, ["one_hot="]),
        ("image,dx\n../a.png,x\n", {"label": "dx"}, ["'../a.png' in row 2", "outside of"]),
        ("image,dx\n/etc/a.png,x\n", {"label": "dx"}, ["'/etc/a.png' in row 2", "outside of"]),
        ("image,dx\nC:\\x\\a.png,x\n", {"label": "dx"}, ["in row 2", "outside of"]),
        ("image,dx\n,x\na.png,y\n", {"label": "dx"}, ["nothing in row 2", "data.path=image"]),
        (PLAIN, {"label": "dx", "path": "{image}.jpg"}, ["missing", "3 of 3 rows", "data.path="]),
        (PLAIN, {"label": "dx", "path": "{image:>3}"}, ["no template", "braces"]),
        (PLAIN, {"label": "dx", "path": "{image"}, ["no template"]),
        (PLAIN, {"label": "dx", "path": "{imag}"}, ["no column 'imag'", "did you mean 'image'"]),
        (
            "image,dx\na,x\nb,y\nc,x\n",
            {"label": "dx"},
            ["'data.path=\"{image}.png\"' would find it"],
        ),
        (PLAIN.replace(".png", ".tif"), {"label": "dx"}, ["'a.png' is there, with another ending"]),
        (PLAIN.replace("a.png", "u/a.png"), {"label": "dx"}, ["'a.png' is there, so a folder"]),
        ("image,dx\na.png,0.31\nb.png,0.7\n", {"label": "dx"}, ["numbers such as 0.31", "classes"]),
        ("image,dx\na.png,X\nb.png,x\n", {"label": "dx"}, ["'X' and 'x'", "data.class_map={X: x}"]),
        ("image,dx\na.png,x\nb.png,x\n", {"label": "dx"}, ["fewer than two classes (2 of 'x')"]),
        (
            PLAIN.replace("well", "unaffected"),
            {"label": "dx"},
            ["which class is the disease", "data.positive"],
        ),
        (PLAIN, {"label": "dx", "positive": ["ill"]}, ["data.positive names 'ill'"]),
        (PLAIN, {"label": "dx", "class_map": {"ill": "x"}}, ["data.class_map names 'ill'"]),
        (
            PLAIN,
            {"label": "dx", "where": {"who": ["p9"]}},
            ["asks for 'p9' in column 'who'", "'p1'"],
        ),
        (PLAIN, {"label": "dx", "where": {"whom": ["p9"]}}, ["no column 'whom'"]),
        (PLAIN, {"label": "dx", "part": "who"}, ["'p1' and 'p2' in column 'who'", "train, val"]),
        (PLAIN, {"label": "dx", "group_regex": "(z)"}, ["matches none of the 3"]),
        (PLAIN, {"label": "dx", "group_regex": "z"}, ["exactly one"]),
        (
            PLAIN + "a.png,well,p1\n",
            {"label": "dx"},
            ["about 1 images", "rows 2 and 5", "majority"],
        ),
        (
            PLAIN + "a.png,sick,p3\n",
            {"label": "dx", "patient": "who"},
            ["'p1' and 'p3'", "2 and 5"],
        ),
        (PLAIN, {"label": "dx", "labels": ["ill"]}, ["never names 'ill'", "'sick' and 'well'"]),
        (PLAIN, {"label": "dx", "nothing": "No"}, ["never says 'No'", "data.nothing", "'well'"]),
        (PLAIN, {"label": "dx", "separator": "list"}, ["'sick' in column 'dx', row 2", "no list"]),
        (PLAIN.replace("p1", "1.2E+17"), {"label": "dx", "patient": "who"}, ["1.2E+17", "rounded"]),
        (FLAGS.replace(",A", ",none"), {"labels": ["none", "B"]}, ["cannot be called 'none'"]),
        (FLAGS, {"labels": ["A", "B"], "class_map": {"A": None, "B": None}}, ["leaves no finding"]),
        (FLAGS.replace("1,1", "1,0"), {"labels": ["A", "B"]}, ["'A'", "data.labels=[A]"]),
        (FLAGS, {"labels": ["A", "B"], "separator": "|"}, ["data.separator", "data.label"]),
        (PLAIN + "d.png,well|sick,p3\n", {"label": "dx"}, ["'well|sick'", "data.separator='|'"]),
        ("image,dx\na.png,['x']\nb.png,y\n", {"label": "dx"}, ["list", "data.separator='list'"]),
        ("image,dx\na.png,-1\nb.png,0\n", {"label": "dx"}, ["'-1'", "data.class_map={-1: null}"]),
        ("image,dx\na.png,01\nb.png,1\n", {"label": "dx"}, ["'01' and '1'", "data.class_map"]),
        ("sep=;\nimage;dx\na.png;x\n", {"label": "dx"}, ["the line 'sep=;'", "take out"]),
        (PLAIN, {"label": "dx", "split": "parts"}, ["data.split=parts", "data.part=COLUMN"]),
        (PLAIN, {"label": "dx", "uncertain": "one"}, ["data.uncertain", "data.label"]),
        (PLAIN, {"label": "dx", "one_hot": True}, ["data.one_hot", "data.label"]),
        (PLAIN, {"label": "dx", "blank": "one"}, ["data.blank", "ignore"]),
        (PLAIN, {"label": "dx", "agree": "any"}, ["data.agree=any", "majority"]),
        (PLAIN, {"label": "dx", "rater": "who"}, ["data.rater", "data.agree=majority"]),
        (PLAIN, {"label": "dx", "patient": "who", "group_regex": "(a)"}, ["data.patient", "leave"]),
        (PLAIN, {}, ["data.label=COLUMN", "'image', 'dx' and 'who'"]),
        (PLAIN, {"label": "dx", "path": None}, ["data.path=COLUMN", "'image', 'dx' and 'who'"]),
        (PLAIN, {"label": "dx", "table": None}, ["add data.table=FILE"]),
        (PLAIN, {"label": "dx", "table": "labels.csv"}, ["no file", "labels.csv meant?"]),
        (PLAIN, {"label": "dx", "root": None}, ["add data.root=FOLDER"]),
        (PLAIN, {"label": "dx", "root": "/nowhere/at/all"}, ["/nowhere/at/all is not a folder"]),
        (
            PLAIN,
            {"label": "dx", "lists": {"test": "/nowhere.txt"}},
            ["data.lists.test=/nowhere.txt"],
        ),
    ],
)
def test_what_cannot_be_used_is_said(
    tmp_path: Path, text: str | bytes, options: dict[str, Any], words: list[str]
) -> None:
    table = made(tmp_path, text, *ABC)
    with pytest.raises(BcadvError) as caught:
        find(table, **options)
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_workbook_and_an_archive_of_several_are_refused(tmp_path: Path) -> None:
    for names, said in (
        (("[Content_Types].xml", "xl/sheet.xml"), "workbook"),
        (("a.csv", "b.csv"), "archive of 2 tables"),
        (("readme.md",), "archive of 0 tables"),
    ):
        path = tmp_path / "labels.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, PLAIN)
        with pytest.raises(BcadvError, match=said):
            find(path, label="dx")


def test_lists_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    table = made(tmp_path, PLAIN, *ABC)
    one, two, none = tmp_path / "1.txt", tmp_path / "2.txt", tmp_path / "3.txt"
    one.write_text("a.png\nb.png\n")
    two.write_text("b.png\nc.png\n")
    none.write_text("x.png\n")
    with pytest.raises(BcadvError, match=r"'b.png' is listed for .* and, in"):
        find(table, label="dx", lists={"train": one, "test": two})
    with pytest.raises(BcadvError, match="none of its 1 lines is one of the images"):
        find(table, label="dx", lists={"train": one, "test": none})


def test_two_files_that_differ_in_their_ending_are_refused(tmp_path: Path) -> None:
    text = "image,dx\na.png,x\na.jpg,y\n"
    with pytest.raises(BcadvError, match="differ in their ending alone"):
        find(made(tmp_path, text, "a.png", "a.jpg"), label="dx", positive=["x"])


def test_spaces_around_names_are_said(tmp_path: Path) -> None:
    chosen = find(made(tmp_path, PLAIN.replace("dx", " dx "), *ABC), label="dx", positive=["sick"])
    assert "spaces around their names, which are read without them: ' dx '" in noted(chosen)


def test_what_no_answer_is_may_be_said_by_class(tmp_path: Path) -> None:
    text = "image,grade\na.png,-1\nb.png,0\nc.png,2\n"
    table = made(tmp_path, text, *ABC)
    chosen = find(table, label="grade", class_map={-1: None}, positive=[2])
    assert labels(chosen) == {"b": "0", "c": "2"}
    assert "1 row of class '-1' (data.class_map)" in noted(chosen)


def test_findings_that_are_left_out_leave_a_word(tmp_path: Path) -> None:
    text = "image,A,B,C\na.png,1,0,0\nb.png,0,1,0\nc.png,1,1,1\nd.png,0,0,1\n"
    table = made(tmp_path, text, *ABC, "d.png")
    chosen = find(table, labels=["A", "B", "C"], one_hot=False, class_map={"C": None})
    assert labels(chosen) == {"a": "A", "b": "B", "c": "A|B", "d": "none"}
    assert "1 rows show other findings than these alone and count as showing none." in chosen.notes


def test_a_patient_that_is_the_image_is_said(tmp_path: Path) -> None:
    table = made(tmp_path, PLAIN, *ABC)
    chosen = find(table, label="dx", patient="image", positive=["sick"])
    assert "Every image has a patient of its own in column 'image'" in noted(chosen)
    assert "of its own" not in noted(find(table, label="dx", patient="who", positive=["sick"]))


def test_a_patient_that_is_blank_is_unknown(tmp_path: Path) -> None:
    text = PLAIN.replace("p1", "NA").replace("p2", "None")
    chosen = find(made(tmp_path, text, *ABC), label="dx", patient="who", positive=["sick"])
    assert [record.patient for record in chosen.records] == [None, None, None]


def test_parts_that_are_not_used_are_said(tmp_path: Path) -> None:
    text = "image,dx,set\na.png,x,train\nb.png,y,test\nc.png,x,test\n"
    table = made(tmp_path, text, *ABC)
    said = "The parts of the table are not used: data.split=patient."
    assert said in find(table, label="dx", part="set", positive=["x"]).notes
    assert said not in find(table, label="dx", part="set", positive=["x"], split="parts").notes


def test_a_finding_that_few_show_is_said(tmp_path: Path) -> None:
    chosen = find(made(tmp_path, FLAGS, *ABC), labels=["A", "B"])
    assert "Fewer than three patients show 'A' and 'B'" in noted(chosen)


def test_unknown_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        settings(made(tmp_path, PLAIN, *ABC), label="dx", blank="drop")


def test_many_rows_are_read_as_they_stand(tmp_path: Path) -> None:
    """Against a reading of its own, by pandas."""
    rows = [(f"{i}.png", "AB"[i % 3 == 0], f"p{i % 17}") for i in range(200)]
    frame = pd.DataFrame(rows, columns=["image", "dx", "who"])
    table = tmp_path / "labels.csv"
    frame.to_csv(table, index=False)
    made(tmp_path, "", *frame["image"], name="x.txt")
    chosen = find(table, label="dx", patient="who", positive=["B"])
    assert Counter((r.label, r.patient) for r in chosen.records) == Counter(
        zip(frame["dx"], frame["who"], strict=True)
    )
