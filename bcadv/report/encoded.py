"""Photographs as the page holds them: amplified changes, compressed, as large as it can bear."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcadv.study.shots import Shot

_SIDES = (224, 192, 160, 128, 96, 64)
_PER_CLASS, _IN_ALL = 440_000, 1_400_000
_QUALITY = 80
_SINGLE = 1 + 1e-4  # a change between pixels in single precision may come out a little too large

Uris: TypeAlias = list[list[tuple[str, str]]]
"""Per condition and image, data URIs of the image and of its change."""


def factor_of(shots: Sequence[Shot], i: int) -> float:
    """By how much the change of image `i` can be amplified at every strength and fit the range.

    One factor for all strengths, so that the change is seen to grow; a whole number from 1.
    """
    largest = max(float(np.abs(shot.image[i] - shots[0].image[i]).max()) for shot in shots)
    room = 0.5 * _SINGLE / max(largest, 0.5 / 255 / 100)
    return float(room // 1) if room >= 1 else 0.5


def amplified(change: NDArray[Any], factor: float) -> NDArray[Any]:
    """A change, (3, H, W), as a picture in [0, 1]: mid-grey where there is none."""
    return 0.5 + factor * change


def uris(shots: Sequence[Shot], factors: Sequence[float]) -> Uris:
    """Pictures as large as the page can bear, and no larger than the images.

    Args:
        shots: clean first.
        factors: of the change of each image.
    """
    allowed = min(_PER_CLASS * len(factors), _IN_ALL)
    side = _SIDES[0]
    while True:
        made = [
            [
                (
                    _uri(image, side, Image.Resampling.LANCZOS),
                    # Averaging would hide a change that turns its sign from pixel to pixel.
                    _uri(amplified(image - clean, by), side, Image.Resampling.NEAREST),
                )
                for image, clean, by in zip(shot.image, shots[0].image, factors, strict=True)
            ]
            for shot in shots
        ]
        total = sum(len(uri) for row in made for pair in row for uri in pair)
        if total <= allowed or side == _SIDES[-1]:
            return made
        fits = (s for s in _SIDES if s < side and total * s**2 <= allowed * side**2)
        side = next(fits, _SIDES[-1])


def _uri(pixels: NDArray[Any], side: int, how: Image.Resampling) -> str:
    whole = picture(pixels)
    scale = min(1.0, side / max(whole.size))
    small = whole.resize([max(1, round(scale * n)) for n in whole.size], how)
    return jpeg(small, _QUALITY, optimize=True)


def picture(pixels: NDArray[Any]) -> Image.Image:
    """Pixels, (3, H, W) in [0, 1], as a picture; what lies outside is cut off."""
    grey_levels = np.clip(np.moveaxis(pixels, 0, -1) * 255, 0, 255)
    return Image.fromarray(grey_levels.round().astype(np.uint8))


def jpeg(image: Image.Image, quality: int, **options: Any) -> str:
    """The picture as a data URI."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, **options)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
