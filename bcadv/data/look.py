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
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_HEAD = 256
_MANY = 2000
"""Files from which on a bar is drawn."""

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
        digest: SHA-256 of the file; ``None`` where no other file has its length, and so none its
            bytes.
    """

    format: str
    mode: str
    width: int
    height: int
    turned: bool
    digest: str | None


def headers(paths: Sequence[Path]) -> list[Header | str]:
    """The header of each file, or why it cannot be read.

    A file is read whole only where another one has its length.

    Args:
        paths: of files, several of which may be one.
    """
    different = list(dict.fromkeys(paths))
    lengths = [_length(path) for path in different]
    common = Counter(lengths)
    twins = [length is not None and common[length] > 1 for length in lengths]
    read = in_threads(lambda pair: _header(*pair), list(zip(different, twins, strict=True)))
    found = dict(zip(different, shown(read, "Reading files", len(different)), strict=True))
    return [found[path] for path in paths]


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


def _header(path: Path, whole: bool) -> Header | str:
    from PIL import Image

    from bcadv.pixels import BAD_IMAGE, upright

    content = b""
    try:
        if whole:
            content = path.read_bytes()
        with Image.open(BytesIO(content) if whole else path) as image:
            width, height = upright(image)
            turn = image.getexif().get(_ORIENTATION, 1)
            digest = hashlib.sha256(content).hexdigest() if whole else None
            return Header(
                image.format or "?", image.mode, width, height, turn in range(2, 9), digest
            )
    except BAD_IMAGE as error:
        return why(error, path)


def why(error: Exception, path: Path) -> str:
    """Why a file cannot be read or decoded, in words."""
    from bcadv.pixels import why_unreadable

    try:
        return why_unreadable(error, _head(path))
    except OSError as gone:
        return gone.strerror or type(gone).__name__


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def picture(path: Path, frame: int | None = None) -> Image.Image:
    """An image as the model sees it: 8-bit RGB, upright, as large as it is stored.

    Raises:
        BAD_IMAGE: of `bcadv.pixels`; it cannot be decoded.
    """
    from PIL import Image

    from bcadv.pixels import to_rgb

    with Image.open(path) as image:
        return to_rgb(image)


def values(path: Path, frame: int | None = None) -> tuple[NDArray[Any], int]:
    """The pixels in the units of the file, and the value that counts as white.

    Raises:
        BAD_IMAGE: of `bcadv.pixels`; it cannot be decoded.
    """
    import numpy as np
    from PIL import Image

    from bcadv.pixels import to_rgb

    with Image.open(path) as image:
        if image.mode.startswith("I;16"):
            return np.asarray(image, np.uint16), 65535
        return np.asarray(to_rgb(image)), 255


def small(path: Path, frame: int | None, side: int) -> NDArray[Any] | None:
    """The image in grey, brought to a square; float32, shape (side, side).

    Returns:
        ``None`` where it cannot be decoded.
    """
    import numpy as np
    from PIL import Image

    from bcadv.pixels import BAD_IMAGE

    try:
        with Image.open(path) as opened:
            # A JPEG hands out a half or a quarter of its pixels for a fraction of the work.
            opened.draft("L", (2 * side, 2 * side))
            plain = opened.format == "JPEG" and opened.getexif().get(_ORIENTATION, 1) == 1
            grey = opened.convert("L") if plain else picture(path, frame).convert("L")
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
