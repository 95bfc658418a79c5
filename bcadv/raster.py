"""What Pillow opens, with as many bits as the file has; one picture of a file of several."""

from __future__ import annotations

import struct
import sys
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, ImageOps

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

Numbers: TypeAlias = npt.NDArray[Any]

_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339
"""Tags of TIFF 6.0."""
_WHITE_IS_ZERO = 0

_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height (CIPA DC-008, tag 274)."""


_GREY = (0, 4)
"""Colour types of PNG: grey, and grey beside alpha."""


@dataclass(frozen=True)
class Raw:
    """Pixels as a file has them.

    Attributes:
        values: numbers of any kind, shape (height, width) or (height, width, 3).
        white: the value that is white by the file's own rule, above 0, where black is 0; ``None``:
            it has no such rule.
        bits: 8 or 16, in which they are kept.
        inverted: whether 0 is white and ``white`` black.
        own: whether the values are in the file's own units, and not behind a table or a window.
        kind: what they are, for a message.
        said: what a reader of the results must know, of all files alike; empty: nothing.
    """

    values: Numbers
    white: float | None
    bits: int
    inverted: bool = False
    own: bool = True
    kind: str = ""
    said: str = ""


def read(content: bytes, frame: int | None = None) -> Raw:
    """The pixels of an image file, turned as a viewer shows them (EXIF orientation).

    Args:
        content: of the file.
        frame: which of several pictures, from 0; ``None``: the file has one.

    Raises:
        ValueError, OSError and others of `BAD_IMAGE`: it cannot be read, or holds several.
    """
    with Image.open(BytesIO(content)) as image:
        said = _seek(image, frame)
        if loses_bits(image):
            _refuse_planes(image)
            if image.tile[0].args == "LA;16B":
                return Raw(_grey_beside_alpha(image), 65535, 16, said=said)
            # Pillow keeps the upper byte of each value. Told the other order, it keeps the lower.
            if _rawmode(image).startswith(("RGB;16", "RGBA;16", "RGBX;16")):
                upper = np.asarray(_turned(image))[..., :3].astype(np.uint16)
                with Image.open(BytesIO(content)) as again:
                    _seek(again, frame)
                    again.tile = [tile._replace(args=_lower(tile.args)) for tile in again.tile]
                    lower = np.asarray(_turned(again))[..., :3]
                return Raw(upper * np.uint16(256) + lower, 65535, 16, said=said)
        return of_image(image, said or _reduced(image, content))


def of_image(image: Image.Image, said: str = "") -> Raw:
    """The pixels of an image of Pillow.

    Grey stays grey, an alpha channel is dropped, a palette is looked up.

    Raises:
        ValueError and others of `BAD_IMAGE`: it cannot be decoded.
    """
    if image.mode == "RGB":
        return Raw(np.asarray(_turned(image)), 255, 8, said=said)
    if image.mode.startswith(("I", "F")):
        return _one_channel(image, said)
    image = _turned(image)
    if image.mode == "P":
        # Straight to RGB, Pillow warns of a transparent palette.
        image = image.convert("RGBA")
    if image.mode == "L":
        return Raw(np.asarray(image), 255, 8, said=said)
    return Raw(np.asarray(image.convert("RGB")), 255, 8, said=said)


def size_of(image: Image.Image) -> tuple[int, int, int]:
    """Width and height of an image as it is turned, and the bits that it is kept in."""
    # Of a TIFF Pillow has exchanged them already.
    turned = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS and image.format != "TIFF"
    width, height = image.size[::-1] if turned else image.size
    deep = image.mode.startswith(("I", "F")) or (
        loses_bits(image) and _rawmode(image).startswith(("RGB;16", "RGBA;16", "RGBX;16", "LA;16"))
    )
    return width, height, 16 if deep else 8


def quick_size(head: bytes) -> tuple[int, int, int, int] | None:
    """The same from the first bytes of a PNG or JPEG without opening it, but for the turn.

    And whether it has one channel, which is grey, or three.

    Ten times as quick as Pillow, where only the space is asked that an image takes.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR" and len(head) >= 26:
        width, height, bits = struct.unpack(">IIB", head[16:25])
        return width, height, 16 if bits == 16 else 8, 1 if head[25] in _GREY else 3
    if not head.startswith(b"\xff\xd8"):
        return None
    place = 2
    while place + 9 < len(head) and head[place] == 0xFF:
        marker = head[place + 1]
        # The start of a frame, of all kinds; between them stand three other markers.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[place + 5 : place + 9])
            return width, height, 8, 1 if head[place + 9] == 1 else 3
        place += 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    return None


def _turned(image: Image.Image) -> Image.Image:
    """The image as its orientation says; itself where that is nothing to do."""
    # Most files have no such words, and asking for their tags takes as long as a small copy.
    plain = image.format == "JPEG" and not image.info.keys() & {"exif", "xmp"}
    if plain or image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return image  # Pillow would copy it
    return ImageOps.exif_transpose(image)


