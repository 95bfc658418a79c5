"""What names an image by its content, kept so that an unchanged file is not read again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bcadv.data.parallel import TOGETHER, in_parallel, shown
from bcadv.data.records import Record
from bcadv.errors import BcadvError
from bcadv.files import write_atomically
from bcadv.pixels import raw
from bcadv.raster import BAD_IMAGE

log = logging.getLogger(__name__)

REMEDY = "replace it, or leave such images out with data.on_bad_image=skip"

_INDEX = "digests.json"


def digests_of(
    records: Sequence[Record], cache_dir: Path, workers: int, *, progress: bool, skip: bool
) -> list[str]:
    """The content digest of every file, read from disk only where the file may have changed.

    Under ``skip`` one that cannot be read has a digest that says so.
    """
    index_path = cache_dir / _INDEX
    index = _read_index(index_path)
    keys = [_place(record) for record in records]
    stamps: dict[Path, list[int]] = {}
    for record in records:
        if record.path not in stamps:
            stamps[record.path] = _stamp(record.path, skip=skip)
    stale = [
        i
        for i, (key, record) in enumerate(zip(keys, records, strict=True))
        if index.get(key, ())[:2] != stamps[record.path]
    ]
    if stale:
        read = partial(_digest, skip=skip)
        hashed = in_parallel(read, [records[i] for i in stale], workers, TOGETHER)
        for i, digest in zip(
            stale, shown(hashed, "Reading images", len(stale), progress), strict=True
        ):
            index[keys[i]] = [*stamps[records[i].path], digest]
        # What another process has learnt meanwhile is kept.
        write_atomically(index_path, json.dumps(_read_index(index_path) | index))
    return [index[key][2] for key in keys]


def _place(record: Record) -> str:
    """What names an image among all of this machine."""
    path = os.path.abspath(record.path)  # noqa: PTH100
    # No path has a character of value 0.
    return path if record.frame is None else f"{path}\0{record.frame}"


def _read_index(path: Path) -> dict[str, list[Any]]:
    try:
        index: dict[str, list[Any]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        log.warning("%s is damaged; every image is read again", path)
        path.unlink(missing_ok=True)
        return {}
    return index


def _stamp(path: Path, *, skip: bool) -> list[int]:
    try:
        status = path.stat()
    except OSError as error:
        if skip:
            return [-1, time.time_ns()]  # never the same again, so that it is tried again
        raise BcadvError(
            f"the image {path} is gone or out of reach ({error.strerror}): {REMEDY}"
        ) from None
    return [status.st_size, status.st_mtime_ns]


def _digest(record: Record, *, skip: bool) -> str:
    """Names a file by its bytes, and one of several pictures in a file by its values."""
    try:
        if record.frame is None:
            return hashlib.sha256(record.path.read_bytes()).hexdigest()
        found = raw(record.path, record.frame)
        kind = [found.values.dtype.str, found.values.shape, found.white, found.inverted]
        values = np.ascontiguousarray(found.values).tobytes()
        return hashlib.sha256(json.dumps(kind).encode() + values).hexdigest()
    except BAD_IMAGE as error:
        why = getattr(error, "strerror", None) or str(error)
        if skip:
            return f"unreadable: {why}"
        raise BcadvError(f"the image {named(record)} cannot be read ({why}): {REMEDY}") from None


def named(record: Record) -> str:
    return str(record.path) if record.frame is None else f"{record.frame} of {record.path}"
