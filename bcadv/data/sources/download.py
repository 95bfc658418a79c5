"""Fetches BreakHis and proves that it is whole: ``bcadv data download=data/breakhis``.

Imports no torch, so the command starts at once.

Source: Spanhol, Oliveira, Petitjean and Heutte, "A Dataset for Breast Cancer Histopathological
Image Classification", IEEE Transactions on Biomedical Engineering 63(7), 2016.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.console import Console

from bcadv.arguments import FILE, FOLDER, HELP, TEXT, Command, Option, from_flags
from bcadv.console import say
from bcadv.data.records import image_files, parse_name
from bcadv.data.sources.breakhis import OFFICIAL_COUNTS
from bcadv.data.sources.unpack import unpacked
from bcadv.errors import BcadvError
from bcadv.fetch import ChecksumError, DownloadError, download

ARCHIVE_URL = "http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz"
FOLDS_URL = "http://www.inf.ufpr.br/vri/databases/mkfold.tar.gz"
"""The official fold lists. The address was not verified, hence ``folds_url=``."""

TREE = "BreaKHis_v1"
FOLDS = "folds"
FOLD_LISTS = tuple(f"dsfold{number}.txt" for number in range(1, 6))

MAX_FOLDS_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class Inventory:
    """What a complete data set consists of.

    Attributes:
        names_sha256: sha256 of the sorted PNG file names, joined by line feeds, in UTF-8.
        counts: number of images for each (magnification, subtype).
        archive_bytes: rough size of the archive, for the disk space check.
        unpacked_bytes: rough size of the unpacked tree; three times as much is taken for an attack.
    """

    names_sha256: str
    counts: Mapping[tuple[int, str], int]
    archive_bytes: int
    unpacked_bytes: int

    @property
    def total(self) -> int:
        """Number of images."""
        return sum(self.counts.values())

    def holds(self, names: Sequence[str]) -> bool:
        """Whether these are exactly the names of the inventory, each once."""
        return _names_sha256(names) == self.names_sha256

    def difference(self, names: Sequence[str]) -> str:
        """Says where ``names`` depart from the inventory, by magnification and subtype."""
        found: Counter[tuple[int, str]] = Counter()
        foreign = []
        for name in names:
            try:
                parsed = parse_name(name)
            except BcadvError:
                foreign.append(name)
            else:
                found[parsed.magnification, parsed.subtype] += 1
        cells = [
            f"{magnification}X {subtype} {found[magnification, subtype]} of "
            f"{self.counts.get((magnification, subtype), 0)}"
            for magnification, subtype in sorted(found.keys() | self.counts.keys())
            if found[magnification, subtype] != self.counts.get((magnification, subtype), 0)
        ]
        parts = [f"{len(names)} of {self.total} PNG files"]
        if foreign:
            parts.append(f"{len(foreign)} names that are none of BreakHis, such as {foreign[0]!r}")
        if cells:
            parts.append("found and expected: " + ", ".join(cells))
        elif not foreign:
            parts.append("the counts agree but some names differ or stand twice")
        return "; ".join(parts)


OFFICIAL = Inventory(
    names_sha256="50b985e55b2354fe4310d6ab547ad50190a2922a2e00458d4e7bb7f6510539fe",
    counts={
        (magnification, subtype): count
        for magnification, row in OFFICIAL_COUNTS.items()
        for subtype, count in row.items()
    },
    archive_bytes=4_300_000_000,
    unpacked_bytes=4_400_000_000,
)
"""BreakHis 1.0: 7,909 images; names and counts as in each of the five official fold lists."""


def _names_sha256(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def _png_names(folder: Path) -> list[str]:
    return [path.name for path in image_files(folder, {".png"})]


def _say(message: str, style: str = "") -> None:
    say(Console(stderr=True), message, style, lines=True)


def missing_data_message(root: Path) -> str:
    """Says that no BreakHis images were found under ``root``, and what to do about it."""
    return (
        f"No BreakHis images under {root}: fetch them (about 4 GB) with `make data`, that is "
        f"`bcadv data download={root}`, or set data.root to the folder that "
        f"holds {TREE} or the SOB_*.png files. data=synthetic needs no images, but it is a "
        "deliberate choice and never a stand-in for real ones."
    )


def make_available(
    root: Path,
    *,
    url: str = ARCHIVE_URL,
    folds_url: str = FOLDS_URL,
    archive: Path | None = None,
    inventory: Inventory = OFFICIAL,
    progress: bool = True,
) -> Path:
    """Makes sure that ``root`` holds the complete data set, and fetches what is missing.

    A complete tree is recognised by its file names and nothing is fetched. No checksum of the
    archive is published, so the first one that proved complete is recorded beside it and later
    ones are held against that. The process may be killed at any moment: the tree appears under
    its name only when it is whole.

    Args:
        root: folder for the archive, the tree ``BreaKHis_v1`` and the lists in ``folds``.
        url: address of the image archive (gzip-compressed tar).
        folds_url: address of the archive with the official fold lists; if it can't be fetched,
            a warning says so and the images stand without them.
        archive: an image archive fetched by hand, used instead of ``url``.
        inventory: what makes the data set complete.
        progress: whether to show progress bars on standard error.

    Returns:
        The tree's folder, ``root / "BreaKHis_v1"``.

    Raises:
        BcadvError: if the data can't be fetched, is not what it should be, or is unsafe to unpack.
    """
    tree = root / TREE
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".download.lock"):
            if tree.exists():
                _require_complete(tree, inventory)
                _say(f"{tree} is complete: {inventory.total} images.")
            else:
                _install_tree(tree, url, archive, inventory, progress)
            _install_folds(root / FOLDS, folds_url, inventory, progress)
    except OSError as error:
        raise BcadvError(
            f"Cannot write the data set to {root} ({error}); choose another folder."
        ) from error
    return tree


def _require_complete(tree: Path, inventory: Inventory) -> None:
    names = _png_names(tree)
    if not inventory.holds(names):
        raise BcadvError(
            f"{tree} exists but is not the complete data set ({inventory.difference(names)}). "
            "Move it away and run again, or choose another folder; a subset needs no download, "
            "point data.root at it."
        )


def _install_tree(
    tree: Path, url: str, by_hand: Path | None, inventory: Inventory, progress: bool
) -> None:
    archive = by_hand or tree.with_name(f"{TREE}.tar.gz")
    if by_hand is not None and not by_hand.is_file():
        raise BcadvError(f"No archive at {by_hand}; archive= takes the path of {TREE}.tar.gz.")
    to_fetch = 0 if archive.is_file() else inventory.archive_bytes
    _require_space(tree.parent, to_fetch + inventory.unpacked_bytes)
    if by_hand is None:
        digest = _fetch_archive(url, archive, progress)
    with unpacked(
        archive, tree.parent, max_bytes=3 * inventory.unpacked_bytes, progress=progress
    ) as folder:
        names = _png_names(folder)
        if not inventory.holds(names):
            raise BcadvError(
                f"{archive} is not the complete data set ({inventory.difference(names)}). "
                "Delete it to fetch it again, or give another one with url= or archive=."
            )
        inner = folder / TREE
        (inner if inner.is_dir() else folder).rename(tree)
    _say(f"{tree} is complete: {inventory.total} images.")
    if by_hand is None:
        _record(archive).write_text(f"{digest}  {archive.name}\n", encoding="utf-8")
        _say(
            f"The authors publish no checksum; {_record(archive)} keeps the one of this archive "
            f"for later downloads ({digest}). The archive itself is no longer needed."
        )


def _record(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.sha256")


def _fetch_archive(url: str, archive: Path, progress: bool) -> str:
    record = _record(archive)
    words = record.read_text(encoding="utf-8").split() if record.is_file() else []
    try:
        return download(url, archive, sha256=words[0] if words else None, progress=progress)
    except ChecksumError as error:
        raise BcadvError(
            f"{error} The expected checksum is that of the first complete archive; delete "
            f"{record} if the authors have published another one."
        ) from error
    except DownloadError as error:
        raise BcadvError(f"{error} archive= takes one from another place.") from error


def _install_folds(folds: Path, url: str, inventory: Inventory, progress: bool) -> None:
    if _fold_fault(folds, inventory) is None:
        return
    archive = folds.with_name("mkfold.tar.gz")
    try:
        download(url, archive, sha256=None, progress=progress)
    except DownloadError as error:
        _say(
            f"Warning: the official fold lists are missing, only the official folds need them. "
            f"Put {FOLD_LISTS[0]} to {FOLD_LISTS[-1]} into {folds}, or give folds_url=. {error}",
            style="yellow",
        )
        return
    with unpacked(archive, folds.parent, max_bytes=MAX_FOLDS_BYTES, progress=False) as folder:
        lists = folder / f"{FOLDS}.new"
        lists.mkdir()
        for path in folder.rglob("dsfold*.txt"):
            if path.name in FOLD_LISTS:
                path.replace(lists / path.name)
        fault = _fold_fault(lists, inventory)
        if fault is not None:
            raise BcadvError(
                f"{archive} does not hold the official fold lists: {fault}. Delete it and give "
                f"another one with folds_url=, or put the lists into {folds} by hand."
            )
        folds.mkdir(exist_ok=True)
        for name in FOLD_LISTS:
            (lists / name).replace(folds / name)
    _say(f"{folds} holds the five official fold lists.")


def _fold_fault(folder: Path, inventory: Inventory) -> str | None:
    """What is wrong with the lists of ``name|magnification|fold|train or test``, if anything."""
    for name in FOLD_LISTS:
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.split("|")[0].strip() for line in lines if line.strip()]
        if not inventory.holds(names):
            return f"{name} lists other images ({inventory.difference(names)})"
    return None


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BcadvError(
            f"{folder} has {free / 1e9:.1f} GB free and the data set needs about "
            f"{needed / 1e9:.1f} GB; free some space or choose another folder."
        )


OPTIONS = (
    Option("archive", FILE, "An image archive of BreakHis that was fetched by hand."),
    Option("url", TEXT, "The image archive of BreakHis.", ARCHIVE_URL),
    Option("folds_url", TEXT, "The official fold lists of BreakHis.", FOLDS_URL),
)
"""Where BreakHis comes from."""

COMMAND = Command(
    "python -m bcadv.data.sources.download",
    "Fetches BreakHis (about 4 GB), unpacks it safely and checks that it is complete. After an "
    "interruption the same command goes on where it stopped.",
    (Option("root", FOLDER, "Where it goes.", Path("data/breakhis")), *OPTIONS),
)


def fetch(root: Path, options: Mapping[str, Any]) -> int:
    """Fetches BreakHis as `OPTIONS` say; returns the exit status, 130 when stopped.

    Raises:
        BcadvError: as `make_available`.
    """
    try:
        make_available(root, **{option.name: options[option.name] for option in OPTIONS})
    except KeyboardInterrupt:
        _say("Stopped; run the same command again to go on.")
        return 130
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    That is 0 when the data set is complete, 2 on what the user can mend, and 130 when stopped.
    """
    given = from_flags(sys.argv[1:] if arguments is None else arguments)
    if not HELP.isdisjoint(given):
        sys.stdout.write(f"{COMMAND.help()}\n")
        return 0
    try:
        options, _ = COMMAND.parse(given)
        return fetch(options["root"], options)
    except BcadvError as error:
        _say(str(error), style="red")
        return 2


if __name__ == "__main__":
    sys.exit(main())