def _seek(image: Image.Image, frame: int | None) -> str:
    """Goes to a picture of the file; returns what is to be said of the choice."""
    count = getattr(image, "n_frames", 1)
    if frame is not None:
        if not 0 <= frame < count:
            raise ValueError(f"it holds {count} picture(s), numbered from 0, and none is {frame}")
        if count > 1:
            image.seek(frame)
        return ""
    # The first of a Photoshop file is all layers together.
    if count == 1 or image.format == "PSD":
        return ""
    if image.format == "MPO":
        return "the first of several pictures in a file of a camera (MPO) is taken"
    if image.format == "TIFF" and _is_largest_first(image, count):
        return "page 1 of a TIFF is taken, whose further pages are smaller copies"
    raise ValueError(
        f"it holds {count} pictures (frames or pages) of {image.size[0]} x {image.size[1]} pixels: "
        "save the one that is meant as a file of its own"
    )


def _is_largest_first(image: Image.Image, count: int) -> bool:
    """Whether all pages but the first are smaller ones.

    Raises:
        ValueError: the first is the smaller one: a thumbnail.
    """
    first = image.size
    largest_first = True
    for page in range(1, count):
        image.seek(page)
        size = image.size
        if size[0] * size[1] > first[0] * first[1]:
            raise ValueError(
                f"page 1 of {count} has {first[0]} x {first[1]} pixels and page {page + 1} "
                f"{size[0]} x {size[1]}: save the page that is meant as a file of its own"
            )
        largest_first &= size[0] * size[1] < first[0] * first[1]
    image.seek(0)
    return largest_first


def _tiles(image: Image.Image) -> list[Any]:
    return list(image.tile) if isinstance(image, ImageFile.ImageFile) else []


def _rawmode(image: Image.Image) -> str:
    """How the file has its values, in Pillow's words; empty where an image is no file."""
    for tile in _tiles(image):
        args = tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0]
        return str(args)
    return ""


def loses_bits(image: Image.Image) -> bool:
    """Whether a colour file of 16 bits would come out of Pillow with 8."""
    if image.mode.startswith(("I", "F")):
        return False
    if image.format == "TIFF":
        bits: tuple[int, ...] = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))  # type: ignore[attr-defined]
        return max(bits) > 8
    return ";16" in _rawmode(image)


def _refuse_planes(image: Image.Image) -> None:
    """Pillow takes the bytes of 16-bit planes for 8-bit pixels."""
    if image.format == "TIFF" and image.tag_v2.get(_PLANAR, 1) == 2:  # type: ignore[attr-defined]
        raise ValueError(
            "it is a TIFF of 16 bits with a plane for each colour, which is not read: save it with "
            "the colours of a pixel side by side"
        )


def _lower(args: Any) -> Any:
    """The arguments of Pillow's decoder for the other byte of each value."""
    if isinstance(args, str):
        native = "L" if sys.byteorder == "little" else "B"
        order = native if args[-1] == "N" else args[-1]
        return args[:-1] + ("B" if order == "L" else "L")
    return (_lower(args[0]), *args[1:])


def _grey_beside_alpha(image: Any) -> Numbers:
    """Grey of 16 bits beside 16 bits of alpha, read as one number of 32."""
    image._mode = "I"
    image.tile = [tile._replace(args="I;32B") for tile in image.tile]
    pair = np.asarray(_turned(image)).view(np.uint32)
    return (pair >> 16).astype(np.uint16)


def _reduced(image: Image.Image, content: bytes) -> str:
    """What to say of a file with more bits than Pillow decodes; empty of most."""
    reduced = loses_bits(image)
    if image.format == "JPEG2000" and image.mode != "I;16":
        size = content.find(b"\xff\x51")  # marker SIZ; the depth of a channel stands 40 bytes on
        reduced = size >= 0 and (content[size + 40] & 0x7F) + 1 > 8
    elif image.format == "AVIF":
        box = content.find(b"av1C")
        reduced = box >= 0 and bool(content[box + 6] & 0x40)
    elif image.format == "PPM" and image.mode == "RGB":
        args = _tiles(image)[0].args
        reduced = isinstance(args, tuple) and isinstance(args[1], int) and args[1] > 255
    return f"only the upper 8 bits of colours of more are read ({image.format})" if reduced else ""


def _one_channel(image: Image.Image, said: str) -> Raw:
    """Grey of more than 8 bits."""
    tags: Any = getattr(image, "tag_v2", {})
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    sample = tags.get(_SAMPLE_FORMAT, (1,))[0]
    levels = _ppm_levels(image)
    mode = image.mode
    values = np.asarray(_turned(image))
    if mode.startswith("I;16"):
        white = float(2**bits - 1) if bits <= 16 else 65535.0
        return Raw(values.astype(np.uint16), white, 16, inverted, said=said)
    if levels is not None:
        # Pillow has stretched them to 65535.
        return Raw(np.rint(values / 65535 * levels), levels, 16, said=said)
    if mode == "F":
        return Raw(values, None, 16, inverted, kind="32-bit numbers with a fraction", said=said)
    if image.format == "TIFF" and bits == 32 and sample == 1:
        return Raw(values.view(np.uint32), None, 16, inverted, kind="32-bit pixels", said=said)
    kind = "signed 16-bit pixels" if bits == 16 and sample == 2 else "32-bit pixels"
    return Raw(values, None, 16, inverted, kind=kind, said=said)


def _ppm_levels(image: Image.Image) -> float | None:
    """The white of a portable grey map of more than 8 bits, which its header names."""
    if image.format != "PPM":
        return None
    args = _tiles(image)[0].args
    return float(args[1]) if isinstance(args, tuple) and isinstance(args[1], int) else 65535.0
