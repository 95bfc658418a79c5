"""Files that hold many images: arrays of NumPy (.npz) and HDF5 (.h5), read one image at a time.

Nothing is loaded whole: a set of 224 x 224 pixels has 13 GB. What is stored plainly is mapped, what
is compressed is unpacked in its order, once for each pass over the images.
"""

from __future__ import annotations

import lzma
import math
import threading
import tokenize
import zipfile
import zlib
from collections import OrderedDict
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[Any]

PARTS = ("train", "val", "test")
"""In whose order images are numbered over a whole .npz file."""

_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, OverflowError),
    *(RuntimeError, TypeError, SyntaxError, MemoryError, tokenize.TokenError),
)
"""What a ZIP archive or an array in it raises where it cannot be read, or needs a password."""

_KEPT = 256
"""Images of a compressed array that wait for the threads that asked for them."""
_OPEN = 4
"""Files that are open at once."""


class Images(Protocol):
    """The images of one array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def image(self, i: int) -> Numbers:
        """Image ``i``, shape (height, width) or (height, width, 3)."""
        ...


def read(path: Path, frame: int) -> Numbers:
    """One image of a file of many; quick in ascending order, also from several threads.

    Args:
        path: of an .npz file with ``train_images``, ``val_images`` and ``test_images``, or of an
            HDF5 file with a data set ``x``.
        frame: number of the image, from 0, over the parts of an .npz in the order of `PARTS`.

    Returns:
        uint8 or uint16, shape (height, width) or (height, width, 3).

    Raises:
        ValueError or OSError: no such file or image, or none that can be read.
    """
    status = path.stat()
    at = frame
    for array in _arrays(str(path), status.st_size, status.st_mtime_ns):
        if at < array.shape[0]:
            return array.image(at)
        at -= array.shape[0]
    raise ValueError(f"it holds no image with the number {frame}")


@lru_cache(maxsize=_OPEN)
def _arrays(path: str, size: int, changed: int) -> tuple[Images, ...]:
    """The arrays of images of a file; its size and time tell another file of the same name."""
    if path.lower().endswith(".npz"):
        archive = open_npz(Path(path))
        there = members(archive)
        names = [f"{part}_images" for part in PARTS]
        return tuple(images_of(archive, name) for name in names if f"{name}.npy" in there)
    return (Hdf5(Path(path), "x"),)


def open_npz(path: Path) -> zipfile.ZipFile:
    """Opens an .npz file.

    Raises:
        ValueError or OSError: there is none.
    """
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"it is no .npz file, or a part of one ({error})") from None


def members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """What an .npz file holds, by name, which ends in .npy."""
    return {info.filename: info for info in archive.infolist()}


def small(archive: zipfile.ZipFile, name: str, most: int = 2**28) -> Numbers:
    """A whole array of an .npz file, such as its labels; no code is run.

    Raises:
        ValueError or OSError: there is none, it cannot be read, or is larger than ``most`` bytes.
    """
    info = members(archive)[f"{name}.npy"]
    if info.file_size > most:
        raise ValueError(f"{name} has {info.file_size:,} bytes, too many for labels")
    try:
        with archive.open(info) as file:
            shape, dtype, begin, _ = _header(file)
        # NumPy would reserve what the header asks for, before it finds that there is less.
        if not dtype.hasobject and info.file_size < begin + math.prod(shape) * dtype.itemsize:
            raise ValueError("it ends before its last value")
        with archive.open(info) as file:
            array: Numbers = np.lib.format.read_array(file, allow_pickle=False)
            return array
    except _DAMAGE as error:
        raise ValueError(f"{name} cannot be read: {error}") from None


def images_of(archive: zipfile.ZipFile, name: str) -> Images:
    """The images of one array of an .npz file.

    Raises:
        ValueError or OSError: it holds something else, or cannot be read.
    """
    info = members(archive)[f"{name}.npy"]
    try:
        with archive.open(info) as file:
            shape, dtype, begin, fortran = _header(file)
        if fortran:
            raise ValueError("its values lie in Fortran's order")
    except _DAMAGE as error:
        raise ValueError(f"{name} cannot be read: {error}") from None
    _check(name, shape, dtype)
    if info.file_size < begin + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} ends before its last image")
    if info.compress_type == zipfile.ZIP_STORED:
        return _mapped(archive, info, begin, shape, dtype)
    return Packed(archive, info, begin, shape, dtype)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int, bool]:
    """Shape and type of an array in NumPy's format, where its values begin, if in columns."""
    version = np.lib.format.read_magic(file)
    reader = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if reader is None:
        raise ValueError(f"version {version} of NumPy's format")
    shape, fortran, dtype = reader(file)
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"its header says the shape {shape}")
    return shape, dtype, file.tell(), fortran


