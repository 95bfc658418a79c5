"""What a data set is taken for and what its files hold, on small real files."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bcadv.data.contents import drawn, giveaways
from bcadv.data.inspect import inspect, seen_in
from bcadv.data.inspection import Inspection
from bcadv.data.look import Header, headers, in_threads, of_each, values
from bcadv.data.records import Record, Selection
from bcadv.data.said import columns, compact, facts, head, notes
from bcadv.data.sources.breakhis import BreakHisData
from bcadv.data.sources.folder import FolderData

SIDE = 32
PATIENTS = r"^(p\d+)_"


def write(path: Path, seed: object, *, size: tuple[int, int] = (SIDE, SIDE), **how: Any) -> Path:
    """A grey image of its own for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(str(seed).encode()))
    pixels = rng.integers(0, 256, (size[1], size[0]), np.uint8)
    pixels[0, :2] = 0, 255
    Image.fromarray(pixels).save(path, **how)
    return path


def tree(root: Path, classes: tuple[str, ...] = ("benign", "malignant"), n: int = 12) -> Path:
    """A folder per class, a patient per image."""
    for label in classes:
        for i in range(n):
            write(root / label / f"p{label[0]}{i}_1.png", f"{label}{i}")
    return root


def settings(root: Path, **more: Any) -> FolderData:
    return FolderData.model_validate(
        {"root": root, "split": "paper", "crop": SIDE, "group_regex": None} | more
    )


def look(root: Path, **more: Any) -> Inspection:
    return inspect(settings(root, **more))


def ids(seen: Inspection) -> set[str]:
    return {doubt.id for doubt in seen.doubts}


def doubt(seen: Inspection, name: str) -> str:
    [one] = [one for one in seen.doubts if one.id == name]
    return f"{one.text} {one.remedy}"


def test_folders_classes_parts_and_patients_are_counted(tmp_path: Path) -> None:
    for part, patients in (("Training", range(12)), ("test_set", range(20, 32))):
        for label in ("ill", "well"):
            for i in patients:
                write(tmp_path / part / label / f"p{i}_1.png", f"{part}{label}{i}")
    write(tmp_path / "test_set" / "well" / "q.png", "q")
    (tmp_path / "Training" / "ill" / "notes.svg").write_text("<svg/>")
    (tmp_path / "labels.csv").write_text("a,b\n")
    seen = look(tmp_path, split="parts", group_regex=PATIENTS, positive=["ill"])
    assert (seen.images, seen.layout, seen.disease_by) == (49, "part/class", "user")
    assert [(f.role, f.name, f.meaning, f.images) for f in seen.folders] == [
        ("part", "Training", "train", 24),
        ("part", "test_set", "test", 25),
        ("class", "ill", "ill", 24),
        ("class", "well", "well", 25),
    ]
    ill, well = seen.classes
    assert (ill.name, ill.images, ill.disease, ill.folders) == (
        *("ill", 24, True),
        {"train": 12, "test": 12},
    )
    assert well.parts["test"] == 13
    assert sum(well.parts.values()) == 25
    train, val, test = seen.parts
    assert (test.name, test.images, test.patients, test.unknown) == ("test", 25, 12, 1)
    assert train.images + val.images == 24
    assert (seen.patients.known, seen.patients.unknown) == (24, 1)
    assert seen.patients.named_by == "data.group_regex"
    assert seen.patients.examples["Training/ill/p0_1"] == "p0"
    assert {(one.why, one.files) for one in seen.left_out} == {
        ("for .svg is not read", 1),
        ("for .csv is no image", 1),
    }
    assert [note for note in seen.notes if ".csv" in note] == [], "nobody takes it for an image"
    assert notes(seen) == ["The patient is unknown for 1 of 49 images."]
    lines = list(head(seen))
    assert "  Training: part train" in lines
    assert not any("class ill" in line for line in lines), "it is called so"
    assert seen.usable


def test_it_is_plain_json_and_the_same_twice(tmp_path: Path) -> None:
    tree(tmp_path)
    config = settings(tmp_path)
    one, two = (inspect(config, seed=3, near=True, sheet=True) for _ in range(2))
    assert one == two
    said = json.loads(json.dumps(one.as_dict(), allow_nan=False))
    assert said["version"] == 1
    assert said["usable"] is True
    assert said["classes"][1]["name"] == "malignant"
    assert "sheet" not in said
    assert len(one.sheet) == 6
    moved = shutil.copytree(tmp_path, tmp_path / "elsewhere" / "set")
    again = inspect(settings(moved), seed=3, sheet=True)
    drawn = [[image.image_id for image in strip.shown] for strip in one.sheet]
    assert drawn == [[image.image_id for image in strip.shown] for strip in again.sheet]
    other = inspect(config, seed=4, sheet=True)
    assert drawn != [[image.image_id for image in strip.shown] for strip in other.sheet]


