"""Decode once: the images of a selection back to back in one file, keyed by their content."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from bcadv.data.digests import REMEDY, digests_of, named
from bcadv.data.parallel import TOGETHER, in_parallel, shown
from bcadv.data.ranges import Ranges
from bcadv.data.records import Record
from bcadv.errors import BcadvError
from bcadv.pixels import (
    Decoded,
    Header,
    Pixels,
    UnreadableImageError,
    decode,
    header,
    is_grey,
    resized,
    shortened,
)

log = logging.getLogger(__name__)

VERSION = 4
"""Part of every key: raise it whenever the same file would be decoded to other pixels."""

OnBadImage = Literal["raise", "skip"]

_IMAGES = "images.raw"
_META = "meta.json"

# A build writes all the time it lives; one that has not for this long was killed.
_STALE_SECONDS = 3600

_CHUNK = 2**21
"""Bytes of decoded images that it hands over."""
_FEW = 3
"""So many files are named where the space is short."""


@dataclass(frozen=True)
class ImageCache:
    """Decoded images, read from disk as they are used.

    Pickles as a path, so that loader processes map the file instead of copying it.

    Attributes:
        pixels: of all images, one behind the other, read-only; uint8, or uint16 where any image
            has more than 8 bits (those with 8 are then multiplied by 257).
        heights: of each image, int64, shape (n,).
        widths: of each image, int64, shape (n,).
        channels: of each image as it is stored, int64, shape (n,): 1 of grey, else 3.
        records: of each image, in the order given to `build`.
        digests: digest of the content per image id: of the file, or of a file's picture where it
            holds several.
        skipped: unreadable images that were left out, and why.
        ranges: how much of their range the images use.
        said: what a reader of the results must know of how files were read -> number of images.
    """

    pixels: Pixels
    heights: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int64]
    channels: npt.NDArray[np.int64]
    records: tuple[Record, ...]
    digests: Mapping[str, str]
    skipped: tuple[tuple[Record, str], ...]
    ranges: Ranges
    said: Mapping[str, int]
    folder: Path

    @cached_property
    def _begins(self) -> npt.NDArray[np.int64]:
        """Where each image begins, in values."""
        sizes = self.channels * self.heights * self.widths
        begins: npt.NDArray[np.int64] = np.cumsum(sizes) - sizes
        return begins

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16."""
        return self.pixels.dtype

    @property
    def bits(self) -> int:
        """8 or 16."""
        return 8 * self.dtype.itemsize

    def image(self, i: int) -> Pixels:
        """Image ``i``, RGB, shape (heights[i], widths[i], 3)."""
        shape = (int(self.heights[i]), int(self.widths[i]), 3)
        begin, channels = int(self._begins[i]), int(self.channels[i])
        stored = self.pixels[begin : begin + shape[0] * shape[1] * channels]
        view: Any = np.broadcast_to(stored.reshape(*shape[:2], channels), shape)
        return cast("Pixels", view)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"pixels": self.dtype.str}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"pixels": _map(state["folder"], np.dtype(state["pixels"]))})


def build(
    records: Sequence[Record],
    cache_dir: Path,
    *,
    resize: int | None = None,
    white: float | None = None,
    on_bad_image: OnBadImage = "raise",
    workers: int | None = None,
    progress: bool = True,
) -> ImageCache:
    """Decodes the images, or opens what an earlier call decoded.

    The key is a hash over the files' contents in order and everything that shapes the pixels, so
    a changed, added or reordered image makes a new cache, and a moved data set none. A file whose
    size and modification time are unchanged is not read again. A build may be killed at any time,
    and several processes may build at once: what they write appears whole or not at all.

    Args:
        records: the images, in the order of the array.
        cache_dir: folder for all caches; made if need be.
        resize: length of the shorter side in pixels, aspect kept, antialiased (Lanczos); ``None``
            keeps the original pixels.
        white: the value of the files that is white; ``None``: as their format or header has it.
        on_bad_image: what to do about a file that cannot be decoded: ``raise``, or ``skip`` it
            and list it.
        workers: decoding threads; ``None``: one per core.
        progress: whether to show progress bars, on stderr, where that is a terminal.

    Raises:
        BcadvError: no images, a missing file, an unreadable image under ``raise``, nothing but
            unreadable images, no space, or a folder that cannot be written.
    """
    if not records:
        raise BcadvError("there are no images to decode")
    if resize is not None and resize < 1:
        raise BcadvError(f"data.resize={resize} must be a number of pixels, at least 1, or null")
    if on_bad_image not in ("raise", "skip"):
        raise BcadvError(f"data.on_bad_image={on_bad_image} is unknown: choose raise or skip")
    pool_size = workers or os.cpu_count() or 1
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        skip = on_bad_image == "skip"
        digests = digests_of(records, cache_dir, pool_size, progress=progress, skip=skip)
        folder = cache_dir / _key(digests, resize, white)
        if not _complete(folder):
            _decode_all(
                records,
                folder,
                resize=resize,
                white=white,
                on_bad_image=on_bad_image,
                workers=pool_size,
                progress=progress,
            )
        return _open(folder, records, digests, on_bad_image)
    except OSError as error:
        raise BcadvError(
            f"cannot keep the decoded images in {cache_dir} ({error}): free some space or choose "
            "another cache folder (paths.cache)"
        ) from error