def _check(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuses what is no array of images.

    Raises:
        ValueError: it is none.
    """
    if dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{name} holds {dtype}; images are uint8 or uint16")
    if len(shape) in (3, 4) and 0 in shape[1:]:
        raise ValueError(f"{name} has the shape {shape}, which are images without a pixel")
    if len(shape) == 3 or (len(shape) == 4 and shape[3] == 3):
        return
    what = f"{name} has the shape {shape}"
    if len(shape) == 4 and shape[3] > 4:
        raise ValueError(f"{what}, which are volumes (3-D): only sets of pictures are read")
    raise ValueError(f"{what}; images have the shape (n, height, width) or (n, height, width, 3)")


class Mapped:
    """Images that lie in a file as they are."""

    def __init__(self, values: Numbers) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def image(self, i: int) -> Numbers:
        """A copy, so that the file may change afterwards."""
        return np.array(self.values[i])


def _mapped(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    begin: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> Mapped:
    path = str(archive.filename)
    with open(path, "rb") as file:  # noqa: PTH123
        file.seek(info.header_offset)
        local = file.read(30)
    if local[:4] != b"PK\x03\x04":
        raise ValueError("its list of contents does not fit its contents")
    # The lengths of name and extra field stand in the local header; the list may have others.
    before = 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    values = np.memmap(path, dtype, "r", info.header_offset + before + begin, shape)
    return Mapped(values)


class Packed:
    """Images of a compressed array, unpacked in their order.

    Whoever asks for an image that lies ahead unpacks those before it too, and leaves them for the
    threads that want them; one that lies behind begins anew.
    """

    def __init__(
        self,
        archive: zipfile.ZipFile,
        info: zipfile.ZipInfo,
        begin: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self.archive, self.info, self.begin = archive, info, begin
        self.shape, self.dtype = shape, dtype
        self._size = math.prod(shape[1:]) * dtype.itemsize
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._file: IO[bytes] | None = None
        self._next = 0

    def image(self, i: int) -> Numbers:
        """One image; see the class.

        Raises:
            ValueError: the file is damaged.
        """
        with self._lock:
            found = self._kept.pop(i, None)
            try:
                content = self._ahead(i) if found is None else found
            except _DAMAGE as error:
                self._file = None
                raise ValueError(f"{self.info.filename} is damaged: {error}") from None
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def _ahead(self, i: int) -> bytes:
        if self._file is None or i < self._next:
            self._file = self.archive.open(self.info)
            self._file.read(self.begin)
            self._next = 0
        while True:
            content = self._file.read(self._size)
            number, self._next = self._next, self._next + 1
            if len(content) < self._size:
                raise EOFError(f"it ends in image {number}")
            if number == i:
                return content
            self._kept[number] = content
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


class Hdf5:
    """Images of a data set of an HDF5 file.

    Args:
        path: of the file.
        name: of the data set.

    Raises:
        ValueError: there is none, or it holds something else than images.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._values = dataset(path, name)
        self.shape, self.dtype = tuple(self._values.shape), self._values.dtype
        _check(name, self.shape, self.dtype)
        # The library does one thing at a time anyway, and not all of its builds are told so.
        self._lock = threading.Lock()

    def image(self, i: int) -> Numbers:
        """One image."""
        with self._lock:
            found: Numbers = self._values[i]
        return found


def dataset(path: Path, name: str) -> Any:
    """A data set of an HDF5 file, of which nothing is loaded.

    Raises:
        ValueError: the file or the data set cannot be read.
    """
    import h5py

    try:
        # A cache of several chunks: neighbours are asked for one after another.
        file = h5py.File(path, "r", rdcc_nbytes=2**26)
    except OSError as error:
        raise ValueError(f"it is no HDF5 file, or a part of one ({str(error)[:80]})") from None
    found = None
    with suppress(KeyError, RuntimeError):
        found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"it has no data set '{name}'; there is {_names(file)}")
    return found


def _names(file: Any) -> str:
    """What an HDF5 file holds, in words."""
    try:
        return ", ".join(sorted(map(str, file))[:8]) or "nothing"
    except (KeyError, RuntimeError):
        return "a list of contents that is damaged"
