"""Elastic deformation: every place moves a little, near places alike."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from bcadv.perturb.corrupt.base import Corruption, scale_of
from bcadv.perturb.corrupt.blur import smoothed

_GRAIN = 2.44
"""Standard deviation of the Gaussian that smooths the displacements, in pixels of 224."""


class Elastic(Corruption):
    """Moves each place by a smooth random field (Simard et al. 2003).

    The displacement along either axis is 0.3 to 1.95 pixels of 224 in the root mean square. From
    severity 3 on these are the values of Hendrycks & Dietterich. Their first two severities are
    mostly an affine map of the whole image, no deformation and a larger change than their third;
    here they are weaker deformations.
    """

    key: ClassVar[str] = "elastic"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        height, width = image.shape[-2:]
        size = self.of_severity(0.3, 0.5, 0.81, 1.14, 1.95) * scale_of(image)
        field = displacement((height, width), _GRAIN * scale_of(image), random) * size
        rows = torch.arange(height, dtype=torch.float32)[:, None] + field[0]
        columns = torch.arange(width, dtype=torch.float32)[None, :] + field[1]
        # From the centres of pixels to the edges at -1 and 1 that grid_sample counts from.
        grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
        return functional.grid_sample(
            image[None], grid[None].to(image), padding_mode="reflection", align_corners=False
        )[0]


def displacement(shape: tuple[int, int], sigma: float, random: torch.Generator) -> Tensor:
    """A smooth random field of root mean square 1 along either axis, shape (2, height, width).

    Args:
        shape: height and width.
        sigma: of the Gaussian that smooths it, in pixels.
        random: on the CPU.
    """
    field = smoothed(2 * torch.rand((2, *shape), generator=random) - 1, sigma)
    return field / field.square().mean((1, 2), keepdim=True).sqrt()
