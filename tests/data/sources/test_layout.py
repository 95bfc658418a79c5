"""Folders as people have them: read rightly, or asked about, and never guessed in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bcadv.data.sources.folder import FolderData, find
from bcadv.data.sources.layout import Layout
from bcadv.data.sources.words import (
    are_people,
    is_fold,
    is_mask,
    part_of,
    sounds_healthy,
    without_mask,
)
from bcadv.errors import BcadvError
from tests.data.sources.test_folder import touch


def tree(root: Path, *folders: str, ending: str = "png", each: int = 2) -> Path:
    """So many files in each folder."""
    return touch(root, *(f"{folder}/{i}.{ending}" for folder in folders for i in range(each)))


def parts_and_classes(root: Path, **options: Any) -> set[tuple[str | None, str, str | None]]:
    chosen = find(root, **options)
    return {(record.part, record.label, record.patient) for record in chosen.records}


def crossed(outer: str, inner: str) -> list[str]:
    return [f"{one}/{other}" for one in outer.split() for other in inner.split()]


@pytest.mark.parametrize(
    ("outer", "parts"),
    [
        ("Training Testing", {"train", "test"}),
        ("train validation test", {"train", "val", "test"}),
        ("TRAIN dev TEST", {"train", "val", "test"}),
        ("train_set test_set", {"train", "test"}),
        ("Training-Data Validation-Data Test-Data", {"train", "val", "test"}),
        ("Trainset Testset", {"train", "test"}),
        ("trn tst", {"train", "test"}),
        ("1_train 2_test", {"train", "test"}),
        ("wrapper/train wrapper/val wrapper/test", {"train", "val", "test"}),
    ],
)
def test_folders_called_like_parts_are_the_parts(
    tmp_path: Path, outer: str, parts: set[str]
) -> None:
    tree(tmp_path, *crossed(outer, "benign malignant"))
    assert parts_and_classes(tmp_path) == {
        (part, label, None) for part in parts for label in ("benign", "malignant")
    }


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (crossed("8863 8864 8865", "0 1"), "data.layout=patient/class"),
        (["8863/0", "8864/0", "8864/1", "8865/0", "8865/1"], "data.layout=patient/class"),
        (crossed("train test", "p1/a p1/b p2/a p2/b"), "data.layout=part/patient/class"),
        (crossed("NORMAL COVID", "train test"), "data.layout=class/part"),
        (crossed("benign malignant", "40X 100X"), "data.layout=class .the outer ones are"),
        (["patient_01", "patient_02", "patient_03"], "called like patients"),
        (["case1", "case2", "case3", "case4"], "called like patients"),
        (["slide_1", "slide_2", "slide_3"], "called like patients, slides"),
        (["2020-01-01", "2020-02-01"], "days or places"),
        (["hospital-1", "hospital-2"], "days or places"),
        (crossed("train eval", "a b"), "'eval' beside 'train'.*is or has the same classes"),
        (["train/a", "train/b", "a", "b"], "'a' and 'b' beside 'train'.*data.exclude=.a/"),
        ([f"1000{i}" for i in range(9)], "called like patients"),
        ([f"n{'abcdefgh'[i // 8]}{'abcdefgh'[i % 8]}" for i in range(51)], "there would be 51 cl"),
        (["fold1", "fold2", "fold3"], r"data.layout=\*/class"),
        (crossed("fold_1 fold_2", "a b"), "called like folds"),
        (["train/a", "train/b", "test/a", "test/b", "test/c"], "train has no 'c'"),
        (["train/a", "train/B", "test/a", "test/b"], "'B' and 'b', which differ in capitals"),
        (
            crossed("train test Testing", "a b"),
            "'Testing' and 'test' are both called like the test",
        ),
        (["train/train/a", "train/train/b"], "called like a part"),
    ],
)
def test_names_that_contradict_every_reading_are_asked_about(
    tmp_path: Path, folders: list[str], said: str
) -> None:
    tree(tmp_path, *folders)
    with pytest.raises(BcadvError, match=said):
        find(tmp_path)


@pytest.mark.parametrize(
    ("healthy", "other"),
    [
        ("CT_NonCOVID", "CT_COVID"),
        ("Uninfected", "Parasitized"),
        ("healthy", "cancer"),
        ("notumor", "glioma"),
        ("unruptured", "ruptured"),
        ("no-fracture", "a-fracture"),
        ("Normal", "Abnormal"),
        ("covid_negative", "bacterial"),
        ("tumor_free", "tumor"),
        ("sano", "enfermo"),
        ("Gutartig", "Boesartig"),
        ("HC", "AD"),
        ("wildtype", "mutant"),
    ],
)
def test_a_disease_by_alphabet_that_sounds_healthy_is_asked_about(
    tmp_path: Path, healthy: str, other: str
) -> None:
    assert sounds_healthy(healthy, [other])
    assert not sounds_healthy(other, [healthy])
    tree(tmp_path, healthy, other)
    if sorted([healthy, other])[1] == healthy:
        with pytest.raises(BcadvError, match=rf"data.positive=\[{other}\]"):
            find(tmp_path)
    chosen = find(tmp_path, positive=[other])
    assert [chosen.classes[i] for i in chosen.positive] == [other]


@pytest.mark.parametrize("name", ["unknown", "union", "sick", "Pneumonia", "abnormal", "12"])
def test_other_names_do_not_sound_healthy(name: str) -> None:
    assert not sounds_healthy(name)


def test_masks_beside_their_images_are_left_out_with_a_word(tmp_path: Path) -> None:
    tree(tmp_path, *crossed("COVID Normal", "images masks"))
    tree(tmp_path / "COVID", "ground truth", "Segmentations")
    touch(tmp_path, "COVID/images/0_mask.png", "COVID/images/1-seg.png", "COVID/images/a_mask.png")
    touch(tmp_path, "Normal/images/mask_0.png")
    chosen = find(tmp_path, positive=["COVID"])
    assert chosen.found == {"COVID": 3, "Normal": 2}
    said = " ".join(chosen.notes)
    assert "8 files are left out, in a folder that is called like one of masks" in said
    assert "3 files are left out, called like a mask of another file" in said


def test_where_all_is_called_masks_nothing_is_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "masks/a", "masks/b")
    assert find(tmp_path).found == {"a": 2, "b": 2}


def test_a_copy_of_the_set_inside_of_it_is_left_out_with_a_word(tmp_path: Path) -> None:
    tree(tmp_path, "A", "B", "cell_images/A", "cell_images/B")
    chosen = find(tmp_path)
    assert chosen.found == {"A": 2, "B": 2}
    assert "4 files are left out, in a copy of the set inside of it" in " ".join(chosen.notes)


def test_a_template_settles_what_names_do_not(tmp_path: Path) -> None:
    tree(tmp_path, *crossed("8863 8864", "0 1"))
    assert parts_and_classes(tmp_path, layout="patient/class") == {
        (None, label, patient) for label in "01" for patient in ("8863", "8864")
    }
    assert {label for _, label, _ in parts_and_classes(tmp_path, layout="class")} == {
        "8863",
        "8864",
    }
    assert {label for _, label, _ in parts_and_classes(tmp_path, layout="*/class")} == {"0", "1"}
    other = tree(tmp_path / "other", *crossed("NORMAL COVID", "train test"))
    assert parts_and_classes(other, layout="class/part", positive=["COVID"]) == {
        (part, label, None) for part in ("train", "test") for label in ("NORMAL", "COVID")
    }
    with pytest.raises(BcadvError, match="called like none"):
        find(tmp_path, layout="part/class")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("part/klass", "'klass' is none of"),
        ("part/patient", "no folder is the class"),
        ("class/class", "no folder is the class|twice"),
        ("part/part/class", "'part' stands in it twice"),
        ("", "is none of"),
    ],
)
def test_a_template_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(BcadvError, match=said):
        Layout.of(text)


def test_patterns_choose_files_and_one_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, *crossed("a b", "40X 100X"))
    chosen = find(tmp_path, layout="class", include=["*/40X/*"])
    assert {record.path.parent.name for record in chosen.records} == {"40X"}
    assert "4 files are left out, as data.include says" in " ".join(chosen.notes)
    chosen = find(tmp_path, layout="class", exclude=["*/40X/*", "a/100X/0.png"])
    assert chosen.found == {"a": 1, "b": 2}
    wrong: list[dict[str, Any]] = [{"include": ["*/400X/*"]}, {"exclude": ["*.tif"]}]
    for options in wrong:
        with pytest.raises(BcadvError, match="which no path below"):
            find(tmp_path, layout="class", **options)


def test_classes_are_renamed_merged_and_dropped(tmp_path: Path) -> None:
    tree(tmp_path, "bacteria", "normal", "virus", "rest")
    chosen = find(
        tmp_path, class_map={"bacteria": "ill", "virus": "ill", "rest": None}, positive=["ill"]
    )
    assert chosen.found == {"ill": 4, "normal": 2}
    assert chosen.positive == (0,)
    assert "2 files are left out, of a class that data.class_map leaves out" in chosen.notes[0]
    with pytest.raises(BcadvError, match=r"data\.class_map names 'viral'"):
        find(tmp_path, class_map={"viral": "ill"})


def test_the_patient_is_found_in_the_path_too(tmp_path: Path) -> None:
    tree(tmp_path, "a/p1", "a/p2", "b/p3", each=1)
    chosen = find(tmp_path, group_regex=r"/(p\d)/")
    assert [record.patient for record in chosen.records] == ["p1", "p2", "p3"]
    with pytest.raises(BcadvError, match="both name the patient"):
        find(tmp_path, group_regex="(p)", layout="class/patient")


def test_all_that_pillow_reads_is_read_and_the_rest_named(tmp_path: Path) -> None:
    ends = ("jpg", "webp", "jfif", "gif", "PNG", "tif", "bmp", "ppm", "jp2")
    touch(tmp_path, *(f"{label}/{end}.{end}" for label in "ab" for end in ends))
    touch(tmp_path, "a/1.mha", "b/2.mha", "a/3.nii", "b/readme.txt")
    chosen = find(tmp_path)
    assert chosen.found == {"a": len(ends), "b": len(ends)}
    said = " ".join(chosen.notes)
    assert "2 files are left out, for .mha is not read" in said
    assert "1 file is left out, for .nii is not read" in said
    assert "readme" not in said


def test_a_folder_of_nothing_that_is_read_names_what_there_is(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b", ending="mha")
    with pytest.raises(BcadvError, match=r"Files there: 4 of \.mha.*Read are"):
        find(tmp_path)


def test_names_that_are_numbers_are_names(tmp_path: Path) -> None:
    tree(tmp_path, "0", "1")
    config = FolderData.model_validate(
        {
            "root": str(tmp_path),
            "split": "paper",
            "positive": [0],
            "per_class": {"train": {0: 5}},
            "class_map": {1: "ill", 0: 0},
        }
    )
    assert config.positive == ("0",)
    assert config.per_class == {"train": {"0": 5}}
    chosen = config.find()
    assert chosen.found == {"0": 2, "ill": 2}
    one = FolderData.model_validate({"root": str(tmp_path), "split": "paper", "positive": 1})
    assert one.find().positive == (1,)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Training", "train"),
        ("TestSet", "test"),
        ("val", "val"),
        ("trainee", None),
        ("test2", None),
        ("contest", None),
        ("train_normal", None),
        ("train_val", None),
    ],
)
def test_a_part_is_told_by_its_whole_name(name: str, part: str | None) -> None:
    assert part_of(name) == part


def test_what_other_names_sound_like() -> None:
    assert is_fold("Fold-3")
    assert not is_fold("foldable")
    assert are_people(["S01", "S02"])
    assert not are_people(["stage1", "grade2"])
    assert not are_people(["0", "1"])
    assert is_mask("Masks")
    assert not is_mask("unmasked")
    assert without_mask("benign (1)_mask_1") == "benign (1)"
    assert without_mask("mask") is None
