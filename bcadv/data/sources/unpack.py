"""Unpacks an archive that nobody vouches for."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from rich.console import Console
from rich.progress import Progress

from bcadv.errors import BcadvError

MAX_MEMBERS = 50_000
MAX_EXTRA_BYTES = 1024**2
"""Bound on a single header, and on the padding behind the last member."""


@contextmanager
def unpacked(archive: Path, place: Path, *, max_bytes: int, progress: bool) -> Iterator[Path]:
    """Unpacks an archive that nobody vouches for into a temporary folder.

    Only regular files and folders are accepted, at relative paths without ``..``; the first
    member that is anything else ends the work. Owners, modes and times are not taken over.

    Args:
        archive: a gzip-compressed tar file.
        place: folder in which the temporary folder is made, on the disk of the final place.
        max_bytes: how many bytes the members may have together.
        progress: whether to show a progress bar on standard error.

    Yields:
        The temporary folder. It is removed at the end of the block, unless the block renamed it;
        one that a killed process left is removed at the start.

    Raises:
        BcadvError: if the archive is damaged, no gzip-compressed tar, or unsafe.
    """
    folder = place / f".{archive.name}.unpacking"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        _unpack(archive, folder, max_bytes, progress)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(archive: Path, folder: Path, max_bytes: int, progress: bool) -> None:
    damage = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, *_CLASHES)
    bar = Progress(console=Console(stderr=True), disable=not progress)
    try:
        with archive.open("rb") as file, gzip.open(file) as content, bar:
            task = bar.add_task(f"unpacking {archive.name}", total=archive.stat().st_size)
            reader = _BoundedReader(content)
            with tarfile.open(fileobj=reader, mode="r:", errorlevel=1) as tar:
                total = 0
                for count, member in enumerate(tar, start=1):
                    total += member.size
                    if total > max_bytes or count > MAX_MEMBERS:
                        raise BcadvError(
                            f"{archive} unpacks to more than {max_bytes} bytes or {MAX_MEMBERS} "
                            "members, far more than it should hold; it was refused."
                        )
                    _require_harmless(member, archive)
                    _write(tar, member, folder)
                    bar.update(task, completed=file.tell())
            # tar stops at its own end mark; the checksum of the compressed stream comes after it.
            if len(content.read(MAX_EXTRA_BYTES)) == MAX_EXTRA_BYTES:
                raise BcadvError(f"{archive} goes on after its end mark; it was refused.")
    except damage as error:
        raise BcadvError(
            f"{archive} is damaged or no gzip-compressed tar file ({error}); delete it and fetch "
            "it again."
        ) from error


_CLASHES = (FileExistsError, IsADirectoryError, NotADirectoryError)
"""A member takes the place of another."""


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    # Not tarfile's own extraction: what makes it safe is missing from Python before 3.11.4.
    place = folder / member.name
    (place if member.isdir() else place.parent).mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    if content is not None:
        with content, place.open("wb") as file:
            shutil.copyfileobj(content, file)


def _require_harmless(member: tarfile.TarInfo, archive: Path) -> None:
    path = PureWindowsPath(member.name)  # of all kinds of path the one that can say the most
    if path.anchor or ".." in path.parts:
        raise BcadvError(
            f"{archive} wants to write to {member.name!r}, outside its folder; it was refused."
        )
    plain = member.type in {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE}
    if not plain or member.issparse():
        raise BcadvError(
            f"{archive} holds {member.name!r}, which is neither a file nor a folder (a link or a "
            "device); it was refused."
        )


class _BoundedReader(io.RawIOBase):
    """Refuses reads far beyond any honest one.

    tarfile reads an extended header in one go and trusts the size that the header claims: some
    kilobytes of archive could take all memory before a single member is seen.
    """

    def __init__(self, content: gzip.GzipFile) -> None:
        self._content = content

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_EXTRA_BYTES:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return self._content.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()
