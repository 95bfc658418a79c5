"""A folder per class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bcadv.data.sources.folder import find
from bcadv.data.splits import limit, parts, patient
from bcadv.errors import BcadvError

PERSON = r"^(person\d+|(?:NORMAL2-)?IM-\d+)"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_classes_on_top(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.PNG", "b/deep/2.tiff", "a/1.jpg", "a/notes.txt", "c/._1.png", "empty.txt")
    chosen = find(tmp_path)
    assert chosen.classes == ("a", "b")
    assert chosen.positive == (1,)
    assert chosen.found == {"a": 1, "b": 2}
    assert chosen.expected is None
    assert [r.image_id for r in chosen.records] == ["a/1", "b/1", "b/deep/2"]
    assert {r.part for r in chosen.records} == {None}
    assert any("unknown for 3 of 3" in note for note in chosen.notes)


def test_parts_on_top(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "valid/a/2.png", "valid/b/2.png")
    touch(tmp_path, "Test/a/4.png", "Test/b/3.bmp")
    touch(tmp_path, "other/x/9.png", "8.png")
    chosen = find(tmp_path)
    assert {r.image_id: (r.part, r.label) for r in chosen.records} == {
        "Test/a/4": ("test", "a"),
        "Test/b/3": ("test", "b"),
        "train/a/1": ("train", "a"),
        "train/b/1": ("train", "b"),
        "valid/a/2": ("val", "a"),
        "valid/b/2": ("val", "b"),
    }
    assert any(note.startswith("2 files are left out, in no class folder") for note in chosen.notes)


def test_a_group_names_the_patient(tmp_path: Path) -> None:
    touch(tmp_path, "a/p1_x.png", "a/p1_y.png", "b/p2_x.png", "b/unknown.png")
    expected = ["p1", "p1", "p2", None]
    assert [r.patient for r in find(tmp_path, group_regex=r"(p\d)_").records] == expected
    named = find(tmp_path, group_regex=r"(?P<patient>p\d)_(x|y)")
    assert [r.patient for r in named.records] == expected


def test_positive_classes_may_be_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png", "c/1.png")
    assert find(tmp_path).positive == ()
    assert find(tmp_path, positive=["c", "a"]).positive == (0, 2)
    assert find(tmp_path).positive_by == "order"
    assert find(tmp_path, positive=["c"]).positive_by == "user"
    with pytest.raises(BcadvError, match="'d'"):
        find(tmp_path, positive=["d"])


@pytest.mark.parametrize(
    ("regex", "piece"),
    [
        ("(", "not a regular expression"),
        ("person", "0 groups"),
        ("(a)(b)", "2 groups"),
        ("(person)", "matches none of the 2"),
        (r"(\\d)", r"with each backslash once, \(\\d\), it would match"),
        (r"(\\d\\d)", "correct it"),
    ],
)
def test_an_unusable_regex_is_refused(tmp_path: Path, regex: str, piece: str) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    with pytest.raises(BcadvError, match=piece):
        find(tmp_path, group_regex=regex)


def test_unusable_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BcadvError, match="is not a folder"):
        find(tmp_path / "nowhere")
    with pytest.raises(BcadvError, match="found none"):
        find(tmp_path)
    with pytest.raises(BcadvError, match="'a' with 1"):
        find(touch(tmp_path, "a/1.png"))
    with pytest.raises(BcadvError, match="differ in their ending"):
        find(touch(tmp_path, "a/1.jpg", "b/1.jpg"))


@pytest.mark.shared_data
def test_the_chest_x_rays_are_split_as_asked(shared_data: Path) -> None:
    chosen = find(shared_data / "chest_xray_224", group_regex=PERSON)
    assert chosen.found == {"NORMAL": 234 + 1341, "PNEUMONIA": 390 + 3875}
    assert Counter((r.part, r.label) for r in chosen.records) == {
        ("train", "NORMAL"): 1341,
        ("train", "PNEUMONIA"): 3875,
        ("test", "NORMAL"): 234,
        ("test", "PNEUMONIA"): 390,
    }
    assert all(r.patient for r in chosen.records)
    [note] = chosen.notes
    assert "'PNEUMONIA' counts as the disease only because" in note

    own = parts(chosen.records, seed=1)
    assert {chosen.records[i].part for i in own.test} == {"test"}
    assert {chosen.records[i].part for i in own.train + own.val} == {"train"}

    asked = {
        "train": {"NORMAL": 515, "PNEUMONIA": 722},
        "val": {"NORMAL": 64, "PNEUMONIA": 90},
        "test": {"NORMAL": 65, "PNEUMONIA": 91},
    }
    cut = limit(chosen.records, patient(chosen.records, seed=1), asked, seed=1)
    people = {}
    for part, members in cut.by_part().items():
        assert Counter(chosen.records[i].label for i in members) == asked[part]
        people[part] = {chosen.records[i].patient for i in members}
    assert not people["train"] & people["test"]
    assert not people["train"] & people["val"]
    assert not people["val"] & people["test"]


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ("Tumor/1.png tumor/2.png well/3.png", {"positive": ["tumor"]}, "differ in capitals"),
        ("a/1.png b/2.png", {"positive": ["a", "b"]}, "names every class, a, b"),
        ("a/1.png b/2.png", {"layout": "patient/class"}, "fits none of the 2 images.*needs 2 fold"),
    ],
)
def test_readings_that_mean_nothing_are_answered(
    tmp_path: Path, files: str, options: dict[str, Any], said: str
) -> None:
    touch(tmp_path, *files.split())
    with pytest.raises(BcadvError, match=said):
        find(tmp_path, **options)
