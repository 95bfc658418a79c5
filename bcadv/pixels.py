"""From an image file of any mode to 8-bit RGB, the same for training and for the logged model."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

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
    """Brings an image of any mode to 8-bit RGB.

    Grey is repeated, an alpha channel is dropped, a palette is looked up. 16-bit values are
    divided by 257, so that 0 and 65535 become 0 and 255: nothing is stretched to the range in use.

    Raises:
        ValueError: 32-bit pixels, which have no agreed range.
    """
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


def resized(size: tuple[int, int], short: int | None) -> tuple[int, int]:
    """Width and height once the shorter side has a length; ``None``: as they are."""
    if short is None:
        return size
    least = min(size)
    return round(size[0] * short / least), round(size[1] * short / least)