def test_the_sheet_has_images_of_each_class_and_part(tmp_path: Path) -> None:
    tree(tmp_path, n=20)
    write(tmp_path / "benign" / "wide.png", "wide", size=(320, 160))
    sheet = inspect(settings(tmp_path), sheet=True).sheet
    assert [(strip.label, strip.part, strip.images) for strip in sheet][:3] == [
        ("benign", "train", 16),
        ("benign", "val", 2),
        ("benign", "test", 3),
    ]
    assert all(len(strip.shown) == min(6, strip.images) for strip in sheet)
    assert all(one.uri.startswith("data:image/jpeg;base64,") for s in sheet for one in s.shown)
    assert all(max(one.width, one.height) == 112 for strip in sheet for one in strip.shown)


def test_headers_say_format_mode_size_and_orientation(tmp_path: Path) -> None:
    tree(tmp_path)
    turned = Image.Exif()
    turned[274] = 6
    write(tmp_path / "benign" / "turned.jpg", "t", size=(64, 40), exif=turned)
    Image.new("RGBA", (40, 48), "red").save(tmp_path / "benign" / "alpha.png")
    seen = look(tmp_path)
    assert seen.pixels is not None
    assert seen.pixels.formats == {"PNG": 25, "JPEG": 1}
    assert seen.pixels.modes == {"L": 25, "RGBA": 1}
    sizes = {(size.width, size.height): size.images for size in seen.pixels.sizes}
    assert sizes == {(32, 32): 24, (40, 64): 1, (40, 48): 1}
    assert seen.pixels.turned == 1
    assert (seen.pixels.sampled, seen.pixels.coloured) == (26, 1)
    largest = seen.pixels.largest
    assert largest is not None
    assert largest.example.endswith("turned.jpg")
    assert "mixed_colour" in ids(seen)
    assert "turned.jpg has 40 x 64 pixels" in doubt(seen, "odd_size")
    assert "there are 3" in doubt(seen, "aspects")
    assert any(line.startswith("3 sizes from 32 x 32 to 40 x 64") for line in facts(seen.pixels))


def test_an_image_as_large_as_the_others_is_not_odd(tmp_path: Path) -> None:
    seen = look(tree(tmp_path))
    assert ids(seen) == {"patients_unknown"}
    assert seen.pixels is not None
    assert list(facts(seen.pixels)) == [
        "24 PNG",
        "mode L (24)",
        "all 32 x 32",
        "values 0 to 255 of 0 to 255 in a sample of 24",
        "none of them coloured",
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html></html>", "a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"\x00" * 128 + b"DICM" + b"\x00" * 8, "a DICOM file"),
        (b"PK\x03\x04" + b"\xff" * 40, "ZIP"),
        (b"%PDF-1.7\n\xff", "a PDF"),
        (b"no image at all", "it is text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", ""),
    ],
)
@pytest.mark.parametrize("twice", [False, True], ids=["alone", "two of one length"])
def test_a_file_that_cannot_be_read_is_named_with_its_reason(
    content: bytes, why: str, twice: bool, tmp_path: Path
) -> None:
    tree(tmp_path)
    (tmp_path / "benign" / "bad.png").write_bytes(content)
    if twice:
        (tmp_path / "malignant" / "worse.png").write_bytes(content)
    seen = look(tmp_path)
    assert [Path(one.path).name for one in seen.broken] == ["bad.png", "worse.png"][: 1 + twice]
    assert all(why in one.why and "BytesIO" not in one.why for one in seen.broken)
    assert not seen.usable
    assert "data.on_bad_image=skip" in doubt(seen, "broken")
    skipping = look(tmp_path, on_bad_image="skip")
    assert skipping.usable
    assert sum(part.images for part in skipping.parts) == 24