def _decode(record: Record, resize: int | None, white: float | None) -> Decoded:
    decoded = decode(record.path, record.frame, white)
    return replace(decoded, values=shortened(decoded.values, resize))


def _header(record: Record) -> Header | None:
    """What the file's header says; ``None`` where it cannot be read."""
    try:
        return header(record.path, record.frame)
    except UnreadableImageError:
        return None


def _key(digests: Iterable[str], resize: int | None, white: float | None) -> str:
    what = {"version": VERSION, "resize": resize, "white": white, "digests": list(digests)}
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _decode_all(
    records: Sequence[Record],
    folder: Path,
    *,
    resize: int | None,
    white: float | None,
    on_bad_image: OnBadImage,
    workers: int,
    progress: bool,
) -> None:
    """Decodes into a folder of its own, which takes its name when it is complete."""
    _remove_stale(folder.parent)
    headers = list(in_parallel(_header, records, workers, TOGETHER))
    dtype = np.dtype(np.uint16 if any(h is not None and h.bits > 8 for h in headers) else np.uint8)
    needed = _check_space(records, headers, resize, dtype.itemsize, folder.parent)
    log.info("decoding %d images (%.2f GB) into %s", len(records), needed / 1e9, folder)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir()
    try:
        shapes: list[tuple[int, int, int]] = []
        ranges: list[tuple[int, float | None, float, float]] = []
        skipped: dict[int, str] = {}
        said: Counter[str] = Counter()
        together = max(1, min(TOGETHER, _CHUNK * len(records) // max(needed, 1)))
        decoded = in_parallel(lambda r: _try_decode(r, resize, white), records, workers, together)
        with (temporary / _IMAGES).open("wb") as file:
            for i, image in enumerate(shown(decoded, "Decoding images", len(records), progress)):
                if isinstance(image, str):
                    _bad_image(records[i], image, on_bad_image)
                    skipped[i] = image
                    continue
                # Written, not mapped: a full disk is an exception here and a crash there.
                values = image.values[..., :1] if is_grey(image.values) else image.values
                file.write(_widened(values, dtype).data)
                shapes.append((values.shape[0], values.shape[1], values.shape[2]))
                ranges.append((image.bits, image.white, image.low, image.top))
                said.update([image.said] if image.said else [])
        meta = {
            "dtype": dtype.name,
            "shapes": shapes,
            "ranges": ranges,
            "said": said,
            "skipped": skipped,
        }
        (temporary / _META).write_text(json.dumps(meta), encoding="utf-8")
        _publish(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_space(
    records: Sequence[Record],
    headers: Sequence[Header | None],
    resize: int | None,
    itemsize: int,
    place: Path,
) -> int:
    """The bytes that all images will take.

    Raises:
        BcadvError: there are not as many, with the files that need most of them.
    """
    sizes = [
        0 if h is None else h.channels * itemsize * math.prod(resized((h.width, h.height), resize))
        for h in headers
    ]
    needed, free = sum(sizes), shutil.disk_usage(place).free
    if needed <= free:
        return needed
    usual = 4 * median(sizes)
    odd = sorted((i for i in range(len(sizes)) if sizes[i] > usual), key=lambda i: -sizes[i])
    largest = odd[:_FEW]
    share = sum(sizes[i] for i in largest)
    large = ""
    if share > needed / 4:
        each = ", ".join(f"{named(records[i])} ({sizes[i] / 1e9:.2f} GB)" for i in largest)
        large = f"; {share / needed:.0%} of it are for {each}: leave them out with data.exclude"
    raise BcadvError(
        f"the decoded images need {needed / 1e9:.2f} GB in {place}, where {free / 1e9:.2f} GB are "
        "free: free some space, choose another cache folder (paths.cache), or set data.resize"
        f"{large}"
    )


def _widened(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Values in the type that all images share: 0 to 255 become 0 to 65535."""
    if values.dtype != dtype:
        return values.astype(np.uint16) * np.uint16(257)
    return values if values.flags.c_contiguous else values.copy()


def _try_decode(record: Record, resize: int | None, white: float | None) -> Decoded | str:
    """The image, or why there is none."""
    try:
        return _decode(record, resize, white)
    except UnreadableImageError as error:
        return str(error)


def _bad_image(record: Record, why: str, on_bad_image: OnBadImage) -> None:
    if on_bad_image == "raise":
        raise BcadvError(f"the image {named(record)} cannot be decoded ({why}): {REMEDY}")


def _publish(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        # Another process was faster; equal keys mean equal pixels, so its result serves.
        if not _complete(folder):
            raise


def _remove_stale(cache_dir: Path) -> None:
    """Removes what killed builds left behind."""
    for temporary in cache_dir.glob(".*.tmp"):
        image_file = temporary / _IMAGES
        newest = image_file if image_file.exists() else temporary
        try:
            idle = time.time() - newest.stat().st_mtime
        except FileNotFoundError:
            continue
        if temporary.is_dir() and idle > _STALE_SECONDS:
            shutil.rmtree(temporary, ignore_errors=True)


def _read_meta(folder: Path) -> dict[str, Any] | None:
    try:
        meta: dict[str, Any] = json.loads((folder / _META).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return meta


def _complete(folder: Path) -> bool:
    """Whether the cache is there and whole; a damaged one is removed."""
    if not folder.is_dir():
        return False
    meta = _read_meta(folder)
    if meta is not None:
        values = sum(map(math.prod, meta["shapes"]))
        size = values * np.dtype(meta["dtype"]).itemsize
        images = folder / _IMAGES
        if images.is_file() and images.stat().st_size == size:
            return True
    log.warning("the cache %s is damaged; the images are decoded again", folder)
    shutil.rmtree(folder)
    return False


def _open(
    folder: Path, records: Sequence[Record], digests: Sequence[str], on_bad_image: OnBadImage
) -> ImageCache:
    meta = _read_meta(folder)
    if meta is None:
        raise BcadvError(f"the cache {folder} was removed while it was opened: start again")
    skipped = {int(i): why for i, why in meta["skipped"].items()}
    for i, why in skipped.items():
        _bad_image(records[i], why, on_bad_image)
    kept = [i for i in range(len(records)) if i not in skipped]
    if not kept:
        raise BcadvError(
            f"none of the {len(records)} images can be decoded; the first, {records[0].path}: "
            f"{skipped[0]}"
        )
    shapes = np.asarray(meta["shapes"], dtype=np.int64)
    ranges = np.array(meta["ranges"], dtype=np.float64)  # None becomes NaN
    return ImageCache(
        pixels=_map(folder, np.dtype(meta["dtype"])),
        heights=shapes[:, 0],
        widths=shapes[:, 1],
        channels=shapes[:, 2],
        records=tuple(records[i] for i in kept),
        digests={records[i].image_id: digests[i] for i in kept},
        skipped=tuple((records[i], why) for i, why in sorted(skipped.items())),
        ranges=Ranges(ranges[:, 0].astype(np.int64), ranges[:, 1], ranges[:, 2], ranges[:, 3]),
        said=meta["said"],
        folder=folder,
    )


def _map(folder: Path, dtype: np.dtype[Any]) -> Pixels:
    pixels: Pixels = np.memmap(folder / _IMAGES, dtype, "r")
    return pixels
