"""File names, the walk over files, and the atomic write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcadv.data.records import (
    BENIGN_SUBTYPES,
    MAGNIFICATIONS,
    MALIGNANT_SUBTYPES,
    SUBTYPES,
    image_files,
    parse_name,
)
from bcadv.errors import BcadvError
from bcadv.files import write_atomically


@given(
    subtype=st.sampled_from(SUBTYPES),
    case=st.tuples(st.sampled_from(["14", "15"]), st.integers(1, 99_999)),
    letters=st.text("ABCDEFG", max_size=2),
    image=st.tuples(st.sampled_from(MAGNIFICATIONS), st.integers(1, 999)),
    ending=st.sampled_from(["", ".png"]),
)
def test_every_piece_of_a_name_comes_back(
    subtype: str, case: tuple[str, int], letters: str, image: tuple[int, int], ending: str
) -> None:
    tumour = "B" if subtype in BENIGN_SUBTYPES else "M"
    patient = f"{case[0]}-{case[1]}"
    stem = f"SOB_{tumour}_{subtype}-{patient}{letters}-{image[0]}-{image[1]:03d}"
    name = parse_name(stem + ending)
    assert name.image_id == stem
    assert name.malignant == (subtype in MALIGNANT_SUBTYPES)
    assert (name.subtype, name.letters) == (subtype, letters)
    assert (name.magnification, name.sequence) == image
    assert name.patient == patient
    assert name.slide == f"{patient}{letters}"


def test_letters_tell_slides_apart_and_not_patients() -> None:
    one = parse_name("SOB_B_F-14-21998AB-100-001.png")
    other = parse_name("SOB_B_PT-14-21998CD-100-001.png")
    assert one.patient == other.patient == "14-21998"
    assert (one.slide, other.slide) == ("14-21998AB", "14-21998CD")


@pytest.mark.parametrize(
    ("name", "piece"),
    [
        ("SOB_M_DC-14-2523-100.png", "SOB_M_DC-14-2523-100-001.png"),
        ("XSOB_M_DC-14-2523-100-001.png", "expected"),
        ("SOB_M_DC-14-2523-100-001.jpg", "expected"),
        ("SOB_M_DC-14-2523-100-001.png\n", "expected"),
        ("SOB_M_DC-14-2523ab-100-001.png", "expected"),
        ("SOB_B_DC-14-2523-100-001.png", "subtype 'DC' is none of A, F, PT, TA"),
        ("SOB_M_XX-14-2523-100-001.png", "subtype 'XX'"),
        ("SOB_M_DC-14-2523-300-001.png", "magnification 300"),
    ],
)
def test_a_wrong_name_is_refused_for_its_reason(name: str, piece: str) -> None:
    with pytest.raises(BcadvError, match=piece) as caught:
        parse_name(name)
    assert name in str(caught.value)


@pytest.mark.shared_data
def test_every_official_name_is_understood(shared_data: Path) -> None:
    rows = (shared_data / "breakhis_folds" / "dsfold1.txt").read_text().splitlines()
    names = [parse_name(row.split("|")[0]) for row in rows]
    assert len(names) == 7909
    assert len({name.slide for name in names}) == 81
    assert len({name.patient for name in names}) == 70


def test_the_walk_follows_links_once_and_leaves_hidden_files_out(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "a.PNG").touch()
    (tmp_path / "real" / "._a.png").touch()
    (tmp_path / "real" / "a.txt").touch()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "b.png").touch()
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "c.png").touch()
    (tmp_path / "link").symlink_to(outside, target_is_directory=True)
    (tmp_path / "real" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert sorted(p.name for p in image_files(tmp_path, {".png"})) == ["a.PNG", "c.png"]


@pytest.mark.parametrize("name", [b"benign/caf\xe9.png", b"caf\xe9/a.png"])
def test_a_name_that_is_not_utf8_is_refused_by_its_bytes(tmp_path: Path, name: bytes) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    file.parent.mkdir()
    file.touch()
    with pytest.raises(BcadvError, match=r"caf\\xe9.* is not UTF-8.*rename"):
        list(image_files(tmp_path, {".png"}))


def test_what_is_called_like_an_image_must_be_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BcadvError, match=r"pipe\.png is called like an image and is no file"):
        list(image_files(tmp_path, {".png"}))


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new" * 100_000 + "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
