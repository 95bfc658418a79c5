"""BreakHis from the server to a complete tree, and archives that mean harm."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import hashlib
import io
import random
import shutil
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from bcadv import fetch
from bcadv.data import download as command
from bcadv.data.download import (
    FOLD_LISTS,
    OFFICIAL,
    Inventory,
    main,
    make_available,
    missing_data_message,
    unpacked,
)
from bcadv.errors import BcadvError
from tests.http_server import Served, Server, running_server

NAMES = (
    "SOB_B_A-14-22549AB-40-001.png",
    "SOB_B_F-14-9133-100-001.png",
    "SOB_M_DC-14-2523-100-001.png",
    "SOB_M_DC-14-2523-100-002.png",
)
SMALL = Inventory(
    names_sha256=hashlib.sha256("\n".join(NAMES).encode()).hexdigest(),
    counts={(40, "A"): 1, (100, "F"): 1, (100, "DC"): 2},
    archive_bytes=10_000,
    unpacked_bytes=1_000_000,
)
SUBTYPE_FOLDERS = {
    "A": "benign/SOB/adenosis",
    "F": "benign/SOB/fibroadenoma",
    "PT": "benign/SOB/phyllodes_tumor",
    "TA": "benign/SOB/tubular_adenoma",
    "DC": "malignant/SOB/ductal_carcinoma",
    "LC": "malignant/SOB/lobular_carcinoma",
    "MC": "malignant/SOB/mucinous_carcinoma",
    "PC": "malignant/SOB/papillary_carcinoma",
}


def official_path(name: str) -> str:
    """Where the official tree keeps an image."""
    head, year, slide, magnification, _ = name.split("-")
    folder = SUBTYPE_FOLDERS[head.split("_")[2]]
    case = f"{head}_{year}-{slide}/{magnification}X"
    return f"BreaKHis_v1/histology_slides/breast/{folder}/{case}/{name}"


def member(
    name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def packed(files: Mapping[str, bytes], *others: tarfile.TarInfo) -> bytes:
    """A gzip-compressed tar with these files, and these members in front of them."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as tar:
        for info in others:
            tar.addfile(info, io.BytesIO(bytes(info.size)))
        for name, content in files.items():
            tar.addfile(member(name, len(content)), io.BytesIO(content))
    return gzip.compress(memory.getvalue(), compresslevel=1, mtime=0)


def images(names: tuple[str, ...] = NAMES) -> bytes:
    files = {official_path(name): random.Random(name).randbytes(20_000) for name in names}
    return packed({"BreaKHis_v1/README.txt": b"hello", "BreaKHis_v1/._x.png": b""} | files)


def fold_lists(names: tuple[str, ...] = NAMES) -> dict[str, bytes]:
    rows = "".join(f"{name}|{name.split('-')[3]}|1|train\n" for name in names)
    return {f"mkfold/{name}": rows.encode() for name in FOLD_LISTS}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.0)
    with running_server() as running:
        running.offer("/images", Served(images()))
        running.offer("/folds", Served(packed(fold_lists())))
        yield running


@pytest.fixture
def install(server: Server, tmp_path: Path) -> Callable[..., Path]:
    def run(archive: Path | None = None, inventory: Inventory = SMALL) -> Path:
        return make_available(
            tmp_path / "root",
            url=server.url("/images"),
            folds_url=server.url("/folds"),
            archive=archive,
            inventory=inventory,
            progress=False,
        )

    return run


def found(tree: Path) -> list[str]:
    return sorted(path.name for path in tree.rglob("SOB_*.png"))


def hidden(root: Path) -> list[str]:
    return [p.name for p in root.iterdir() if p.name.startswith(".") and p.suffix != ".lock"]


