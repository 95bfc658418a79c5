"""Files of many images, read one image at a time."""

from __future__ import annotations

import os
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bcadv.data import containers
from bcadv.data.containers import read

Save = Callable[..., None]
SAVES: list[Save] = [np.savez, np.savez_compressed]


def images(n: int, seed: int, *shape: int, dtype: type = np.uint8) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (n, *shape), dtype, endpoint=True)


def three_parts(*shape: int, dtype: type = np.uint8) -> dict[str, np.ndarray]:
    return {
        f"{part}_images": images(n, n, *shape, dtype=dtype)
        for part, n in (("train", 40), ("val", 9), ("test", 13))
    }


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_are_numbered_over_train_val_and_test(
    tmp_path: Path, save: Save, shape: tuple[int, ...], dtype: type
) -> None:
    parts = three_parts(*shape, dtype=dtype)
    # In the file they may lie in any order.
    save(tmp_path / "x.npz", **dict(reversed(parts.items())))
    whole = np.concatenate(list(parts.values()))
    numbers = list(range(len(whole)))
    for order in (numbers, numbers[::-1], random.Random(0).sample(numbers, 30)):
        for i in order:
            found = read(tmp_path / "x.npz", i)
            assert found.dtype == dtype
            assert np.array_equal(found, whole[i])
    with pytest.raises(ValueError, match="no image with the number 62"):
        read(tmp_path / "x.npz", 62)


@pytest.mark.parametrize("save", SAVES)
def test_many_threads_get_what_they_ask_for(tmp_path: Path, save: Save) -> None:
    whole = images(3000, 1, 7, 7)
    save(tmp_path / "x.npz", train_images=whole)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: read(tmp_path / "x.npz", i), range(3000)))
    assert np.array_equal(np.stack(found), whole)


def test_a_compressed_array_is_unpacked_once_for_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "x.npz", train_images=images(400, 0, 8, 8))
    opened: list[str] = []
    plain = zipfile.ZipFile.open

    def counted(self: zipfile.ZipFile, name: Any, *args: Any, **more: Any) -> Any:
        opened.append(str(name))
        return plain(self, name, *args, **more)

    read(tmp_path / "x.npz", 0)
    monkeypatch.setattr(zipfile.ZipFile, "open", counted)
    for i in range(1, 400, 3):
        read(tmp_path / "x.npz", i)
    assert not opened
    read(tmp_path / "x.npz", 0)
    assert len(opened) == 1


@pytest.mark.parametrize("step", [1, 7])
@pytest.mark.parametrize("save", SAVES)
def test_memory_stays_flat(tmp_path: Path, save: Save, step: int) -> None:
    whole = np.zeros((2000, 100, 100), np.uint8)  # 20 MB
    save(tmp_path / "x.npz", train_images=whole)
    del whole
    tracemalloc.start()
    for i in range(0, 2000, step):
        read(tmp_path / "x.npz", i)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5e6


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    for seed in (0, 1):
        whole = images(5, seed, 4, 4)
        np.savez(tmp_path / "x.npz", train_images=whole)
        os.utime(tmp_path / "x.npz", (seed, seed))
        assert np.array_equal(read(tmp_path / "x.npz", 3), whole[3])


@pytest.mark.parametrize("options", [{}, {"chunks": (8, 6, 5, 3), "compression": "gzip"}])
def test_a_data_set_of_hdf5_is_read_by_threads(tmp_path: Path, options: dict[str, Any]) -> None:
    whole = images(100, 2, 6, 5, 3)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=whole, **options)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: read(tmp_path / "x.h5", i), range(100)))
    assert np.array_equal(np.stack(found), whole)


def npz(**arrays: Any) -> bytes:
    file = BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


OBJECTS = np.array([{"a": 1}], dtype=object)


WRONG = [
    (b"", "no .npz file"),
    (b"<html>", "no .npz file"),
    (npz(train_images=images(5, 0, 8, 8))[:200], "no .npz file"),
    (npz(train_images=images(5, 0, 8, 8).astype(np.float32)), "holds float32"),
    (npz(train_images=images(5, 0, 8, 8).astype(np.int64)), "holds int64"),
    (npz(train_images=OBJECTS), "holds object"),
    (npz(train_images=images(2, 0, 8, 8, 8)), r"\(2, 8, 8, 8\), which are volumes"),
    (npz(train_images=images(2, 0, 8, 8, 4)), r"\(2, 8, 8, 4\); images have the shape"),
    (npz(train_images=images(5, 0)), r"\(5,\); images have the shape"),
    (npz(train_images=np.asfortranarray(images(5, 0, 8, 8))), "Fortran"),
    (npz(images=images(5, 0, 8, 8)), "no image with the number 0"),
]


@pytest.mark.parametrize(("content", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_no_file_of_images_is_answered(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read(tmp_path / "x.npz", 0)


@pytest.mark.parametrize("save", SAVES)
def test_damage_is_found(tmp_path: Path, save: Save) -> None:
    path = tmp_path / "x.npz"
    save(path, train_images=images(500, 0, 28, 28))
    content = bytearray(path.read_bytes())
    if save is np.savez_compressed:
        content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    else:
        content[:4] = b"XXXX"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged|cannot be read"):
        [read(path, i) for i in range(500)]


def test_hdf5_that_is_none_is_answered(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"no")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("y", data=[1, 2])
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_group("x")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", data=np.zeros((2, 8, 8), np.float32))
    for name, said in (("a", "no HDF5"), ("b", "there is y"), ("c", "no data set"), ("d", "float")):
        with pytest.raises(ValueError, match=said):
            read(tmp_path / f"{name}.h5", 0)


def test_labels_that_run_code_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train_labels=OBJECTS)
    with (
        containers.open_npz(tmp_path / "x.npz") as archive,
        pytest.raises(ValueError, match="train_labels cannot be read"),
    ):
        containers.small(archive, "train_labels")


def member(header: str, values: int) -> bytes:
    """An array in NumPy's format, whose header is made up."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(values)


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("(20, 8, 8", "cannot be read"),
        ("(-5, 8, 8)", r"the shape \(-5"),
        ("(True, 8, 8)", r"the shape \(True"),
        ("(20, 0, 0)", "without a pixel"),
        ("(4611686018427387904, 4, 4)", "ends before its last image"),
    ],
)
def test_headers_that_lie_are_answered(tmp_path: Path, how: int, shape: str, said: str) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    with zipfile.ZipFile(tmp_path / "x.npz", "w", how) as archive:
        archive.writestr("train_images.npy", member(header, 1280))
    with pytest.raises(ValueError, match=said):
        read(tmp_path / "x.npz", 0)


def test_labels_that_ask_for_memory_are_refused_before_it_is_reserved(tmp_path: Path) -> None:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 1), }"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("train_labels.npy", member(header, 20))
    with (
        containers.open_npz(tmp_path / "x.npz") as archive,
        pytest.raises(ValueError, match="ends before its last value"),
    ):
        containers.small(archive, "train_labels")


def test_an_archive_with_a_password_is_answered(tmp_path: Path) -> None:
    content = bytearray(npz(train_images=images(5, 0, 8, 8)))
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match="encrypted"):
        read(tmp_path / "x.npz", 0)


def test_damage_in_other_compressions_is_answered(tmp_path: Path) -> None:
    values = BytesIO()
    np.save(values, images(200, 0, 8, 8))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("train_images.npy", values.getvalue())
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[3000:3400] = bytes(400)
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged|cannot be read"):
        [read(tmp_path / "x.npz", i) for i in range(200)]
