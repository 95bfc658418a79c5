"""The catalog of corruptions: a row each, read by the command line and the plan.

Imports no torch. A new corruption is its class in `bcadv.perturb.corrupt` and a row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bcadv.perturb.corrupt.base import Corruption

SEVERITIES = (1, 2, 3, 4, 5)

ALL = "all"
"""Stands for every corruption that suits the images."""

_COMMON = "Hendrycks & Dietterich 2019"


@dataclass(frozen=True)
class CorruptionRow:
    """A row of the catalog.

    Attributes:
        name: in files and on the command line.
        place: of its class, ``module:class``.
        label: what people call it.
        words: what it does, in one line.
        source: where it and the values of its severities are from.
        stained: whether it is for tissue stained with haematoxylin and eosin alone.
    """

    name: str
    place: str
    label: str
    words: str
    source: str = _COMMON
    stained: bool = False


_ROWS = (
    CorruptionRow(
        "gaussian_noise",
        "bcadv.perturb.corrupt.noise:PixelNoise",
        "Gaussian noise",
        "Independent Gaussian noise on every value, as of poor light.",
    ),
    CorruptionRow(
        "shot_noise",
        "bcadv.perturb.corrupt.noise:ShotNoise",
        "Shot noise",
        "Poisson noise, as of few photons.",
    ),
    CorruptionRow(
        "impulse_noise",
        "bcadv.perturb.corrupt.noise:ImpulseNoise",
        "Impulse noise",
        "Values that turn black or white, as of bit errors.",
    ),
    CorruptionRow(
        "gaussian_blur",
        "bcadv.perturb.corrupt.blur:GaussianBlur",
        "Gaussian blur",
        "Convolution with a Gaussian.",
    ),
    CorruptionRow(
        "defocus_blur",
        "bcadv.perturb.corrupt.blur:DefocusBlur",
        "Defocus blur",
        "Convolution with a disc, as of a lens out of focus.",
    ),
    CorruptionRow(
        "brightness",
        "bcadv.perturb.corrupt.light:Brightness",
        "Brightness",
        "A larger value at the same hue and saturation.",
    ),
    CorruptionRow(
        "contrast",
        "bcadv.perturb.corrupt.light:Contrast",
        "Contrast",
        "Values drawn towards the mean of their channel.",
    ),
    CorruptionRow(
        "jpeg",
        "bcadv.perturb.corrupt.digital:Jpeg",
        "JPEG",
        "Compression with a low quality.",
    ),
    CorruptionRow(
        "pixelate",
        "bcadv.perturb.corrupt.digital:Pixelate",
        "Pixelation",
        "Fewer pixels, as of a low resolution.",
    ),
    CorruptionRow(
        "elastic",
        "bcadv.perturb.corrupt.elastic:Elastic",
        "Elastic deformation",
        "Small smooth displacements that differ from place to place.",
        source=f"{_COMMON} (severities 3 to 5), Simard et al. 2003",
    ),
    CorruptionRow(
        "stain",
        "bcadv.perturb.corrupt.stain:StainShift",
        "Stain shift",
        "More or less haematoxylin and eosin, as of another laboratory.",
        source="Ruifrok & Johnston 2001, Tellez et al. 2019",
        stained=True,
    ),
)

CORRUPTIONS: Mapping[str, CorruptionRow] = {row.name: row for row in _ROWS}
"""Every corruption by its name."""


def spelt_out(names: tuple[str, ...], *, stained: bool) -> tuple[str, ...]:
    """Names with `ALL` replaced by those it stands for, each once.

    Args:
        names: of rows, and `ALL`.
        stained: whether the images are known to show stained tissue: others are left alone by
            what is for such tissue, unless it is named.
    """
    every = [row.name for row in CORRUPTIONS.values() if stained or not row.stained]
    return tuple(dict.fromkeys(n for name in names for n in (every if name == ALL else [name])))


def build(name: str, severity: float = 0, *, seed: int = 0) -> Corruption:
    """Makes a corruption of the catalog.

    Args:
        name: of its row.
        severity: from 1 to 5; 0 leaves images as they are.
        seed: of what is random about it.
    """
    module, _, kind = CORRUPTIONS[name].place.partition(":")
    made: Corruption = getattr(import_module(module), kind)(severity, seed=seed)
    return made
