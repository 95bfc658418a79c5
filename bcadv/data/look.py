"""What files hold, from their headers; pixels of a few. The only place here that opens an image.

Imports neither torch nor numpy before a pixel is wanted.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bcadv.data.records import Record
from bcadv.files import sha256_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_MANY = 2000
"""Files from which on a bar is drawn."""

_ARRAYS = {".npz": "NPZ", ".h5": "HDF5", ".hdf5": "HDF5"}
"""Formats of files that hold an array of many images, by ending."""

_ORIENTATION = 274
"""Tag of EXIF (CIPA DC-008): 1 is upright, 2 to 8 turn or mirror."""

_S = TypeVar("_S")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say of its image.

    Attributes:
        format: such as ``PNG``.
        mode: of the pixels, as Pillow calls it: ``L`` is grey, ``RGB`` colour.
        width: in pixels, as a viewer shows it.
        height: likewise.
        turned: whether an orientation tag turns or mirrors it.
        digest: equal for equal images alone: SHA-256 of the file, with the number of its frame,
            or of the values of an image in an array; ``None`` where no other file has its length,
            and so none its bytes.
    """

    format: str
    mode: str
    width: int
    height: int
    turned: bool
    digest: str | None


def headers(records: Sequence[Record]) -> list[Header | str]:
    """The header of each image, or why it cannot be read.

    A file is read whole only where another one has its length.

    Args:
        records: images, several of which may lie in one file.
    """
    places = list(dict.fromkeys(map(_place, records)))
    lengths = {path: _length(path) for path in dict.fromkeys(path for path, _ in places)}
    common = Counter(lengths.values())
    wanted = [
        (path, frame, lengths[path] is not None and common[lengths[path]] > 1)
        for path, frame in places
    ]
    read = in_threads(lambda one: _header(*one), wanted)
    found = dict(zip(places, shown(read, "Reading files", len(places)), strict=True))
    return [_of_frame(found[_place(record)], record) for record in records]


def _place(record: Record) -> tuple[Path, int | None]:
    """What is opened once: an image of an array, or a file with all of its frames."""
    return record.path, record.frame if _in_array(record.path, record.frame) else None


def _in_array(path: Path, frame: int | None) -> bool:
    return frame is not None and path.suffix.lower() in _ARRAYS


def _of_frame(header: Header | str, record: Record) -> Header | str:
    """The header of a file as that of one of its frames."""
    if isinstance(header, str) or header.digest is None:
        return header
    if record.frame is None or _in_array(record.path, record.frame):
        return header
    return replace(header, digest=f"{header.digest}:{record.frame}")


def shown(work: Iterable[_T], what: str, total: int) -> Iterable[_T]:
    """The same with a bar on stderr, where that is a terminal and the work takes a while."""
    if total < _MANY:
        return work
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return (
        track(work, what, total, console=console, transient=True) if console.is_terminal else work
    )