# --- the inventory ---------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.parametrize("name", FOLD_LISTS)
def test_the_constants_agree_with_every_official_list(shared_data: Path, name: str) -> None:
    rows = (shared_data / "breakhis_folds" / name).read_text().splitlines()
    names = [row.split("|")[0] for row in rows]
    assert OFFICIAL.holds(names)
    assert OFFICIAL.total == len(names) == 7909
    # Counted from the columns and pieces of the rows, not with the package's own parser.
    cells = Counter((int(row.split("|")[1]), row.split("-")[0].split("_")[2]) for row in rows)
    assert OFFICIAL.counts == cells


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (NAMES[:3], "3 of 4 PNG files; found and expected: 100X DC 1 of 2"),
        ((*NAMES, "SOB_M_PC-14-1-200-001.png"), "200X PC 1 of 0"),
        ((*NAMES[:3], "SOB_M_DC-14-2523-100-003.png"), "the counts agree but some names differ"),
        ((*NAMES[:3], "picture.png"), "1 names that are none of BreakHis, such as 'picture.png'"),
    ],
)
def test_a_difference_is_told_by_magnification_and_subtype(
    names: tuple[str, ...], said: str
) -> None:
    assert SMALL.holds(NAMES[::-1])
    assert not SMALL.holds(names)
    assert said in SMALL.difference(names)


# --- the whole way ---------------------------------------------------------------------------


def test_the_tree_and_the_folds_arrive_whole(install: Callable[..., Path], tmp_path: Path) -> None:
    tree = install()
    assert tree == tmp_path / "root" / "BreaKHis_v1"
    for name in NAMES:
        expected = random.Random(name).randbytes(20_000)
        assert (tmp_path / "root" / official_path(name)).read_bytes() == expected
    for name in FOLD_LISTS:
        assert (tmp_path / "root" / "folds" / name).read_bytes() == fold_lists()[f"mkfold/{name}"]
    assert hidden(tmp_path / "root") == []


def test_a_second_run_asks_for_nothing(install: Callable[..., Path], server: Server) -> None:
    tree = install()
    for archive in tree.parent.glob("*.tar.gz"):
        archive.unlink()
    server.requests.clear()
    assert install() == tree
    assert server.requests == []


def test_a_broken_off_download_goes_on(install: Callable[..., Path], server: Server) -> None:
    server.files["/images"].cuts = [70_000, None]
    assert found(install()) == sorted(NAMES)
    assert [seen.status for seen in server.requests if seen.path == "/images"] == [200, 206]