def test_a_dangling_link_and_nothing_but_broken_files_are_said(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "benign" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert [one.why for one in look(tmp_path).broken] == ["No such file or directory"]
    for path in tmp_path.rglob("*.png"):
        path.unlink()
        path.write_bytes(b"")
    for choice in ("raise", "skip"):
        seen = look(tmp_path, on_bad_image=choice)
        assert not seen.usable
        assert "there is no other" in doubt(seen, "broken")
        assert seen.pixels is not None
        assert list(facts(seen.pixels)) == ["none can be read"]


def test_what_has_a_header_and_no_pixels_is_named_where_the_sample_meets_it(
    tmp_path: Path,
) -> None:
    tree(tmp_path)
    whole = write(tmp_path / "whole.jpg", "whole").read_bytes()
    (tmp_path / "whole.jpg").unlink()
    (tmp_path / "benign" / "cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    Image.fromarray(np.ones((SIDE, SIDE), np.float32)).save(tmp_path / "benign" / "float.tif")
    seen = look(tmp_path)
    assert [Path(one.path).name for one in seen.broken] == ["cut.jpg", "float.tif"]
    assert "truncated" in seen.broken[0].why
    assert "32-bit" in seen.broken[1].why
    assert seen.pixels is not None
    assert seen.pixels.formats == {"PNG": 24}
    assert not seen.usable
    assert sum(part.images for part in look(tmp_path, on_bad_image="skip").parts) == 24


def test_two_depths_are_a_doubt(tmp_path: Path) -> None:
    tree(tmp_path)
    twelve_bits(tmp_path / "benign" / "deep.png", 65535)
    assert "1 of 25 images have 16 bits" in doubt(look(tmp_path), "mixed_depth")


def test_duplicates_are_found_within_and_across_parts_and_classes(tmp_path: Path) -> None:
    tree(tmp_path, n=20)
    for name in ("a", "b", "c"):
        shutil.copy(tmp_path / "benign" / "pb0_1.png", tmp_path / "benign" / f"{name}.png")
    shutil.copy(tmp_path / "benign" / "pb1_1.png", tmp_path / "malignant" / "same.png")
    found = look(tmp_path).duplicates
    assert found is not None
    assert (found.sets, found.images, found.across_classes) == (2, 6, 1)
    sets = {frozenset(place.image_id for place in one) for one in found.examples}
    assert sets == {
        frozenset({"benign/pb0_1", "benign/a", "benign/b", "benign/c"}),
        frozenset({"benign/pb1_1", "malignant/same"}),
    }
    assert "benign/pb1_1" in doubt(look(tmp_path), "duplicates_across_classes")


def test_duplicates_across_parts_are_named_with_their_parts(tmp_path: Path) -> None:
    for part in ("train", "test"):
        tree(tmp_path / part)
        for path in (tmp_path / part).rglob("*.png"):
            write(path, path)
    shutil.copy(
        tmp_path / "train" / "benign" / "pb0_1.png", tmp_path / "test" / "benign" / "again.png"
    )
    seen = look(tmp_path, split="parts")
    assert seen.duplicates is not None
    assert (seen.duplicates.across_parts, seen.duplicates.across_classes) == (1, 0)
    assert "test/benign/again (test, benign)" in doubt(seen, "duplicates_across_parts")
    assert seen.overlap is not None
    assert "byte-identical" in seen.overlap.sentence()


def test_a_file_of_a_length_of_its_own_is_not_hashed(tmp_path: Path) -> None:
    one = write(tmp_path / "a.png", 1)
    two = write(tmp_path / "b.png", 2, size=(64, 64))
    three = tmp_path / "c.png"
    shutil.copy(one, three)
    found = [
        each.digest
        for each in headers([Record(p, p.name, "x") for p in (one, two, three)])
        if isinstance(each, Header)
    ]
    assert found[1] is None
    assert found[0] == found[2] is not None


def test_near_equal_images_are_found_where_asked_for(tmp_path: Path) -> None:
    tree(tmp_path)
    with Image.open(tmp_path / "benign" / "pb0_1.png") as image:
        image.resize((96, 96), Image.Resampling.BICUBIC).save(tmp_path / "malignant" / "big.png")
    shutil.copy(tmp_path / "benign" / "pb1_1.png", tmp_path / "benign" / "copy.png")
    config = settings(tmp_path)
    assert inspect(config).near is None
    seen = inspect(config, near=True)
    assert seen.near is not None
    [one] = seen.near.examples
    assert {place.image_id for place in one} == {"benign/pb0_1", "malignant/big"}
    assert "nearly equal in their pixels" in doubt(seen, "near_across_classes")


def test_patients_in_two_parts_have_a_remedy(tmp_path: Path) -> None:
    for label in ("benign", "malignant"):
        for i in range(40):
            write(tmp_path / label / f"p{i % 12}_{i}.png", f"{label}{i}")
    seen = look(tmp_path, group_regex=PATIENTS)
    assert "data.split=patient" in doubt(seen, "patients_in_two_parts")
    held_out = look(tmp_path, group_regex=PATIENTS, split="patient")
    assert "patients_in_two_parts" not in ids(held_out)
    assert "data.split=patient_cv data.folds=5" in doubt(held_out, "few_test_patients")


def test_unknown_patients_are_a_doubt_and_no_few_patients(tmp_path: Path) -> None:
    seen = look(tree(tmp_path), split="patient")
    assert "24 of 24 images" in doubt(seen, "patients_unknown")
    assert "a patient of its own" in doubt(seen, "patients_unknown")
    assert "few_test_patients" not in ids(seen)


def test_ten_test_patients_are_enough(tmp_path: Path) -> None:
    for part, patients in (("train", range(20)), ("test", range(30, 40))):
        for label in ("benign", "malignant"):
            for i in patients:
                write(tmp_path / part / label / f"p{i}_1.png", f"{part}{label}{i}")
    seen = look(tmp_path, split="parts", group_regex=PATIENTS)
    assert seen.doubts == ()
    (tmp_path / "test" / "benign" / "p39_1.png").unlink()
    (tmp_path / "test" / "malignant" / "p39_1.png").unlink()
    assert "has 9 patients" in doubt(
        look(tmp_path, split="parts", group_regex=PATIENTS), "few_test_patients"
    )


def test_a_class_in_one_part_is_named(tmp_path: Path) -> None:
    for part, labels in (("train", "abc"), ("test", "ab")):
        for label in labels:
            for i in range(12):
                write(tmp_path / part / label / f"{part}{i}.png", f"{part}{label}{i}")
    seen = look(tmp_path, layout="part/class", positive=["c"])
    assert "class c stands in train alone" in doubt(seen, "class_in_one_part")
    assert seen.usable, "by image it can be shared out"
    top, rows = columns(seen)
    assert top == ["class", "images", "train", "val", "test", "test (folder)", "train (folder)"]
    assert rows[2][-2:] == ["0", "12"]
    whole = look(tmp_path, layout="part/class", positive=["c"], split="parts")
    assert not whole.usable
    assert "no image of class 'c'" in doubt(whole, "no_split")
    assert whole.parts == ()
    assert columns(whole)[0] == ["class", "images", "test", "train"]


def test_a_crop_without_room_stops(tmp_path: Path) -> None:
    tree(tmp_path)
    write(tmp_path / "benign" / "tiny.png", "tiny", size=(40, 20))
    assert "tiny.png" in doubt(look(tmp_path), "crop")
    assert not look(tmp_path).usable
    assert look(tmp_path, resize=SIDE).usable


def twelve_bits(path: Path, high: int) -> None:
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, high, (SIDE, SIDE), np.uint16)
    pixels[0, :2] = 0, high
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("high", "white"), [(4080, "data.white=4095"), (1000, "data.white=1023"), (65535, None)]
)
def test_a_range_under_a_quarter_is_a_doubt(high: int, white: str | None, tmp_path: Path) -> None:
    for label in ("benign", "malignant"):
        for i in range(6):
            twelve_bits(tmp_path / label / f"{i}.png", high)
    seen = look(tmp_path)
    assert seen.pixels is not None
    [used] = seen.pixels.ranges
    assert (used.white, used.low, used.high, used.images) == (65535, 0, high, 12)
    if white is None:
        assert "narrow_range" not in ids(seen)
    else:
        assert white in doubt(seen, "narrow_range")


