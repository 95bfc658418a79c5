"""How much of the range from black to white the images use: under a quarter is no accident."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LITTLE = 0.25
"""Images that use less of their range than this are suspect: 12-bit values in 16 bits use 1/16."""


@dataclass(frozen=True)
class Ranges:
    """How much of the range from black to white each image uses; arrays of shape (n,).

    Attributes:
        bits: as decoded, 8 or 16.
        white: the value of its file that is white; NaN where it has no such value.
        low: the lowest value in use, as a share of the range.
        top: the highest.
    """

    bits: npt.NDArray[np.int64]
    white: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    top: npt.NDArray[np.float64]


@dataclass(frozen=True)
class InUse:
    """The same of all images together.

    Attributes:
        images: how many there are.
        bits: that they are kept in, 8 or 16.
        white: the value of the files that is white; ``None`` where not one value goes for all.
        little: how many use under a quarter of the range.
        low: lowest value that these use, as a share of the range; 0 where there are none.
        top: the highest.
        little_white: the value that is white in these; ``None`` where not one value goes for all.
    """

    images: int
    bits: int
    white: float | None
    little: int
    low: float
    top: float
    little_white: float | None

    @property
    def mostly_little(self) -> bool:
        """Whether most images use so little that a strength is not what it seems."""
        return self.little > self.images / 2

    @property
    def sentence(self) -> str:
        """Which values are in use, and where it is little the remedy."""
        if not self.little:
            return f"every one of {self.images} images uses a quarter of its range or more"
        of = f"{self.little} of {self.images} images use under a quarter of the range: their pixels"
        if self.little_white is None:
            return f"{of} lie in {self.low:.1%} to {self.top:.1%} of it"
        white = self.little_white
        return f"{of} lie in {self.low * white:g}-{self.top * white:g} of {white:g}"

    @property
    def remedy(self) -> str:
        """What is to be done where most images use little."""
        if self.little_white is None or self.top >= LITTLE:
            return "give images whose black and white are those of the picture"
        top = round(self.top * self.little_white, 6)
        # Values are stored in whole bits; below 1 they are shares.
        whole = 2 ** math.ceil(math.log2(top + 1)) - 1 if top >= 1 else 1
        return f"set data.white={max(whole, 1)} if that is white"


def in_use(ranges: Ranges) -> InUse:
    """What all images together use."""
    little = ranges.top - ranges.low < LITTLE
    return InUse(
        images=len(little),
        bits=int(ranges.bits.max()),
        white=_one(ranges.white),
        little=int(little.sum()),
        low=float(ranges.low[little].min(initial=1.0)) if little.any() else 0.0,
        top=float(ranges.top[little].max(initial=0.0)),
        little_white=_one(ranges.white[little]),
    )


def pixel_notes(said: Mapping[str, int], pixels: InUse) -> list[str]:
    """What has to be said of the pixels before training.

    Args:
        said: sentence on how files were read -> number of images.
        pixels: what they use.
    """
    notes = [f"{n} of {pixels.images} images: {what}." for what, n in sorted(said.items())]
    if pixels.white is not None and (pixels.bits > 8 or pixels.white != 255):
        notes.append(
            f"Pixels keep {pixels.bits} bits, and {pixels.white:g} is white: 1/255 = "
            f"{pixels.white / 255:.4g} and 4/255 = {4 * pixels.white / 255:.4g} of "
            f"{pixels.white:g}."
        )
    elif pixels.bits > 8:
        notes.append("Pixels keep 16 bits; not one value of the files is white in all of them.")
    if pixels.mostly_little:
        notes.append(
            f"{pixels.sentence[0].upper()}{pixels.sentence[1:]}, so a strength such as 4/255 is "
            f"large beside them; {pixels.remedy}."
        )
    return notes


def _one(values: npt.NDArray[np.float64]) -> float | None:
    """The one value that all have."""
    found = set(values.tolist())
    return found.pop() if len(found) == 1 and not np.isnan(values).any() else None
