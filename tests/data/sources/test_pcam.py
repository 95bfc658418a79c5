"""PatchCamelyon, made small in its true layout."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bcadv.data.containers import read
from bcadv.data.sources.pcam import PCamData, find
from bcadv.errors import BcadvError

STEM = "camelyonpatch_level_2_split_"
N = {"train": 40, "valid": 12, "test": 16}


def write(folder: Path, *, meta: bool = True, **more: Any) -> Path:
    for seed, (part, n) in enumerate(N.items()):
        x = np.random.default_rng(seed).integers(0, 256, (n, 96, 96, 3), np.uint8)
        y = (np.arange(n) % 2).astype(np.uint8).reshape(n, 1, 1, 1)
        for kind, array in (("x", x), ("y", y)):
            with h5py.File(folder / f"{STEM}{part}_{kind}.h5", "w") as file:
                file.create_dataset(kind, data=more.get(f"{part}_{kind}", array))
        if meta:
            rows = [f"{i},0,0,True,False,camelyon16_{part}_{i % 5:03d}" for i in range(n)]
            head = ",coord_y,coord_x,tumor_patch,center_tumor_patch,wsi"
            (folder / f"{STEM}{part}_meta.csv").write_text("\n".join([head, *rows]) + "\n")
    return folder


def test_images_have_their_class_their_part_and_their_slide(tmp_path: Path) -> None:
    chosen = find(write(tmp_path))
    assert (chosen.classes, chosen.positive) == (("normal", "tumour"), (1,))
    assert Counter(r.part for r in chosen.records) == {"train": 40, "val": 12, "test": 16}
    assert not chosen.notes
    for record in chosen.records[::5]:
        assert record.frame is not None
        name = record.path.name
        number = int(record.image_id.split("/")[1])
        assert record.label == ("normal", "tumour")[number % 2]
        assert record.patient == f"camelyon16_{name.split('_')[4]}_{number % 5:03d}"
        with h5py.File(record.path) as file:
            assert np.array_equal(read(record.path, record.frame), file["x"][number])


def test_without_the_table_the_slide_is_unknown_and_said_to_be(tmp_path: Path) -> None:
    chosen = find(write(tmp_path, meta=False))
    assert {r.patient for r in chosen.records} == {None}
    assert "The slide is unknown for 68 of 68 images" in chosen.notes[0]


def test_a_blank_slide_is_an_unknown_one(tmp_path: Path) -> None:
    meta = write(tmp_path) / f"{STEM}train_meta.csv"
    meta.write_text(meta.read_text().replace("camelyon16_train_000", "  "))
    assert "The slide is unknown for 8 of 68 images" in find(tmp_path).notes[0]


def test_files_that_are_wrong_are_answered(tmp_path: Path) -> None:
    def answer(said: str) -> None:
        with pytest.raises(BcadvError, match=said):
            PCamData(root=tmp_path, split="parts").find()

    answer("train_x.h5 is missing: .* holds none")
    write(tmp_path)
    train = tmp_path / f"{STEM}train_y.h5"
    (tmp_path / f"{train.name}.gz").write_bytes(gzip.compress(train.read_bytes()))
    train.unlink()
    answer("is compressed: unpack it with gunzip")
    write(tmp_path, train_y=np.zeros(39, np.uint8))
    answer("39 labels for 40 images")
    write(tmp_path, train_y=np.full(40, 2))
    answer("other labels than 0 and 1")
    write(tmp_path, train_x=np.zeros((40, 96, 96), np.float32))
    answer("holds float32")
    write(tmp_path)
    meta = tmp_path / f"{STEM}test_meta.csv"
    meta.write_text("\n".join(meta.read_text().splitlines()[:-1]))
    answer("15 rows for 16 images")
    meta.write_text("a,b\n1,2\n")
    answer("no readable column 'wsi'")
    meta.unlink()
    (tmp_path / f"{STEM}valid_x.h5").write_bytes(b"half")
    answer("is no HDF5 file")


def test_a_root_that_is_no_folder_is_answered(tmp_path: Path) -> None:
    for root, said in ((None, "data.root=FOLDER"), (tmp_path / "none", "not a folder")):
        with pytest.raises(BcadvError, match=said):
            PCamData(root=root, split="parts").find()