def test_dark_eight_bits_are_a_doubt_too(tmp_path: Path) -> None:
    for label in ("benign", "malignant"):
        for i in range(6):
            path = tmp_path / label / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((SIDE, SIDE), i + 3, np.uint8)).save(path)
    assert "3 to 8 of 255" in doubt(look(tmp_path), "narrow_range")


Change = Callable[[Path, int], None]


def as_jpeg(path: Path, i: int) -> None:
    with Image.open(path) as image:
        image.save(path.with_suffix(".jpg"))
    path.unlink()


def as_colour(path: Path, i: int) -> None:
    rng = np.random.default_rng(i)
    Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(path)


def as_large(path: Path, i: int) -> None:
    write(path, i, size=(40 + i, 40 + 2 * i))


def as_turned(path: Path, i: int) -> None:
    turned = Image.Exif()
    turned[274] = 3
    with Image.open(path) as image:
        image.save(path, exif=turned)


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (as_jpeg, {"format"}),
        (as_colour, {"mode", "colour"}),
        (as_large, {"size"}),
        (as_turned, {"orientation_tag"}),
        (lambda path, i: write(path, i, size=(48, 48)), {"size"}),
    ],
    ids=["format", "colour", "many sizes", "orientation", "one size"],
)
def test_what_gives_a_class_away_is_a_doubt(
    change: Change, kinds: set[str], tmp_path: Path
) -> None:
    tree(tmp_path, n=20)
    for i, path in enumerate(sorted((tmp_path / "benign").iterdir())):
        change(path, i)
    found = {one.removeprefix("giveaway_") for one in ids(look(tmp_path)) if "giveaway" in one}
    assert found == kinds


