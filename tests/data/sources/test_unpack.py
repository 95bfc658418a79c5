"""Archives that mean harm, and damaged ones."""

from __future__ import annotations

import copy
import gzip
import random
import tarfile
from contextlib import suppress
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from bcadv.data.sources import unpack as unpack_module
from bcadv.data.sources.unpack import unpacked
from bcadv.errors import BcadvError
from tests.data.sources.archives import member, packed

HOSTILE = {
    "absolute": [member("{here}/escaped", 3)],
    "upwards": [member("../escaped", 3)],
    "upwards inside": [member("a/../../escaped", 3)],
    "drive": [member("C:escaped", 3)],
    "backslashes": [member("a\\..\\..\\escaped", 3)],
    "link outwards": [member("a", kind=tarfile.SYMTYPE, link=".."), member("a/escaped", 3)],
    "link inwards": [member("a", 3), member("b", kind=tarfile.SYMTYPE, link="a")],
    "hard link": [member("a", kind=tarfile.LNKTYPE, link="../secret"), member("a", 3)],
    "character device": [member("a", kind=tarfile.CHRTYPE)],
    "block device": [member("a", kind=tarfile.BLKTYPE)],
    "pipe": [member("a", kind=tarfile.FIFOTYPE)],
}


def unpack(content: bytes, place: Path, max_bytes: int = 100_000) -> list[str]:
    archive = place / "archive.tgz"
    archive.write_bytes(content)
    with unpacked(archive, place, max_bytes=max_bytes, progress=False) as folder:
        return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_member_ends_the_work(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (tmp_path / "secret").write_text("secret")
    hostile = copy.deepcopy(HOSTILE[kind])
    for each in hostile:
        each.name = each.name.format(here=tmp_path)
    with pytest.raises(BcadvError, match=r"archive\.tgz.*it was refused"):
        unpack(packed({"good": b"x"}, *hostile), place)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["archive.tgz", "place", "secret"]
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_harmless_archive_is_unpacked_without_its_modes(tmp_path: Path) -> None:
    info = member("tool", 3)
    info.mode = 0o4777
    archive = tmp_path / "archive.tgz"
    archive.write_bytes(packed({"d/f": b"x"}, info))
    with unpacked(archive, tmp_path, max_bytes=100, progress=False) as folder:
        assert (folder / "tool").stat().st_mode & 0o7111 == 0
        assert (folder / "d" / "f").read_bytes() == b"x"
    assert not folder.exists()


def test_a_member_beyond_the_limit_is_not_unpacked(tmp_path: Path) -> None:
    content = packed({}, member("zeros", 3_000_000))
    assert len(content) < 30_000
    with pytest.raises(BcadvError, match="more than 100000 bytes"):
        unpack(content, tmp_path)


def test_many_small_members_are_counted_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = packed({str(number): b"0123456789" for number in range(30)})
    assert len(unpack(content, tmp_path, 300)) == 30
    with pytest.raises(BcadvError, match="more than 299 bytes"):
        unpack(content, tmp_path, 299)
    monkeypatch.setattr(unpack_module, "MAX_MEMBERS", 29)
    with pytest.raises(BcadvError, match="29 members"):
        unpack(content, tmp_path)


def test_a_header_that_claims_all_memory_is_not_believed(tmp_path: Path) -> None:
    header = member("pax", 8 * 1024**3, tarfile.XHDTYPE).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(BcadvError, match="a header claims 8589934592 bytes"):
        unpack(gzip.compress(header + bytes(10_240)), tmp_path)


def test_a_stream_that_never_ends_is_left(tmp_path: Path) -> None:
    content = gzip.compress(gzip.decompress(packed({"f": b"x"})) + bytes(5_000_000))
    with pytest.raises(BcadvError, match="goes on after its end mark"):
        unpack(content, tmp_path)


@pytest.mark.parametrize("others", [["f/g"], ["d/e", "d"]])
def test_a_file_in_the_place_of_a_folder_is_one_clear_message(
    others: list[str], tmp_path: Path
) -> None:
    with pytest.raises(BcadvError, match="is damaged"):
        unpack(packed({"f": b"x"}, *(member(name, 3) for name in others)), tmp_path)


@pytest.mark.parametrize(
    "damage", ["cut", "garbled", "checksum", "not gzip", "not tar", "empty", "null byte"]
)
def test_a_damaged_archive_is_one_clear_message(damage: str, tmp_path: Path) -> None:
    content = packed({"f": random.Random(0).randbytes(40_000).hex().encode()})
    # The length of the second uncompressed block contradicts its complement.
    stored = bytearray(gzip.compress(gzip.decompress(content), compresslevel=0))
    stored[10 + 5 + int.from_bytes(stored[11:13], "little") + 3] ^= 0xFF
    odd = member("x")
    odd.pax_headers = {"path": "a\0b"}
    broken = {
        "cut": content[:5000],
        "garbled": bytes(stored),
        "checksum": content[:-8] + bytes(8),
        "not gzip": gzip.decompress(content),
        "not tar": gzip.compress(b"<html>moved</html>" * 100),
        "empty": b"",
        "null byte": packed({}, odd),
    }[damage]
    with pytest.raises(BcadvError, match=r"archive\.tgz is damaged or no gzip-compressed tar"):
        unpack(broken, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["archive.tgz"]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), compressed=st.booleans())
def test_garbled_archives_never_end_in_another_error(
    tmp_path: Path, seed: int, compressed: bool
) -> None:
    draw = random.Random(seed)
    content = packed({"d/f": draw.randbytes(2000).hex().encode(), "g": b"x"})
    garbled = bytearray(content if compressed else gzip.decompress(content)[:6000])
    for _ in range(draw.randint(1, 3)):
        garbled[draw.randrange(len(garbled))] = draw.randrange(256)
    # What the disk itself refuses, such as a name that is too long, is told by make_available.
    with suppress(BcadvError, OSError):
        unpack(bytes(garbled) if compressed else gzip.compress(garbled), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name != "archive.tgz"]
