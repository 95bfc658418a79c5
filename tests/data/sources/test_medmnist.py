"""Sets of MedMNIST, made small in their true layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bcadv.data.containers import read
from bcadv.data.records import NO_FINDING
from bcadv.data.sources.medmnist import CARDS, COUNTS, MedMnistData, find
from bcadv.data.splits import parts
from bcadv.errors import BcadvError

N = {"train": 60, "val": 20, "test": 30}


def labels(name: str, n: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    card = CARDS.get(name)
    if card is not None and card.several:
        return (random.random((n, len(card.classes))) < 0.15).astype(np.uint8)
    of = 3 if card is None else len(card.classes)
    return random.permutation(np.arange(n) % of)[:, None].astype(np.uint8)


def write(folder: Path, stem: str, *, channels: int = 1, side: int = 28, **more: Any) -> Path:
    name = stem.split("_", maxsplit=1)[0]
    arrays: dict[str, Any] = {}
    for seed, (part, n) in enumerate(N.items()):
        shape = (n, side, side) if channels == 1 else (n, side, side, channels)
        arrays[f"{part}_images"] = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        arrays[f"{part}_labels"] = labels(name, n, seed)
    arrays |= more
    path = folder / f"{stem}.npz"
    np.savez_compressed(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


@pytest.mark.parametrize("name", sorted(CARDS))
def test_every_set_has_its_classes_its_parts_and_its_images(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, channels=3)
    chosen = find(path)
    card = CARDS[name]
    assert chosen.classes == card.classes
    assert Counter(r.part for r in chosen.records) == N
    assert [r.image_id for r in chosen.records] == sorted(r.image_id for r in chosen.records)
    assert {r.patient for r in chosen.records} == {None}
    with np.load(path) as arrays:
        for record in chosen.records[::7]:
            part, number = record.image_id.split("/")
            assert record.frame is not None
            assert np.array_equal(read(path, record.frame), arrays[f"{part}_images"][int(number)])
            row = arrays[f"{part}_labels"][int(number)]
            if card.several:
                shown = tuple(c for c, one in zip(card.classes, row, strict=True) if one)
                assert record.findings == shown
                assert record.label == ("|".join(shown) or NO_FINDING)
            else:
                assert record.label == card.classes[row[0]]
    split = parts(chosen.records, seed=0)
    assert len(split.test) == N["test"]


@pytest.mark.parametrize(
    ("name", "positive"),
    [
        ("breastmnist", {"malignant"}),
        ("pneumoniamnist", {"pneumonia"}),
        ("retinamnist_224", {"grade 2", "grade 3", "grade 4"}),
        ("octmnist_64", {*CARDS["octmnist"].classes} - {"normal"}),
        ("bloodmnist", set()),
    ],
)
def test_the_disease_is_that_of_the_set(tmp_path: Path, name: str, positive: set[str]) -> None:
    chosen = find(write(tmp_path, name))
    assert {chosen.classes[c] for c in chosen.positive} == positive
    assert chosen.positive_by == ("source" if positive else "order")
    asked = any("data.positive" in note for note in chosen.notes)
    assert asked == (not positive)


def test_classes_are_merged_left_out_and_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, "octmnist")
    merged = {
        "choroidal neovascularization": "wet",
        "diabetic macular edema": "wet",
        "drusen": None,
    }
    chosen = find(path, class_map=merged)
    assert chosen.classes == ("wet", "normal")
    assert chosen.positive == (0,)
    assert "drusen" not in {r.label for r in chosen.records}
    assert find(path, positive=["drusen"]).positive == (2,)


def test_one_finding_of_several_makes_two_classes(tmp_path: Path) -> None:
    path = write(tmp_path, "chestmnist")
    several = find(path)
    assert several.kind == "multilabel"
    one = find(path, labels=["mass"])
    assert (one.kind, one.classes, one.positive) == ("multiclass", ("no mass", "mass"), (1,))
    for a, b in zip(several.records, one.records, strict=True):
        assert (b.label == "mass") == ("mass" in (a.findings or ()))
    two = find(path, labels=["mass", "edema"])
    assert two.classes == ("mass", "edema")
    assert two.found["mass"] == one.found["mass"]


def test_a_set_that_nobody_knows_is_called_by_its_numbers(tmp_path: Path) -> None:
    chosen = find(write(tmp_path, "mine"))
    assert chosen.classes == ("0", "1", "2")
    flat: dict[str, Any] = {f"{part}_labels": np.arange(n) % 2 for part, n in N.items()}
    chosen = find(write(tmp_path, "mine", **flat))
    assert chosen.classes == ("0", "1")
    assert "only because its name comes last" in " ".join(chosen.notes)


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_other_numbers_of_images_than_published_are_said(tmp_path: Path, name: str) -> None:
    notes = " ".join(find(write(tmp_path, name)).notes)
    assert (
        f"60 / 20 / 30 images to train, validate and test; the published set of this name holds "
        f"{COUNTS[name][0]:,} / " in notes
    )


def test_the_published_numbers_and_unknown_names_say_nothing(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for part, n in zip(("train", "val", "test"), COUNTS["breastmnist"], strict=True):
        arrays[f"{part}_images"] = np.zeros((n, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n) % 2)[:, None]
    assert len(find(write(tmp_path, "breastmnist_64", **arrays)).notes) == 1
    assert "published" not in " ".join(find(write(tmp_path, "mine")).notes)


def test_enlarged_images_are_said_to_be(tmp_path: Path) -> None:
    path = write(tmp_path, "pneumoniamnist", side=40)
    for resize, said in ((64, True), (40, False), (32, False), (None, False)):
        notes = MedMnistData(root=path, split="parts", resize=resize, crop=32).find().notes
        assert any("enlarged" in note for note in notes) == said


FLOATS = np.linspace(0, 1, 60)[:, None]


@pytest.mark.parametrize(
    ("stem", "more", "said"),
    [
        ("pathmnist", {"train_labels": None}, "train_images and no train_labels"),
        ("pathmnist", {"train_labels": np.zeros((59, 1), int)}, r"\(59, 1\), for 60 images"),
        ("pathmnist", {"train_labels": FLOATS}, "float64, and not whole"),
        ("pathmnist", {"train_labels": np.full((60, 1), np.nan)}, "float64, and not whole"),
        ("pathmnist", {"train_labels": np.full((60, 1), -1)}, "holds -1"),
        ("pathmnist", {"train_labels": np.full((60, 1), np.inf)}, "holds inf"),
        ("mine", {"train_labels": np.full((60, 1), 1e30)}, r"holds 1e\+30"),
        ("mine", {"train_labels": np.full((60, 1), 2**64 - 1, np.uint64)}, "18446744073709551615"),
        ("mine", {"train_labels": np.full((60, 1), 2**40)}, "at most 65535"),
        ("pathmnist", {"train_labels": np.array(["a"] * 60)}, "<U1, and not whole"),
        ("pathmnist", {"train_labels": np.full((60, 1), 9)}, "called like pathmnist.*0 to 9"),
        ("pathmnist", {"train_labels": np.zeros((60, 2), int)}, "different numbers of columns"),
        ("pathmnist", {"train_images": None}, "no train_images.*holds 'test_images'"),
        ("pathmnist", {"train_images": np.zeros((60, 28, 28))}, "holds float64"),
        ("organmnist3d", {"train_images": np.zeros((60, 28, 28, 28), np.uint8)}, "volumes"),
        ("one", {f"{part}_labels": np.zeros(n, int) for part, n in N.items()}, "'0' alone"),
    ],
)
def test_files_that_are_wrong_are_answered(
    tmp_path: Path, stem: str, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(BcadvError, match=said):
        find(write(tmp_path, stem, **more))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"class_map": {"tumor": "x"}}, "data.class_map names 'tumor'"),
        ({"positive": ["ill"]}, "data.positive names 'ill'"),
        ({"labels": ["pneumonia"]}, "leave it out"),
    ],
)
def test_options_that_name_nothing_are_answered(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BcadvError, match=said):
        find(write(tmp_path, "pneumoniamnist"), **options)


@pytest.mark.parametrize(
    ("root", "said"),
    [
        (None, r"data\.root=FILE\.npz"),
        (".", r"is a folder.*'pneumoniamnist\.npz'"),
        ("none.npz", "is no file"),
        ("text.txt", r"no \.npz file"),
        ("text.npz", "no .npz file, or a part"),
    ],
)
def test_a_root_that_is_no_such_file_is_answered(
    tmp_path: Path, root: str | None, said: str
) -> None:
    write(tmp_path, "pneumoniamnist")
    for name in ("text.txt", "text.npz"):
        (tmp_path / name).write_text("no")
    place = None if root is None else tmp_path / root
    with pytest.raises(BcadvError, match=said):
        MedMnistData(root=place, split="parts").find()