def test_few_images_and_mixed_classes_give_nothing_away() -> None:
    def read(label: str, n: int, jpeg: int) -> list[tuple[Record, Header]]:
        return [
            (
                Record(Path(f"{label}{i}"), f"{label}{i}", label),
                Header("JPEG" if i < jpeg else "PNG", "L", 32, 32, False, None),
            )
            for i in range(n)
        ]

    assert giveaways([*read("a", 9, 9), *read("b", 100, 0)], {}) == ()
    assert giveaways([*read("a", 40, 37), *read("b", 40, 0)], {}) == (), "92 %"
    assert giveaways([*read("a", 40, 40), *read("b", 40, 3)], {}) == (), "7 % of the others"
    [one, other] = giveaways([*read("a", 40, 39), *read("b", 40, 1)], {})
    assert (one.label, one.value, one.inside, one.outside) == ("a", "JPEG", 39, 1)
    assert (other.label, other.value) == ("b", "PNG")


def test_a_class_of_larger_images_is_given_away_by_their_area() -> None:
    def read(label: str, sides: range) -> list[tuple[Record, Header]]:
        return [
            (
                Record(Path(f"{label}{side}"), f"{label}{side}", label),
                Header("PNG", "L", side, 2 * side, False, None),
            )
            for side in sides
        ]

    [one] = giveaways([*read("a", range(100, 140)), *read("b", range(60, 100))], {})
    assert (one.property, one.label, one.outside) == ("size", "a", 0)
    assert one.value == f"at least {2 * 102**2} pixels"
    assert giveaways([*read("a", range(100, 140)), *read("b", range(80, 120))], {}) == ()


def test_a_sample_depends_on_the_seed_and_not_on_the_order() -> None:
    records = [Record(Path(str(i)), str(i), "x") for i in range(20)]
    assert drawn(records, 1) == drawn(records[::-1], 1)
    assert drawn(records, 1) != drawn(records, 2)


def test_findings_are_counted_where_an_image_may_show_several(tmp_path: Path) -> None:
    shown = [("mass",), ("mass", "nodule"), (), ("nodule",)] * 4
    records = tuple(
        Record(
            path=write(tmp_path / f"{i}.png", i),
            image_id=str(i),
            label="|".join(found) or "none",
            part=("train", "test")[i >= 8],
            findings=found,
        )
        for i, found in enumerate(shown)
    )
    selection = Selection(
        records=records,
        classes=("mass", "nodule"),
        positive=(0, 1),
        found={"mass": 8, "nodule": 8},
        kind="multilabel",
    )
    seen = seen_in(settings(tmp_path), selection, records, None, None, seed=0)
    counts = {one.name: (one.images, one.folders, one.disease) for one in seen.classes}
    assert counts == {
        "mass": (8, {"train": 4, "test": 4}, True),
        "nodule": (8, {"train": 4, "test": 4}, True),
        "none": (4, {"train": 2, "test": 2}, False),
    }
    assert seen.kind == "multilabel"


def test_of_breakhis_what_was_not_chosen_is_left_out(tmp_path: Path) -> None:
    for i, kind in enumerate(("B_A", "B_F", "M_DC", "M_LC")):
        for n in range(1, 5):
            write(tmp_path / f"SOB_{kind}-14-100{i}-100-00{n}.png", f"{kind}{n}")
    config = BreakHisData.model_validate({"root": tmp_path, "split": "paper", "crop": SIDE})
    seen = inspect(config)
    [gone] = seen.left_out
    assert (gone.files, "subtype" in gone.why, "M_LC" in gone.example) == (4, True, True)
    assert seen.patients.named_by == "the source"
    assert seen.folders == ()


