"""What two sets of images have in common, on small real files."""

from __future__ import annotations

import csv
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from bcadv.data.near import THRESHOLD, features, near_equal, pairs
from bcadv.data.overlap import Overlap, overlap
from bcadv.data.records import Record
from bcadv.errors import BcadvError

SIDE = 96


def scene(seed: object) -> Image.Image:
    """A smooth picture with edges, another one for each seed."""
    rng = np.random.default_rng(zlib.crc32(str(seed).encode()))
    noise = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), np.uint8))
    pixels = np.asarray(noise.filter(ImageFilter.GaussianBlur(4)), float)
    low, high = pixels.min(), pixels.max()
    return Image.fromarray(((pixels - low) / (high - low) * 200 + 25).astype(np.uint8))


def save(path: Path, image: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Ten images each, of patients of their own."""
    a, b = tmp_path / "a", tmp_path / "b"
    for i in range(10):
        save(a / f"p{i}_x.png", scene(f"a{i}"))
        save(b / f"q{i}_y.png", scene(f"b{i}"))
    return a, b


def counts(found: Overlap) -> tuple[tuple[int, int], ...]:
    shared = (found.names, found.equal, found.near)
    return tuple((one.ones, one.others) for one in shared if one is not None)


def test_two_sets_with_nothing_in_common(two: tuple[Path, Path]) -> None:
    found = overlap(*two)
    assert counts(found) == ((0, 0), (0, 0), (0, 0))
    assert (found.one.images, found.other.images, found.patients) == (10, 10, None)


def test_each_kind_is_counted_apart(two: tuple[Path, Path]) -> None:
    a, b = two
    shutil.copy(a / "p0_x.png", b / "sub.png")
    save(b / "deep" / "p1_x.jpg", Image.open(a / "p1_x.png"))
    save(b / "p2_x.png", scene("another"))
    found = overlap(a, b)
    assert counts(found) == ((2, 2), (1, 1), (1, 1))
    assert found.confirmed == 1, "one of the two names is used anew"
    assert found.near is not None
    [pair] = found.near.examples
    assert (Path(pair.one).name, Path(pair.other).name) == ("p1_x.png", "p1_x.jpg")
    assert pair.correlation is not None
    assert THRESHOLD <= pair.correlation <= 1
    assert json.loads(json.dumps(found.as_dict()))["equal"]["ones"] == 1
    without = overlap(a, b, near=False)
    assert (without.near, without.confirmed) == (None, None)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def arithmetic(image: Image.Image, change: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    return Image.fromarray(np.clip(change(np.asarray(image, float)), 0, 255).astype(np.uint8))


def noisy(pixels: np.ndarray) -> np.ndarray:
    return pixels + np.random.default_rng(0).normal(0, 5, pixels.shape)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half": lambda image: image.resize((SIDE // 2, SIDE // 2)),
    "twice": lambda image: image.resize((2 * SIDE, 2 * SIDE)),
    "stretched": lambda image: image.resize((SIDE, 2 * SIDE)),
    "jpeg": partial(jpeg, quality=30),
    "darker": partial(arithmetic, change=lambda pixels: 0.6 * pixels),
    "brighter": partial(arithmetic, change=lambda pixels: pixels + 25),
    "negative": partial(arithmetic, change=lambda pixels: 255 - pixels),
    "noise": partial(arithmetic, change=noisy),
    "colour": lambda image: image.convert("RGB"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_in_another_size_format_or_brightness(
    change: str, two: tuple[Path, Path]
) -> None:
    a, b = two
    save(b / "copy.png", CHANGES[change](scene("a3")))
    found = overlap(a, b).near
    assert found is not None
    assert [(Path(p.one).name, Path(p.other).name) for p in found.examples] == [
        ("p3_x.png", "copy.png")
    ]


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (SIDE, SIDE), 128),
        Image.new("L", (1, 1)),
        scene("a3").transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        scene("a3").crop((20, 20, SIDE, SIDE)),
    ],
    ids=["flat", "one pixel", "mirrored", "cut"],
)
def test_what_is_not_nearly_equal_is_not_called_so(
    image: Image.Image, two: tuple[Path, Path]
) -> None:
    a, b = two
    save(a / "flat.png", Image.new("L", (SIDE, SIDE), 30))
    save(b / "other.png", image)
    assert counts(overlap(a, b))[-1] == (0, 0)


def test_near_equal_images_of_one_set_are_a_set(tmp_path: Path) -> None:
    images = [scene("a"), scene("a").resize((48, 48)), scene("b"), scene("a").resize((64, 64))]
    records = [
        (Record(save(tmp_path / f"{i}.png", image), str(i), "x"), f"part{i % 2}")
        for i, image in enumerate(images)
    ]
    found = near_equal(records, [None] * 4)
    assert (found.sets, found.images, found.across_parts) == (1, 3, 1)
    assert near_equal(records[:2], ["same", "same"]).sets == 0, "these are counted as identical"
    assert near_equal([], []).sets == 0


def test_blocks_of_a_product_cover_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcadv.data.near._BLOCK", 3)
    rows = np.eye(8, dtype=np.float32)
    found = sorted((i, j) for i, j, _ in pairs(rows, rows[::-1]))
    assert found == [(i, 7 - i) for i in range(8)]


def test_features_of_what_cannot_be_decoded_are_zero(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    found = features([Record(tmp_path / "bad.png", "bad", "x")])
    assert found.shape == (1, 1024)
    assert not found.any()


def test_patients_are_found_by_pattern_and_in_names_of_breakhis(two: tuple[Path, Path]) -> None:
    a, b = two
    save(b / "p4_z.png", scene("new"))
    found = overlap(a, b, group_regex=r"^(p\d+)_", near=False)
    assert found.shared_patients == ("p4",)
    assert found.patients is not None
    assert (found.patients.ones, found.patients.others) == (1, 1)
    assert (found.other.patients, found.other.unknown) == (1, 10)
    save(a / "SOB_B_A-14-22549AB-100-001.png", scene("c"))
    save(b / "SOB_M_DC-14-22549CD-100-002.png", scene("d"))
    assert overlap(a, b, near=False).shared_patients == ("14-22549",)
    save(b / "SOB_not_of_breakhis.png", scene("e"))
    assert overlap(a, b, near=False).shared_patients == ("14-22549",)


def test_a_pattern_with_a_slash_is_searched_in_the_path(two: tuple[Path, Path]) -> None:
    a, b = two
    save(a / "anna" / "1.png", scene("c"))
    save(b / "anna" / "2.png", scene("d"))
    assert overlap(a, b, group_regex="^(?P<patient>[^/]+)/", near=False).shared_patients == (
        "anna",
    )


def table(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_finished_job_says_which_part_new_images_stand_in(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    a, b = two
    job = tmp_path / "job"
    rows: list[dict[str, object]] = [
        {
            "image_id": path.stem,
            "path": path,
            "label": "x",
            "patient": path.stem[:2],
            "split": "train" if i < 8 else "test",
        }
        for i, path in enumerate(sorted(a.iterdir()))
    ]
    table(job / "split.csv", rows)
    (job / "results.json").touch()
    shutil.copy(a / "p0_x.png", b / "one.png")
    shutil.copy(a / "p9_x.png", b / "two.png")
    found = overlap(job, b)
    assert (found.one.kind, found.other.kind, found.one.patients) == ("finished job", "folder", 10)
    assert found.equal.by_part == {"train, all": 1, "test, all": 1}
    assert overlap(job, a, near=False).equal.ones == 10, "they are the same files"
    assert overlap(job / "split.csv", b, near=False).one.kind == "table"


def test_a_split_beside_images_makes_no_job_of_them(two: tuple[Path, Path]) -> None:
    a, b = two
    table(a / "split.csv", [{"image_id": "p1_x", "split": "train"}])
    assert overlap(a, b, near=False).one.kind == "folder"


def test_a_table_names_files_relative_to_its_folder(two: tuple[Path, Path]) -> None:
    a, b = two
    file = table(a.parent / "t.csv", [{"path": "a/p1_x.png"}, {"path": "a/p2_x.png"}])
    shutil.copy(a / "p1_x.png", b / "copy.png")
    assert counts(overlap(file, b))[1] == (1, 1)


def test_broken_files_are_compared_by_name_alone(two: tuple[Path, Path]) -> None:
    a, b = two
    (a / "bad.png").write_bytes(b"<html>")
    (b / "bad.jpg").write_bytes(b"")
    found = overlap(a, b)
    assert counts(found) == ((1, 1), (0, 0), (0, 0))
    assert [one.why for one in found.other.broken] == ["the file is empty"]
    assert found.one.images == 10


def broken_inputs(a: Path, b: Path) -> Iterator[tuple[tuple[Path, Path, str | None], str]]:
    empty = a.parent / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("none")
    text = a.parent / "text.csv"
    text.write_text("name\nx\n")
    no_rows = a.parent / "head.csv"
    no_rows.write_text("path\n")
    binary = a.parent / "binary.csv"
    binary.write_bytes(b"path\n\xff\xfe\x00")
    gone = table(a.parent / "gone.csv", [{"path": "a/p1_x.png"}, {"path": "a/none.png"}])
    twice = table(a.parent / "twice.csv", [{"path": "a/p1_x.png"}, {"path": "a/p1_x.png"}])
    yield (a, twice, None), "2 times"
    yield (a, a.parent / "nowhere", None), "is no folder"
    yield (a, empty, None), "holds no images"
    yield (a, a, None), "are one folder"
    yield (a, a.parent / "b" / ".." / "a", None), "are one folder"
    yield (a.parent, b, None), "neither of which holds the other"
    yield (b, a.parent, None), "neither of which holds the other"
    yield (a, text, None), "column path"
    yield (a, no_rows, None), "has no rows"
    yield (a, binary, None), "cannot be read as a table"
    yield (a, gone, None), "1 of 2 files that are not there"
    yield (a, b, "("), "not a regular expression"
    yield (a, b, "p"), "has 0 groups"
    yield (a, b, "^(z+)$"), "matches no file"
    save(a.parent / "sweep" / "0" / "figures" / "accuracy.png", scene("figure"))
    (a.parent / "sweep" / "0" / "results.json").touch()
    yield (a, a.parent / "sweep", None), "give the folder of one, such as"


def test_what_cannot_be_compared_is_answered_in_a_sentence(two: tuple[Path, Path]) -> None:
    for (one, other, pattern), words in broken_inputs(*two):
        with pytest.raises(BcadvError) as caught:
            overlap(one, other, group_regex=pattern)
        assert words in str(caught.value), words
        assert "\n" not in str(caught.value)


@pytest.mark.shared_data
def test_real_images_at_half_their_size_are_found_and_no_others(shared_data: Path) -> None:
    found = overlap(shared_data / "breakhis_100x_original", shared_data / "breakhis_100x_half")
    assert found.near is not None
    assert all(Path(p.one).name == Path(p.other).name for p in found.near.examples)
    assert (found.near.ones, found.near.others, found.confirmed) == (48, 48, 48)
    assert (found.equal.ones, len(found.shared_patients)) == (0, 9)
