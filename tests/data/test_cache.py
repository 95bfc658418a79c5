"""The decoded images are the files' pixels, made once, whole or not at all."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bcadv.data import cache, digests
from bcadv.data.cache import build
from bcadv.data.records import Record
from bcadv.data.sources import breakhis
from bcadv.errors import BcadvError
from bcadv.pixels import Decoded

SIZES = ((12, 20), (10, 20), (16, 8))


def make(folder: Path, sizes: tuple[tuple[int, int], ...] = SIZES, seed: int = 0) -> list[Record]:
    """Random PNGs of the given (height, width)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    records = []
    for i, (h, w) in enumerate(sizes):
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)).save(path)
        records.append(Record(path, f"image{i}", "a"))
    return records


def run(records: list[Record], folder: Path, **options: Any) -> cache.ImageCache:
    return build(records, folder, progress=False, **options)


def pixels(record: Record) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(record.path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files decoded from here on."""
    seen: list[Path] = []
    original = cache._decode

    def spy(record: Record, resize: int | None, white: float | None) -> Decoded:
        seen.append(record.path)
        return original(record, resize, white)

    monkeypatch.setattr(cache, "_decode", spy)
    return seen


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files hashed from here on."""
    seen: list[Path] = []
    original = digests._digest

    def spy(record: Record, *, skip: bool) -> str:
        seen.append(record.path)
        return original(record, skip=skip)

    monkeypatch.setattr(digests, "_digest", spy)
    return seen


def test_images_of_several_sizes_are_stored_unchanged(tmp_path: Path) -> None:
    records = make(tmp_path / "data")
    made = run(records, tmp_path / "cache", workers=2)
    assert made.pixels.shape == (sum(3 * h * w for h, w in SIZES),)
    assert made.dtype == np.uint8
    assert made.records == tuple(records)
    assert made.skipped == ()
    for i, (h, w) in enumerate(SIZES):
        assert (made.heights[i], made.widths[i]) == (h, w)
        np.testing.assert_array_equal(made.image(i), pixels(records[i]))
    with pytest.raises(ValueError, match="read-only"):
        made.image(0)[0] = 0


def test_the_order_is_that_of_the_records(tmp_path: Path) -> None:
    records = make(tmp_path / "data", ((4, 4),) * 40)
    for order in (records, records[::-1]):
        made = run(order, tmp_path / "cache", workers=4)
        for i, record in enumerate(order):
            np.testing.assert_array_equal(made.image(i), pixels(record))


@pytest.mark.shared_data
def test_real_images_keep_their_pixels_and_their_sizes(shared_data: Path, tmp_path: Path) -> None:
    chosen = breakhis.find(shared_data / "breakhis_100x_original", subtypes="all")
    records = list(chosen.records[::3])
    made = run(records, tmp_path)
    for i, record in enumerate(records):
        np.testing.assert_array_equal(made.image(i), pixels(record))
    small = run(records[:4], tmp_path, resize=224)
    assert set(small.heights) == {224}
    for i, record in enumerate(records[:4]):
        with Image.open(record.path) as image:
            h, w = small.heights[i], small.widths[i]
            assert h == 224
            assert abs(w / h - image.width / image.height) < 0.005
            # Antialiased with the aspect kept: the mean of the picture survives.
            assert abs(small.image(i).mean() - pixels(record).mean()) < 0.5


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    made = run(make(tmp_path / "data", ((120, 160),)), tmp_path / "cache", resize=12)
    assert made.image(0).shape == (12, 16, 3)
    # Averaging 10 x 10 pixels of noise takes most of its spread of 74 away; picking one does not.
    assert made.image(0).std() < 20


def test_an_unchanged_data_set_is_neither_read_nor_decoded_again(
    tmp_path: Path, decoded: list[Path], read: list[Path]
) -> None:
    records = make(tmp_path / "data")
    first = run(records, tmp_path / "cache")
    assert len(decoded) == len(read) == 3
    second = run(records, tmp_path / "cache")
    assert len(decoded) == len(read) == 3
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert first.digests == second.digests


def test_the_key_is_the_content(tmp_path: Path, decoded: list[Path], read: list[Path]) -> None:
    records = make(tmp_path / "data")
    run(records, tmp_path / "cache")
    # Moved: read again, under the same key.
    shutil.move(tmp_path / "data", tmp_path / "moved")
    records = [Record(tmp_path / "moved" / r.path.name, r.image_id, r.label) for r in records]
    os.utime(records[0].path, ns=(1, 1))
    run(records, tmp_path / "cache")
    assert (len(read), len(decoded)) == (6, 3)
    # Changed: one file read, everything decoded.
    Image.fromarray(np.zeros((12, 20, 3), np.uint8)).save(records[0].path)
    changed = run(records, tmp_path / "cache")
    assert (len(read), len(decoded)) == (7, 6)
    assert not changed.image(0).any()
    # Other options are other pixels.
    assert run(records, tmp_path / "cache", resize=5).image(2).shape == (10, 5, 3)
    assert len(read) == 7


def test_a_cache_of_another_version_is_not_used(
    tmp_path: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = make(tmp_path / "data")
    run(records, tmp_path / "cache")
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    run(records, tmp_path / "cache")
    assert len(decoded) == 6


def test_1547_images_start_within_half_a_second(tmp_path: Path) -> None:
    make(tmp_path / "data", ((2, 2),) * 8)
    records = []
    for i in range(1547):
        path = tmp_path / "data" / f"link{i}.png"
        os.link(tmp_path / "data" / f"{i % 8}.png", path)
        records.append(Record(path, f"image{i}", "a"))
    run(records, tmp_path / "cache")
    start = time.perf_counter()
    made = run(records, tmp_path / "cache")
    assert time.perf_counter() - start < 0.5
    assert len(made.records) == 1547
    assert len(set(made.digests.values())) == 8


def test_alike_files_have_one_digest(tmp_path: Path) -> None:
    records = make(tmp_path / "data")
    shutil.copy(records[0].path, records[2].path)
    digests = run(records, tmp_path / "cache").digests
    assert digests["image0"] == digests["image2"] != digests["image1"]


def spoil(record: Record, how: str) -> None:
    content = record.path.read_bytes()
    if how in {"gone", "dangling"}:
        record.path.unlink()
        if how == "dangling":
            record.path.symlink_to(record.path.with_name("nowhere.png"))
        return
    spoilt = {
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "text": b"no image at all",
        "flipped": content[:80] + bytes(b ^ 0xFF for b in content[80:120]) + content[120:],
    }
    record.path.write_bytes(spoilt[how])


@pytest.mark.parametrize("how", ["truncated", "empty", "text", "flipped", "gone", "dangling"])
def test_a_bad_image_is_named_or_left_out_as_asked(tmp_path: Path, how: str) -> None:
    records = make(tmp_path / "data")
    spoil(records[1], how)
    for _ in range(2):
        with pytest.raises(BcadvError, match=r"1\.png.*data\.on_bad_image=skip"):
            run(records, tmp_path / "cache")
        made = run(records, tmp_path / "cache", on_bad_image="skip")
        assert made.records == (records[0], records[2])
        assert [record for record, _ in made.skipped] == [records[1]]
        assert made.skipped[0][1]
        assert "BytesIO" not in made.skipped[0][1]
        assert set(made.digests) == {"image0", "image2"}
        for i, record in enumerate(made.records):
            np.testing.assert_array_equal(made.image(i), pixels(record))


def test_nothing_but_bad_images_is_an_error(tmp_path: Path) -> None:
    records = make(tmp_path / "data")
    for record in records:
        spoil(record, "text")
    with pytest.raises(BcadvError, match="none of the 3 images"):
        run(records, tmp_path / "cache", on_bad_image="skip")


@pytest.mark.parametrize(
    ("options", "piece"),
    [({"resize": 0}, r"data\.resize=0"), ({"on_bad_image": "ignore"}, "on_bad_image=ignore")],
)
def test_options_out_of_range_are_refused(
    tmp_path: Path, options: dict[str, Any], piece: str
) -> None:
    with pytest.raises(BcadvError, match=piece):
        run(make(tmp_path / "data"), tmp_path / "cache", **options)


def test_no_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BcadvError, match="no images"):
        run([], tmp_path)


RAMP = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.filterwarnings("error")
def test_a_palette_with_transparency_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(RAMP // 128).convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.save(tmp_path / "p.png", transparency=b"\x40\x80")
    made = run([Record(tmp_path / "p.png", "p", "a")], tmp_path / "cache")
    colours = np.array([[10, 20, 30], [200, 100, 50]], np.uint8)
    np.testing.assert_array_equal(made.image(0), colours[RAMP // 128])


def test_16_bits_are_scaled_and_not_stretched(tmp_path: Path) -> None:
    # A 12-bit scan stored in 16 bits: dark it is, and dark it stays.
    wide = np.array([[0, 4095], [128, 129]], np.uint16)
    Image.fromarray(wide).save(tmp_path / "w.png")
    made = run([Record(tmp_path / "w.png", "w", "a")], tmp_path / "cache")
    assert made.bits == 16
    np.testing.assert_array_equal(made.image(0)[..., 0], wide)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_32_bits_are_refused(tmp_path: Path, dtype: type[np.generic]) -> None:
    Image.fromarray(np.ones((4, 4), dtype)).save(tmp_path / "f.tiff")
    with pytest.raises(BcadvError, match=r"f\.tiff.*32-bit"):
        run([Record(tmp_path / "f.tiff", "f", "a")], tmp_path / "cache")


def deep(path: Path, values: Any) -> Record:
    Image.fromarray(np.asarray(values, np.uint16)).save(path)
    return Record(path, path.stem, "a")


def test_8_bits_beside_16_bits_are_widened(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 255]], np.uint8)).save(tmp_path / "8.png")
    records = [Record(tmp_path / "8.png", "8", "a"), deep(tmp_path / "16.png", [[5, 65535]])]
    made = run(records, tmp_path / "cache")
    assert (made.bits, made.dtype) == (16, np.dtype(np.uint16))
    assert made.image(0)[0, :, 0].tolist() == [0, 257, 65535]
    assert made.image(1)[0, :, 2].tolist() == [5, 65535]
    assert made.ranges.bits.tolist() == [8, 16]
    assert made.ranges.white.tolist() == [255, 65535]
    assert made.ranges.low.tolist() == [0, 5 / 65535]
    back = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(back.image(1), made.image(1))


def test_another_white_is_another_cache(tmp_path: Path) -> None:
    records = [deep(tmp_path / "it.png", [[0, 4095]])]
    plain = run(records, tmp_path / "cache")
    told = run(records, tmp_path / "cache", white=4095)
    assert plain.image(0).max() == 4095
    assert told.image(0).max() == 65535
    with pytest.raises(BcadvError, match=r"it\.png.*value 4095, and white is 4000.*data\.white"):
        run(records, tmp_path / "cache", white=4000)


def test_an_odd_image_costs_itself_alone(tmp_path: Path) -> None:
    records = make(tmp_path / "data", ((4, 4), (1000, 1000), (4, 4)))
    made = run(records, tmp_path / "cache")
    size = (made.folder / "images.raw").stat().st_size
    assert size == 3 * (1_000_000 + 2 * 16)
    for i, record in enumerate(records):
        np.testing.assert_array_equal(made.image(i), pixels(record))


def test_what_takes_the_space_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = make(tmp_path / "data", (*((4, 4),) * 4, (1000, 1000)))
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BcadvError, match=r"data\.resize; .*4\.png.*data\.exclude"):
        run(records, tmp_path / "cache")
    with pytest.raises(BcadvError, match=r"or set data\.resize$"):
        run(records[:4], tmp_path / "cache")


