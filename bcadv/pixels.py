"""One decoder: from a file to RGB of 8 or 16 bits, the same for training and for a logged model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from bcadv import raster
from bcadv.raster import BAD_IMAGE, Raw, loses_bits

__all__ = (
    "BAD_IMAGE",
    "CONTAINERS",
    "DICOM",
    "Decoded",
    "Header",
    "Pixels",
    "UnreadableImageError",
    "decode",
    "header",
    "is_grey",
    "loses_bits",
    "of_image",
    "raw",
    "resize_floats",
    "resized",
    "scaled",
    "shortened",
    "why_unreadable",
)

Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

CONTAINERS = frozenset({".npz", ".h5", ".hdf5"})
"""Endings of files that hold an array of many images."""
DICOM = frozenset({".dcm", ".dicom", ".ima"})
"""Endings of DICOM files; others are told by the letters DICM."""


class UnreadableImageError(ValueError):
    """An image that cannot be decoded; the message is the reason, without the name of the file."""


@dataclass(frozen=True)
class Decoded:
    """An image as it is trained on and shown.

    Attributes:
        values: RGB, shape (height, width, 3), uint8 or uint16, over their full range; of grey a
            view that repeats one channel.
        white: the value of the file that is white; ``None`` where a window or a table stands
            between the file's values and these.
        low: the lowest value in use, as a share of the range from black to white.
        top: the highest.
        said: what a reader of the results must know of how it was read; empty: nothing.
    """

    values: Pixels
    white: float | None
    low: float
    top: float
    said: str = ""

    @property
    def bits(self) -> int:
        """8 or 16."""
        return 8 * self.values.dtype.itemsize

    @property
    def picture(self) -> Image.Image:
        """To be shown: 8-bit RGB."""
        values = self.values
        if values.dtype == np.uint16:
            values = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return Image.fromarray(values)


@dataclass(frozen=True)
class Header:
    """What a file says of its image before it is decoded.

    Attributes:
        width: in pixels.
        height: in pixels.
        bits: 8 or 16.
        channels: 1 where it is known to be grey, else 3.
    """

    width: int
    height: int
    bits: int
    channels: int = 3


def decode(path: Path, frame: int | None = None, white: float | None = None) -> Decoded:
    """The pixels of an image file, turned as a viewer shows them.

    Grey is repeated, an alpha channel is dropped, a palette is looked up. Values of more than
    8 bits come out with 16. Nothing is stretched to the range in use.

    Args:
        path: of an image, a DICOM file, or an array of many images.
        frame: which image of a file of several, from 0; ``None``: the file is one.
        white: the value that is white, with 0 as black; ``None``: as the file's format has it, or,
            of DICOM, its header.

    Raises:
        UnreadableImageError: it cannot be read, and why in words.
    """
    try:
        return scaled(raw(path, frame, white), white)
    except BAD_IMAGE as error:
        raise UnreadableImageError(_why(error, path)) from None


def raw(path: Path, frame: int | None = None, white: float | None = None) -> Raw:
    """The values of an image file before they are scaled.

    Raises:
        One of `BAD_IMAGE`: it cannot be read.
    """
    if frame is not None and path.suffix.lower() in CONTAINERS:
        from bcadv.data.containers import read

        values = read(path, frame)
        bits = 8 * values.dtype.itemsize
        return Raw(values, float(2**bits - 1), bits)
    content = path.read_bytes()
    if _is_dicom(path, content):
        from bcadv import dicom

        return dicom.read(content, frame, windowed=white is None)
    return raster.read(content, frame)


def scaled(raw: Raw, white: float | None = None) -> Decoded:
    """Brings values to the full range of their bits.

    Raises:
        ValueError: values below black or above white, or no range that is agreed.
    """
    at = raw.white if white is None else white
    if at is None:
        raise ValueError(
            f"{raw.kind} have no agreed range from black to white: say which value is white with "
            "data.white=VALUE (0 is black)"
        )
    if raw.bits == 8 and at > 255:
        raise ValueError(f"it has 8 bits, in which no value is data.white={at:g}")
    low, top = float(raw.values.min()), float(raw.values.max())
    # Written so that NaN, which compares with nothing, is refused as well.
    if not (low >= 0 and top <= at):
        which = low if top <= at else top
        remedy = (
            f"white is {at:g}: set data.white=VALUE to what is white"
            if top > at
            else "black is 0: shift the values of such files first"
        )
        raise ValueError(f"it holds the value {which:g}, and {remedy}")
    full, dtype = (255, np.uint8) if raw.bits == 8 else (65535, np.uint16)
    values = raw.values
    if at != full or values.dtype != dtype:
        values = np.rint(values * (full / at)).astype(dtype)
    if raw.inverted:
        values = full - values
    if values.ndim == 2:
        values = np.broadcast_to(values[..., None], (*values.shape, 3))
    return Decoded(values, at if raw.own else None, low / at, top / at, raw.said)


def header(path: Path, frame: int | None = None) -> Header:
    """Size and bits of an image, without decoding it where its format allows that.

    Raises:
        UnreadableImageError: it cannot be read, and why in words.
    """
    try:
        if frame is not None and path.suffix.lower() in CONTAINERS:
            found = raw(path, frame)
            return Header(found.values.shape[1], found.values.shape[0], found.bits)
        with path.open("rb") as file:
            head = file.read(4096)
        if _is_dicom(path, head):
            from bcadv import dicom

            return Header(*dicom.size_of(path))
        quick = raster.quick_size(head)
        if quick is not None:
            return Header(*quick)
        with Image.open(path) as image:
            return Header(*raster.size_of(image))
    except BAD_IMAGE as error:
        raise UnreadableImageError(_why(error, path)) from None


def of_image(image: Image.Image, white: float | None = None) -> Decoded:
    """As `decode`, of an image that Pillow has opened.

    Raises:
        One of `BAD_IMAGE`: it cannot be decoded.
    """
    return scaled(raster.of_image(image), white)


def is_grey(values: Pixels) -> bool:
    """Whether an image is a view that repeats one channel."""
    return values.strides[2] == 0


def shortened(values: Pixels, short: int | None) -> Pixels:
    """Brings the shorter side to a length, aspect kept, antialiased (Lanczos).

    16 bits stay 16 bits: Pillow resizes such values as floats, channel by channel.

    Args:
        values: shape (height, width, 3).
        short: in pixels; ``None``: as it is.
    """
    if short is None:
        return values
    size = resized(values.shape[1::-1], short)
    if values.dtype == np.uint8 and is_grey(values):
        grey = Image.fromarray(values[..., 0]).resize(size, Image.Resampling.LANCZOS)
        return np.broadcast_to(np.asarray(grey)[..., None], (*grey.size[::-1], 3))
    if values.dtype == np.uint8:
        return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.LANCZOS))
    # Lanczos overshoots at edges.
    floats = resize_floats(values.astype(np.float32), size).clip(0, 65535)
    found: npt.NDArray[np.uint16] = np.rint(floats).astype(np.uint16)
    return found


def resize_floats(
    values: npt.NDArray[np.float32], size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """The same of floats to a width and height; beyond their range at edges."""
    channels = [
        np.asarray(Image.fromarray(values[..., k]).resize(size, Image.Resampling.LANCZOS))
        for k in range(3)
    ]
    return np.stack(channels, axis=-1)


def resized(size: tuple[int, ...], short: int | None) -> tuple[int, int]:
    """Width and height once the shorter side has a length; ``None``: as they are."""
    width, height = size
    if short is None:
        return width, height
    least = min(size)
    return round(width * short / least), round(height * short / least)


def _is_dicom(path: Path, head: bytes) -> bool:
    return head[128:132] == b"DICM" or path.suffix.lower() in DICOM


def _why(error: Exception, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return why_unreadable(error, file.read(256))
    except OSError as gone:
        return gone.strerror or type(gone).__name__
    except ValueError:  # no system has a file of such a name
        return str(error)


def why_unreadable(error: Exception, head: bytes) -> str:
    """Why a file is no image that can be read, in words.

    Args:
        error: what Pillow raised.
        head: the first bytes of the file, 132 or more where it has them.
    """
    if not isinstance(error, UnidentifiedImageError):
        return str(error) or type(error).__name__
    if not head:
        return "the file is empty"
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "it is a page of HTML, as a failed download leaves it"
    for start, what in _KINDS.items():
        if head.startswith(start):
            return f"it is {what}"
    if head.isascii():
        return "it is text, and begins with " + repr(head[:20].decode())
    return f"it begins with the bytes {head[:8].hex(' ')}, which no format that is read has"


_KINDS = {
    b"\x93NUMPY": "an array of NumPy",
    b"PK\x03\x04": "a ZIP archive, or what is kept in one",
    b"\x1f\x8b": "compressed with gzip",
    b"\x89HDF": "an HDF5 file",
    b"MATLAB": "a file of MATLAB",
    b"%PDF": "a PDF",
    b"II*\x00": "a TIFF of a kind that is not read",
    b"MM\x00*": "a TIFF of a kind that is not read",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself with git lfs pull",
}
"""First bytes of what is often called like an image, and what it is."""
