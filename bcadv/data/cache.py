"""Decode once: the images of a selection as one memory-mapped array, keyed by their content."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.progress import track

from bcadv.data.records import Record
from bcadv.errors import BcadvError
from bcadv.files import write_atomically
from bcadv.pixels import BAD_IMAGE, resized, to_rgb, upright, why_unreadable

log = logging.getLogger(__name__)

VERSION = 2
"""Part of every key: raise it whenever the same file would be decoded to other pixels."""

Pixels: TypeAlias = npt.NDArray[np.uint8]
OnBadImage = Literal["raise", "skip"]

_INDEX = "digests.json"
_IMAGES = "images.uint8"
_META = "meta.json"

# A build writes all the time it lives; one that has not for this long was killed.
_STALE_SECONDS = 3600

_REMEDY = "replace it, or leave such images out with data.on_bad_image=skip"

_T = TypeVar("_T")
_S = TypeVar("_S")


@dataclass(frozen=True)
class ImageCache:
    """Decoded images, read from disk as they are used.

    Pickles as a path, so that loader processes map the file instead of copying it.

    Attributes:
        images: RGB, uint8, read-only, shape (n, height, width, 3), where height and width are the
            largest of any image. Image ``i`` fills the top left corner; the rest is zero.
        heights: of each image, int64, shape (n,).
        widths: of each image, int64, shape (n,).
        records: of each image, in the order given to `build`.
        digests: digest of the file's content per image id.
        skipped: unreadable images that were left out, and why.
    """

    images: Pixels
    heights: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int64]
    records: tuple[Record, ...]
    digests: Mapping[str, str]
    skipped: tuple[tuple[Record, str], ...]
    folder: Path

    def image(self, i: int) -> Pixels:
        """Image ``i`` without its padding, uint8, shape (heights[i], widths[i], 3)."""
        view: Pixels = self.images[i, : self.heights[i], : self.widths[i]]
        return view

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"images": self.images.shape}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"images": _map(state["folder"], state["images"])})


def build(
    records: Sequence[Record],
    cache_dir: Path,
    *,
    resize: int | None = None,
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
        digests = _digests(records, cache_dir, pool_size, progress=progress, skip=skip)
        folder = cache_dir / _key(digests, resize)
        if not _complete(folder):
            _decode_all(
                records,
                folder,
                resize=resize,
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


def _decode(path: Path, resize: int | None) -> Pixels:
    with Image.open(BytesIO(path.read_bytes())) as image:
        rgb = to_rgb(image)
        if resize is not None:
            rgb = rgb.resize(resized(rgb.size, resize), Image.Resampling.LANCZOS)
        return np.asarray(rgb)


def _header(path: Path) -> tuple[int, int] | str:
    """Width and height as the file's header has them, or why it cannot be read."""
    try:
        with Image.open(path) as image:
            return upright(image)
    except BAD_IMAGE as error:
        return _why(error, path)


def _why(error: Exception, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return why_unreadable(error, file.read(256))
    except OSError as gone:
        return gone.strerror or type(gone).__name__


def _digests(
    records: Sequence[Record], cache_dir: Path, workers: int, *, progress: bool, skip: bool
) -> list[str]:
    """The content digest of every file, read from disk only where the file may have changed.

    Under ``skip`` one that cannot be read has a digest that says so.
    """
    index_path = cache_dir / _INDEX
    index = _read_index(index_path)
    keys = [os.path.abspath(record.path) for record in records]  # noqa: PTH100
    stamps = [_stamp(record.path, skip=skip) for record in records]
    stale = [
        i
        for i, (key, stamp) in enumerate(zip(keys, stamps, strict=True))
        if index.get(key, ())[:2] != stamp
    ]
    if stale:
        paths = [records[i].path for i in stale]
        hashed = _in_parallel(partial(_digest, skip=skip), paths, workers)
        for i, digest in zip(
            stale, _shown(hashed, "Reading images", len(stale), progress), strict=True
        ):
            index[keys[i]] = [*stamps[i], digest]
        # What another process has learnt meanwhile is kept.
        write_atomically(index_path, json.dumps(_read_index(index_path) | index))
    return [index[key][2] for key in keys]


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
            f"the image {path} is gone or out of reach ({error.strerror}): {_REMEDY}"
        ) from None
    return [status.st_size, status.st_mtime_ns]


