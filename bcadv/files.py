"""Files written whole, and their digests."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name beside a file: what is written to it takes the file's place where all goes well."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file so that a reader sees the old content or the new, never a part of it.

    Raises:
        OSError: the folder cannot be written.
    """
    with beside(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read piece by piece, as 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
