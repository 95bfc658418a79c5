"""From an image file of any mode to 8-bit RGB, the same for training and for the logged model."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

# What Pillow raises on damaged files, by format: zlib and struct errors come from inside a chunk.
BAD_IMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def to_rgb(image: Image.Image) -> Image.Image:
    """Brings an image of any mode to 8-bit RGB, turned as a viewer shows it (EXIF orientation).

    Grey is repeated, an alpha channel is dropped, a palette is looked up. 16-bit values are
    divided by 257, so that 0 and 65535 become 0 and 255: nothing is stretched to the range in use.

    Raises:
        ValueError: 32-bit pixels, which have no agreed range, or a file whose first page is a small
            copy of another.
    """
    _first_page(image)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        values = np.asarray(image, dtype=np.uint16)
        grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(
            f"32-bit pixels (mode {image.mode}) have no agreed range for black to white"
        )
    if image.mode == "P":
        # Straight to RGB, Pillow warns of a transparent palette.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _first_page(image: Image.Image) -> None:
    """Refuses a file of several pages whose first one is smaller than another: a thumbnail."""
    pages = getattr(image, "n_frames", 1)
    if pages == 1 or image.format != "TIFF":
        return
    first = image.size
    for page in range(1, pages):
        image.seek(page)
        if image.size[0] * image.size[1] > first[0] * first[1]:
            size = image.size
            raise ValueError(
                f"page 1 of {pages} has {first[0]} x {first[1]} pixels and page {page + 1} "
                f"{size[0]} x {size[1]}: save the page that is meant as a file of its own"
            )
    image.seek(0)


_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height (CIPA DC-008, tag 274)."""


def upright(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image that `to_rgb` turns as its orientation says."""
    # Of a TIFF Pillow has exchanged them already.
    turned = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS and image.format != "TIFF"
    return image.size[::-1] if turned else image.size


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
        if head.startswith(start) or head[128:].startswith(start):
            return f"it is {what}"
    if head.isascii():
        return "it is text, and begins with " + repr(head[:20].decode())
    return f"it begins with the bytes {head[:8].hex(' ')}, which no format that is read has"


_KINDS = {
    b"DICM": "a DICOM file, which data=folder does not read",
    b"\x93NUMPY": "an array of NumPy",
    b"PK\x03\x04": "a ZIP archive, or what is kept in one",
    b"\x1f\x8b": "compressed with gzip",
    b"\x89HDF": "an HDF5 file",
    b"MATLAB": "a file of MATLAB",
    b"%PDF": "a PDF",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself with git lfs pull",
}
"""First bytes of what is often called like an image, and what it is."""


def resized(size: tuple[int, int], short: int | None) -> tuple[int, int]:
    """Width and height once the shorter side has a length; ``None``: as they are."""
    if short is None:
        return size
    least = min(size)
    return round(size[0] * short / least), round(size[1] * short / least)