def test_the_start_of_a_job_says_it_in_a_dozen_lines(tmp_path: Path) -> None:
    seen = look(tree(tmp_path), split="paper")
    lines = compact(seen, [(32, 32), (40, 64)])
    assert len(lines) <= 12
    assert "train: 9 benign, 9 malignant" in lines
    assert "Disease: malignant, only because its name comes last in the alphabet." in lines
    assert "Images: 32 x 32 to 40 x 64 pixels." in lines


def test_more_left_out_than_taken_is_a_doubt(tmp_path: Path) -> None:
    seen = look(tree(tmp_path, n=5), exclude=["*/pb[1-4]_1.png"], split="paper", layout="class")
    assert "most_left_out" not in ids(seen)
    tree(tmp_path / "benign" / "raw", n=12)
    seen = look(tmp_path, exclude=["*/raw/*"], split="paper", layout="class")
    assert "data.exclude" in doubt(seen, "most_left_out")


def test_threads_keep_the_order_and_hand_errors_on() -> None:
    assert list(in_threads(lambda x: x * x, range(1000))) == [x * x for x in range(1000)]
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda x: 1 // x, [1, 0]))


def test_values_are_in_the_units_of_the_file(tmp_path: Path) -> None:
    twelve_bits(tmp_path / "a.png", 4000)
    pixels, white = values(tmp_path / "a.png")
    assert (str(pixels.dtype), int(pixels.max()), white) == ("uint16", 4000, 65535)
    pixels, white = values(write(tmp_path / "b.png", 0))
    assert (pixels.shape, white) == ((SIDE, SIDE), 255)


def test_what_pillow_warns_of_stays_out_of_the_terminal(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path)
    # Pillow warns from here on, and refuses at twice as many.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIDE * SIDE - 1)
    assert look(tmp_path).usable
    assert list(recwarn) == []


def test_the_white_of_a_job_is_that_of_the_range(tmp_path: Path) -> None:
    for label in ("benign", "malignant"):
        for i in range(6):
            twelve_bits(tmp_path / label / f"{i}.png", 4000)
    seen = look(tmp_path, white=4095)
    assert seen.pixels is not None
    assert [(used.white, used.high) for used in seen.pixels.ranges] == [(4095, 4000)]
    assert "narrow_range" not in ids(seen)
    above = look(tmp_path, white=1023)
    assert len(above.broken) == 12
    assert "data.white" in above.broken[0].why


def test_a_thumbnail_among_images_is_a_doubt(tmp_path: Path) -> None:
    for label in "ab":
        for i in range(6):
            Image.new("RGB", (60, 60), (i * 30, 9, 9)).save(made(tmp_path / label) / f"{i}.png")
    assert "tiny_size" not in ids(look(tmp_path))
    Image.new("RGB", (9, 9)).save(tmp_path / "a" / "thumb.png")
    assert "tiny_size" in ids(look(tmp_path))


def made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_images_of_an_array_are_looked_at_one_by_one(tmp_path: Path) -> None:
    import h5py

    values = np.random.default_rng(0).integers(0, 256, (4, 40, 50, 3), np.uint8)
    values[3] = values[1]
    np.savez(tmp_path / "x.npz", train_images=values)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=values)
    for name, kind in (("x.npz", "NPZ"), ("x.h5", "HDF5")):
        seen = headers([Record(tmp_path / name, f"a/{i}", "a", frame=i) for i in range(5)])
        one = [each for each in seen if not isinstance(each, str)]
        assert [(h.format, h.mode, h.width, h.height) for h in one] == [
            (kind, "8 bits", 50, 40)
        ] * 4
        assert one[1].digest == one[3].digest
        assert len({each.digest for each in one}) == 3
        assert isinstance(seen[4], str)


def test_images_of_an_array_are_asked_for_in_its_order(tmp_path: Path) -> None:
    asked: list[str] = []
    places = [
        ("b.npz", 2),
        ("a.png", None),
        ("b.npz", 0),
        ("a.npz", 9),
        ("b.npz", 1),
        ("c.png", None),
    ]
    records = [Record(tmp_path / name, f"{name}/{n}", "a", frame=n) for name, n in places]

    def work(record: Record) -> str:
        asked.append(record.image_id)
        return record.image_id

    assert of_each(work, records) == [record.image_id for record in records]
    assert [one for one in asked if "npz" in one] == ["a.npz/9", "b.npz/0", "b.npz/1", "b.npz/2"]
