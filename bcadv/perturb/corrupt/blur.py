"""Blur: convolutions whose width grows with the image."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2.functional import gaussian_blur

from bcadv.perturb.corrupt.base import Corruption, scale_of

_TRUNCATE = 4
"""Standard deviations after which a Gaussian is cut off."""


def smoothed(image: Tensor, sigma: float) -> Tensor:
    """Convolves with a Gaussian; the image is mirrored at its edges.

    Args:
        image: shape (channels, height, width).
        sigma: standard deviation in pixels, above 0.
    """
    reach = min(max(1, math.ceil(_TRUNCATE * sigma)), *(side - 1 for side in image.shape[-2:]))
    if reach < 1:
        return image.clone()
    made: Tensor = gaussian_blur(image, [2 * reach + 1] * 2, [sigma] * 2)
    return made


class GaussianBlur(Corruption):
    """Convolution with a Gaussian, standard deviation 1 to 6 pixels of 224."""

    key: ClassVar[str] = "gaussian_blur"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        return smoothed(image, self.of_severity(1, 2, 3, 4, 6) * scale_of(image))


class DefocusBlur(Corruption):
    """Convolution with a disc, radius 3 to 10 pixels of 224; the image is mirrored at its edges.

    The published disc is made of whole pixels and then smoothed. Here a pixel on the rim has the
    weight of about its share inside, so that the radius need not be a whole number.
    """

    key: ClassVar[str] = "defocus_blur"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        disc = disc_of(self.of_severity(3, 4, 6, 8, 10) * scale_of(image)).to(image)
        reach = len(disc) // 2
        if reach >= min(image.shape[-2:]):
            return image.clone()  # of an image that small a disc is one pixel
        padded = functional.pad(image[:, None], [reach] * 4, mode="reflect")
        return functional.conv2d(padded, disc[None, None])[:, 0]


def disc_of(radius: float) -> Tensor:
    """Weights of a disc that sum to 1, float64, shape (2 * reach + 1, 2 * reach + 1).

    Args:
        radius: in pixels.
    """
    reach = math.ceil(radius)
    place = torch.arange(-reach, reach + 1, dtype=torch.float64)
    distance = torch.hypot(place[:, None], place[None, :])
    inside = (radius + 0.5 - distance).clamp(0, 1)
    return inside / inside.sum()
