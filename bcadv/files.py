"""Writing files whole."""

from __future__ import annotations

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
