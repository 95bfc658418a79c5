"""Archives, packed in memory."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping


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