@pytest.mark.shared_data
def test_an_archive_with_all_official_names_is_accepted(
    shared_data: Path,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shared_data / "breakhis_folds"
    rows = (folder / FOLD_LISTS[0]).read_text().splitlines()
    archive = tmp_path / "by_hand.tgz"
    archive.write_bytes(packed({official_path(row.split("|")[0]): b"x" for row in rows}))
    lists = {f"mkfold/{name}": (folder / name).read_bytes() for name in FOLD_LISTS}
    folds = server.offer("/folds", Served(packed(lists)))
    monkeypatch.setattr(command, "OFFICIAL", dataclasses.replace(OFFICIAL, unpacked_bytes=10**7))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    arguments = ["--root", str(tmp_path / "r"), "--archive", str(archive), "--folds-url", folds]
    assert main(arguments) == 0
    assert len(found(tmp_path / "r" / "BreaKHis_v1")) == 7909
    assert "7909 images" in capsys.readouterr().err
    assert [seen.path for seen in server.requests] == ["/folds"]


def test_an_archive_by_hand_needs_no_server(
    install: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    archive = tmp_path / "mine.tgz"
    archive.write_bytes(images())
    server.files["/folds"].statuses = [404]
    assert found(install(archive)) == sorted(NAMES)
    assert [seen.path for seen in server.requests] == ["/folds"]
    assert archive.exists()


def test_an_archive_without_the_top_folder_is_accepted(
    install: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    files = {official_path(name).removeprefix("BreaKHis_v1/"): b"x" for name in NAMES}
    server.offer("/images", Served(packed(files)))
    install()
    assert (tmp_path / "root" / official_path(NAMES[0])).is_file()


def test_missing_folds_are_a_warning(
    install: Callable[..., Path], server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/folds"].statuses = [404]
    tree = install()
    said = capsys.readouterr().err
    assert "Warning" in said
    assert str(tree.parent / "folds") in said
    assert "folds_url=" in said
    server.requests.clear()
    install()
    assert [seen.path for seen in server.requests] == ["/folds"]


def test_foreign_folds_are_an_error(install: Callable[..., Path], server: Server) -> None:
    server.offer("/folds", Served(packed(fold_lists(NAMES[:3]))))
    with pytest.raises(BcadvError, match=r"not hold the official fold lists: dsfold1\.txt lists"):
        install()


def test_the_first_checksum_holds_for_later_downloads(
    install: Callable[..., Path], server: Server
) -> None:
    tree = install()
    first = hashlib.sha256(images()).hexdigest()
    record = tree.parent / "BreaKHis_v1.tar.gz.sha256"
    assert record.read_text().split() == [first, "BreaKHis_v1.tar.gz"]
    shutil.rmtree(tree)
    (tree.parent / "BreaKHis_v1.tar.gz").unlink()
    server.offer("/images", Served(gzip.compress(gzip.decompress(images()), 9)))
    with pytest.raises(BcadvError, match=r"first complete archive; delete .*sha256") as failure:
        install()
    assert first in str(failure.value)
    assert not tree.exists()
    record.unlink()
    install()


def test_a_bad_archive_is_not_recorded_as_the_first(
    install: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    server.offer("/images", Served(b"<html>moved</html>"))
    with pytest.raises(BcadvError, match=r"damaged or no gzip-compressed tar.*delete it"):
        install()
    assert not list((tmp_path / "root").glob("*.sha256"))


def test_too_little_space_is_said_before_anything_is_fetched(
    install: Callable[..., Path], server: Server
) -> None:
    big = dataclasses.replace(SMALL, unpacked_bytes=10**18)
    with pytest.raises(BcadvError, match=r"GB free and the data set needs about 1000000000\.0 GB"):
        install(inventory=big)
    assert server.requests == []


def test_an_incomplete_archive_is_never_installed(
    install: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    server.offer("/images", Served(images(NAMES[:3])))
    with pytest.raises(BcadvError, match="100X DC 1 of 2"):
        install()
    assert not (tmp_path / "root" / "BreaKHis_v1").exists()
    assert hidden(tmp_path / "root") == []


def test_an_incomplete_tree_is_reported_and_kept(
    install: Callable[..., Path], server: Server
) -> None:
    tree = install()
    next(tree.rglob(NAMES[1])).unlink()
    server.requests.clear()
    with pytest.raises(BcadvError, match=r"100X F 0 of 1.*Move it away"):
        install()
    assert server.requests == []
    assert found(tree) == sorted(set(NAMES) - {NAMES[1]})


def test_a_kill_while_unpacking_leaves_no_tree(
    install: Callable[..., Path], tmp_path: Path
) -> None:
    archive = tmp_path / "mine.tgz"
    archive.write_bytes(images())
    code = f"""
import sys, tarfile, time
from pathlib import Path
from bcadv.data.download import make_available
from tests.data.test_download import SMALL
real, count = tarfile.TarFile.extractfile, 0
def slow(*args, **kwargs):
    global count
    count += 1
    if count == 5:
        print("half", flush=True)
        time.sleep(60)
    return real(*args, **kwargs)
tarfile.TarFile.extractfile = slow
make_available(Path({str(tmp_path / "root")!r}), archive=Path({str(archive)!r}), inventory=SMALL)
"""
    repository = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=repository
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGKILL)
    assert not (tmp_path / "root" / "BreaKHis_v1").exists()
    assert len(list((tmp_path / "root").rglob("SOB_*.png"))) == 2
    assert found(install(archive)) == sorted(NAMES)
    assert hidden(tmp_path / "root") == []


def test_a_wrong_archive_path_is_named(install: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(BcadvError, match="No archive at"):
        install(tmp_path / "nowhere.tgz")


def test_the_command_ends_with_status_2_and_one_message(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "[root] :x:"
    (root / "BreaKHis_v1").mkdir(parents=True)
    assert main(["--root", str(root), "--url", server.url("/nowhere")]) == 2
    said = capsys.readouterr().err
    assert str(root) in said
    assert "0 of 7909 PNG files" in said
    assert "100X DC 0 of 903" in said


def test_an_interrupted_command_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "download", stopped)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    assert main(["--root", str(tmp_path)]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_the_command_starts_without_torch() -> None:
    code = "import sys, bcadv.data.download; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_message_for_missing_data_names_both_ways(tmp_path: Path) -> None:
    said = missing_data_message(tmp_path)
    way = f"bcadv data download={tmp_path}"
    for part in (str(tmp_path), "make data", way, "data.root", "BreaKHis_v1", "data=synthetic"):
        assert part in said


# --- archives that mean harm -----------------------------------------------------------------

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
    monkeypatch.setattr(command, "MAX_MEMBERS", 29)
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


@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
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