def _digest(path: Path, *, skip: bool) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        if skip:
            return f"unreadable: {error.strerror}"
        raise BcadvError(f"the image {path} cannot be read ({error.strerror}): {_REMEDY}") from None


def _key(digests: Iterable[str], resize: int | None) -> str:
    what = json.dumps({"version": VERSION, "resize": resize, "digests": list(digests)})
    return hashlib.sha256(what.encode()).hexdigest()[:32]


def _decode_all(
    records: Sequence[Record],
    folder: Path,
    *,
    resize: int | None,
    on_bad_image: OnBadImage,
    workers: int,
    progress: bool,
) -> None:
    """Decodes into a folder of its own, which takes its name when it is complete."""
    _remove_stale(folder.parent)
    paths = [record.path for record in records]
    headers = list(_in_parallel(_header, paths, workers))
    sizes = [resized(size, resize) for size in headers if not isinstance(size, str)]
    width, height = (max((size[axis] for size in sizes), default=0) for axis in (0, 1))
    needed = width * height * 3 * len(sizes)
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise BcadvError(
            f"the decoded images need {needed / 1e9:.2f} GB in {folder.parent}, where "
            f"{free / 1e9:.2f} GB are free: free some space, choose another cache folder "
            "(paths.cache), or set data.resize"
        )
    log.info("decoding %d images (%.2f GB) into %s", len(paths), needed / 1e9, folder)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir()
    try:
        shapes: list[tuple[int, int]] = []
        skipped: dict[int, str] = {}
        decoded = _in_parallel(lambda path: _try_decode(path, resize), paths, workers)
        with (temporary / _IMAGES).open("wb") as file:
            for i, pixels in enumerate(_shown(decoded, "Decoding images", len(paths), progress)):
                if isinstance(pixels, str):
                    _bad_image(records[i], pixels, on_bad_image)
                    skipped[i] = pixels
                    continue
                h, w = pixels.shape[:2]
                padded = np.zeros((height, width, 3), np.uint8)
                padded[:h, :w] = pixels
                # Written, not mapped: a full disk is an exception here and a crash there.
                file.write(padded.data)
                shapes.append((h, w))
        meta = {"height": height, "width": width, "shapes": shapes, "skipped": skipped}
        (temporary / _META).write_text(json.dumps(meta), encoding="utf-8")
        _publish(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _try_decode(path: Path, resize: int | None) -> Pixels | str:
    """The pixels, or why there are none."""
    try:
        return _decode(path, resize)
    except BAD_IMAGE as error:
        return _why(error, path)


def _bad_image(record: Record, why: str, on_bad_image: OnBadImage) -> None:
    if on_bad_image == "raise":
        raise BcadvError(f"the image {record.path} cannot be decoded ({why}): {_REMEDY}")


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
        size = len(meta["shapes"]) * meta["height"] * meta["width"] * 3
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
    return ImageCache(
        images=_map(folder, (len(kept), meta["height"], meta["width"], 3)),
        heights=shapes[:, 0],
        widths=shapes[:, 1],
        records=tuple(records[i] for i in kept),
        digests={records[i].image_id: digests[i] for i in kept},
        skipped=tuple((records[i], why) for i, why in sorted(skipped.items())),
        folder=folder,
    )


def _map(folder: Path, shape: tuple[int, ...]) -> Pixels:
    return np.memmap(folder / _IMAGES, np.uint8, "r", shape=shape)


def _in_parallel(
    function: Callable[[_S], _T], arguments: Sequence[_S], workers: int
) -> Iterator[_T]:
    """Maps in threads, results in order, never more than a few of them waiting in memory."""
    waiting: deque[Future[_T]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for argument in arguments:
            waiting.append(pool.submit(function, argument))
            if len(waiting) >= 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _shown(items: Iterable[_T], what: str, total: int, progress: bool) -> Iterable[_T]:
    console = Console(stderr=True)
    if not (progress and console.is_terminal):
        return items
    return track(items, what, total, console=console, transient=True)