def test_pictures_of_one_file_are_images_of_their_own(tmp_path: Path, read: list[Path]) -> None:
    frames = [Image.fromarray(np.full((4, 6, 3), 50 * k, np.uint8)) for k in (1, 2, 1)]
    path = tmp_path / "it.tif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    records = [Record(path, f"it/{k}", "a", frame=k) for k in range(3)]
    made = run(records, tmp_path / "cache")
    assert [int(made.image(k)[0, 0, 0]) for k in range(3)] == [50, 100, 50]
    assert made.digests["it/0"] == made.digests["it/2"] != made.digests["it/1"]
    assert len(read) == 3
    run(records, tmp_path / "cache")
    assert len(read) == 3
    missing = [*records, Record(path, "it/3", "a", frame=3)]
    with pytest.raises(BcadvError, match=r"3 of .*it\.tif.*none is 3"):
        run(missing, tmp_path / "cache")
    assert len(run(missing, tmp_path / "cache", on_bad_image="skip").records) == 3


def test_how_files_were_read_is_counted(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.ppm").write_bytes(b"P6 1 1 4095\n" + bytes(6))
    records = [Record(tmp_path / f"{i}.ppm", str(i), "a") for i in range(3)]
    assert list(run(records, tmp_path / "cache").said.values()) == [3]


def test_it_pickles_as_a_path(tmp_path: Path) -> None:
    made = run(make(tmp_path / "data", ((200, 200),) * 5), tmp_path / "cache")
    packed = pickle.dumps(made)
    assert len(packed) < made.pixels.nbytes / 50
    back = pickle.loads(packed)
    assert isinstance(back.pixels, np.memmap)
    np.testing.assert_array_equal(back.pixels, made.pixels)
    assert back.records == made.records


SCRIPT = """
import sys
from pathlib import Path
from bcadv.data.cache import build
from bcadv.data.records import Record
data, folder = map(Path, sys.argv[1:])
records = [Record(p, p.stem, "a") for p in sorted(data.glob("*.png"))]
print("started", flush=True)
made = build(records, folder, workers=2, progress=False)
print(made.folder.name, int(made.pixels.astype("uint64").sum()))
"""


STUCK = """
import time
from bcadv.data import cache
decode = cache._decode
def slow(record, resize, white):
    if record.path.stem == "30":
        time.sleep(600)
    return decode(record, resize, white)
cache._decode = slow
"""
"""Said first, it makes a build that never ends."""


def start(data: Path, folder: Path, before: str = "") -> subprocess.Popen[str]:
    words = [sys.executable, "-c", before + SCRIPT, str(data), str(folder)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_two_processes_build_at_once(tmp_path: Path) -> None:
    records = make(tmp_path / "data", ((150, 150),) * 60)
    both = [start(tmp_path / "data", tmp_path / "cache") for _ in range(2)]
    said = [process.communicate(timeout=60)[0].split()[1:] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    total = sum(int(pixels(r).astype(np.uint64).sum()) for r in records)
    assert said[0] == said[1]
    assert int(said[0][1]) == total
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == sorted(
        [said[0][0], "digests.json"]
    )


def test_a_killed_build_does_no_harm(tmp_path: Path) -> None:
    records = make(tmp_path / "data", ((300, 300),) * 60)
    folder = tmp_path / "cache"
    process = start(tmp_path / "data", folder, STUCK)
    while not list(folder.glob(".*.tmp/images.raw")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    (left,) = folder.glob(".*.tmp")
    records = sorted(records, key=lambda r: r.path.stem)
    made = run(records, folder)
    for i, record in enumerate(records):
        np.testing.assert_array_equal(made.image(i), pixels(record))
    # It could be another process still at work; an hour without a write says that it is not.
    assert left.exists()
    os.utime(left / "images.raw", (time.time() - 4000,) * 2)
    run(records[:2], folder)
    assert not left.exists()


def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, decoded: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    records = make(tmp_path / "data")
    made = run(records, tmp_path / "cache")
    content = (made.folder / "images.raw").read_bytes()
    (made.folder / "images.raw").write_bytes(content[:-1])
    (tmp_path / "cache" / "digests.json").write_text("{")
    again = run(records, tmp_path / "cache")
    assert len(decoded) == 6
    assert again.pixels.tobytes() == content
    assert caplog.text.count("is damaged") == 2
    assert len(json.loads((tmp_path / "cache" / "digests.json").read_text())) == 3


@pytest.mark.parametrize("content", ["", None])
def test_a_cache_without_its_sizes_is_made_anew(tmp_path: Path, content: str | None) -> None:
    records = make(tmp_path / "data")
    made = run(records, tmp_path / "cache")
    (made.folder / "meta.json").unlink()
    if content is not None:
        (made.folder / "meta.json").write_text(content)
    np.testing.assert_array_equal(run(records, tmp_path / "cache").pixels, made.pixels)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    records = make(tmp_path / "data")
    (tmp_path / "file").touch()
    with pytest.raises(BcadvError, match="another cache folder"):
        run(records, tmp_path / "file" / "cache")


def test_too_little_space_is_told_before_the_work(
    tmp_path: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = make(tmp_path / "data")
    usage = shutil.disk_usage(tmp_path)._replace(free=sum(3 * h * w for h, w in SIZES) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BcadvError, match="free some space"):
        run(records, tmp_path / "cache")
    assert decoded == []


@pytest.fixture
def files_of_a_megabyte_at_most() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("files_of_a_megabyte_at_most")
def test_a_write_that_fails_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    records = make(tmp_path / "data", ((300, 300),) * 5)
    with pytest.raises(BcadvError, match="cannot keep the decoded images"):
        run(records, tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["digests.json"]


@pytest.mark.parametrize(("terminal", "shown"), [("1", True), ("0", False)])
def test_the_progress_goes_to_a_terminal_on_stderr(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: str,
    shown: bool,
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TTY_COMPATIBLE", terminal)
    build(make(tmp_path / "data"), tmp_path / "cache", progress=True)
    said = capsys.readouterr()
    assert said.out == ""
    assert ("Decoding images" in said.err) == shown
    assert bool(said.err) == shown


def test_grey_is_stored_once_and_comes_out_as_rgb(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 256, (9, 7), np.uint8), rng.integers(0, 256, (5, 6, 3), np.uint8)
    for name, values in (("a.png", grey), ("b.png", colour), ("c.png", grey[:, :5])):
        Image.fromarray(values).save(tmp_path / name)
    records = [Record(tmp_path / f"{name}.png", name, "x") for name in "abc"]
    made = cache.build(records, tmp_path / "cache", progress=False)
    assert made.pixels.size == 9 * 7 + 5 * 6 * 3 + 9 * 5
    np.testing.assert_array_equal(made.image(0), np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(made.image(1), colour)
    np.testing.assert_array_equal(made.image(2), np.stack([grey[:, :5]] * 3, axis=-1))
    smaller = cache.build(records, tmp_path / "cache", resize=4, progress=False)
    expected = Image.fromarray(np.stack([grey] * 3, axis=-1)).resize(
        (smaller.image(0).shape[1], smaller.image(0).shape[0]), Image.Resampling.LANCZOS
    )
    np.testing.assert_array_equal(smaller.image(0), np.asarray(expected))
