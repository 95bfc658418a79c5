"""Noise that a sensor or a line makes.

A grey image stored in three channels stays grey: whatever took it had one channel. A colour image
has noise of its own in each.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bcadv.perturb.corrupt.base import Corruption


def _of_sensor(image: Tensor) -> Tensor:
    """The channels that differ: the first one of a grey image, else all."""
    return image[:1] if bool((image == image[:1]).all()) else image


class PixelNoise(Corruption):
    """Independent Gaussian noise on every value, standard deviation 0.08 to 0.38."""

    key: ClassVar[str] = "gaussian_noise"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        sigma = self.of_severity(0.08, 0.12, 0.18, 0.26, 0.38)
        return image + sigma * torch.randn(_of_sensor(image).shape, generator=random).to(image)


class ShotNoise(Corruption):
    """Poisson noise: a value x becomes Poisson(x * photons) / photons, with 60 to 3 photons."""

    key: ClassVar[str] = "shot_noise"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        photons = self.of_severity(60, 25, 12, 5, 3)
        expected = _of_sensor(image).float().cpu() * photons
        return (torch.poisson(expected, random).to(image) / photons).expand_as(image)


class ImpulseNoise(Corruption):
    """Salt and pepper: a share of 0.03 to 0.27 of the values turns 0 or 1, as often as the other.

    Each channel of a colour image has its own, so its pixels seldom turn black or white altogether.
    """

    key: ClassVar[str] = "impulse_noise"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        half = self.of_severity(0.03, 0.06, 0.09, 0.17, 0.27) / 2
        drawn = torch.rand(_of_sensor(image).shape, generator=random).to(image.device)
        return image.masked_fill(drawn < half, 0.0).masked_fill(drawn >= 1 - half, 1.0)