def _length(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _header(path: Path, frame: int | None, whole: bool) -> Header | str:
    from bcadv.pixels import UnreadableImageError

    try:
        if _in_array(path, frame):
            return _of_array(path, frame)
        digest = sha256_of(path) if whole else None
        return _of_pillow(path, digest) or _of_others(path, frame, digest)
    except UnreadableImageError as error:
        return str(error)
    except OSError as error:
        return error.strerror or type(error).__name__


def _of_pillow(path: Path, digest: str | None) -> Header | None:
    """What Pillow says of a file; ``None`` where it is none of its formats."""
    from PIL import Image

    from bcadv.pixels import BAD_IMAGE
    from bcadv.raster import size_of

    try:
        with Image.open(path) as image:
            width, height, _ = size_of(image)
            turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
            return Header(image.format or "?", image.mode, width, height, turned, digest)
    except BAD_IMAGE:
        return None


def _of_others(path: Path, frame: int | None, digest: str | None) -> Header:
    """What the decoder says of a file.

    Raises:
        UnreadableImageError: it cannot be read, and why in words.
    """
    from bcadv.pixels import header

    seen = header(path, frame)
    return Header("DICOM", f"{seen.bits} bits", seen.width, seen.height, False, digest)


def _of_array(path: Path, frame: int | None) -> Header:
    """An image of an array, which has no header: Pillow would take all of HDF5 for one pixel.

    Raises:
        UnreadableImageError: it cannot be read, and why in words.
    """
    from bcadv.pixels import BAD_IMAGE, UnreadableImageError, raw

    try:
        found = raw(path, frame)
    except BAD_IMAGE as error:
        raise UnreadableImageError(str(error)) from None
    height, width = found.values.shape[:2]
    what = hashlib.sha256(f"{found.values.dtype.str}{found.values.shape}".encode())
    what.update(found.values.tobytes())
    kind = _ARRAYS[path.suffix.lower()]
    return Header(kind, f"{found.bits} bits", width, height, False, what.hexdigest())


def picture(path: Path, frame: int | None = None, white: float | None = None) -> Image.Image:
    """An image as the model sees it, to be shown: 8-bit RGB, upright, as large as it is stored.

    Raises:
        UnreadableImageError: of `bcadv.pixels`; it cannot be decoded.
    """
    from bcadv.pixels import decode

    return decode(path, frame, white).picture


def values(
    path: Path, frame: int | None = None, white: float | None = None
) -> tuple[NDArray[Any], float]:
    """The pixels in the units of the file, and the value that counts as white.

    Raises:
        BAD_IMAGE: of `bcadv.pixels`; it cannot be decoded.
    """
    from bcadv.pixels import raw, scaled

    found = raw(path, frame, white)
    scaled(found, white)
    return found.values, white or found.white or 2**found.bits - 1


def why(error: Exception, path: Path) -> str:
    """Why a file cannot be decoded, in words."""
    from bcadv.pixels import why_unreadable

    try:
        with path.open("rb") as file:
            return why_unreadable(error, file.read(256))
    except OSError as gone:
        return gone.strerror or type(gone).__name__


def small(
    path: Path, frame: int | None, side: int, white: float | None = None
) -> NDArray[Any] | None:
    """The image in grey, brought to a square; float32, shape (side, side).

    Returns:
        ``None`` where it cannot be decoded.
    """
    import numpy as np
    from PIL import Image

    from bcadv.pixels import BAD_IMAGE

    try:
        if path.suffix.lower() in (".jpg", ".jpeg") and frame is None and white is None:
            with Image.open(path) as opened:
                # A JPEG hands out a half or a quarter of its pixels for a fraction of the work.
                opened.draft("L", (2 * side, 2 * side))
                if opened.format == "JPEG" and opened.getexif().get(_ORIENTATION, 1) == 1:
                    grey = opened.convert("L").resize((side, side), Image.Resampling.LANCZOS)
                    return np.asarray(grey, np.float32)
        grey = picture(path, frame, white).convert("L")
        return np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS), np.float32)
    except BAD_IMAGE:
        return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what Pillow warns of out of the terminal: what is wrong with a file is said."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def in_threads(work: Callable[[_S], _T], things: Sequence[_S]) -> Iterator[_T]:
    """Maps in threads, results in order, few of them waiting in memory."""
    workers = min(16, 2 * (os.cpu_count() or 1))
    with _quiet(), ThreadPoolExecutor(workers) as pool:
        left = iter(things)
        waiting = deque(pool.submit(work, thing) for thing in islice(left, 8 * workers))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(work, thing) for thing in islice(left, 1))


def of_each(work: Callable[[Record], _T], records: Sequence[Record]) -> list[_T]:
    """Maps images that lie anywhere, in threads; results in order.

    Those of an array are asked for one after another and in its order: compressed, it begins anew
    for an image that lies behind.
    """
    inside = [i for i, record in enumerate(records) if _in_array(record.path, record.frame)]
    inside.sort(key=lambda i: (str(records[i].path), records[i].frame or 0))
    found = {i: work(records[i]) for i in inside}
    others = [i for i in range(len(records)) if i not in found]
    found |= zip(others, in_threads(lambda i: work(records[i]), others), strict=True)
    return [found[i] for i in range(len(records))]
