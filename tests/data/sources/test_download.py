"""BreakHis from the server to a complete tree."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bcadv.data.sources import download as command
from bcadv.data.sources.download import (
    FOLD_LISTS,
    OFFICIAL,
    Inventory,
    main,
    make_available,
    missing_data_message,
)
from bcadv.errors import BcadvError
from tests.data.sources.archives import packed
from tests.http_server import Served, Server

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


def images(names: tuple[str, ...] = NAMES) -> bytes:
    files = {official_path(name): random.Random(name).randbytes(20_000) for name in names}
    return packed({"BreaKHis_v1/README.txt": b"hello", "BreaKHis_v1/._x.png": b""} | files)


def fold_lists(names: tuple[str, ...] = NAMES) -> dict[str, bytes]:
    rows = "".join(f"{name}|{name.split('-')[3]}|1|train\n" for name in names)
    return {f"mkfold/{name}": rows.encode() for name in FOLD_LISTS}


@pytest.fixture
def install(server: Server, tmp_path: Path) -> Callable[..., Path]:
    server.offer("/images", Served(images()))
    server.offer("/folds", Served(packed(fold_lists())))

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
from bcadv.data.sources.download import make_available
from tests.data.sources.test_download import SMALL
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
    repository = Path(__file__).parents[3]
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
    code = "import sys, bcadv.data.sources.download; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_message_for_missing_data_names_both_ways(tmp_path: Path) -> None:
    said = missing_data_message(tmp_path)
    way = f"bcadv data download={tmp_path}"
    for part in (str(tmp_path), "make data", way, "data.root", "BreaKHis_v1", "data=synthetic"):
        assert part in said
