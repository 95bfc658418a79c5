"""Files written whole, and their digests."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file so that a reader sees the old content or the new, never a part of it.

    Raises:
        OSError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read piece by piece, as 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
