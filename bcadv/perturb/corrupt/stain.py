"""Stain shift: another amount of haematoxylin and eosin, as of another laboratory or day."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bcadv.perturb.corrupt.base import Corruption

HED = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
"""Optical density in red, green and blue of haematoxylin, eosin and DAB (Ruifrok & Johnston 2001,
"Quantification of histochemical staining by color deconvolution", table 1)."""

_DARKEST = 1e-6
"""Share of light below which all is as black."""


class StainShift(Corruption):
    """Scales and shifts the amount of haematoxylin and of eosin in every pixel.

    Colour deconvolution: by Beer and Lambert's law the optical density -log10(x) of a pixel is the
    sum of those of the stains, each its amount times its colour `HED`. The amounts c of the two
    stains become a * c + b, with a from [1 - s, 1 + s] and b from [-s, s], uniform, one of each for
    a stain of an image. This is the HED jitter of Tellez et al. 2019 ("Quantifying the effects of
    data augmentation and stain color normalization", sec. 3.2), whose light and strong settings
    are s = 0.05 and s = 0.2; here s grows from 0.05 to 0.3, b is in units of optical density, and
    the third amount, what neither stain explains, stays as it is.
    """

    key: ClassVar[str] = "stain"
    channels: ClassVar[tuple[int, ...]] = (3,)

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        drawn = self.of_severity(0.05, 0.1, 0.15, 0.2, 0.3) * (
            2 * torch.rand((2, 2), generator=random) - 1
        )
        still = torch.zeros(1)
        return restained(image, 1 + torch.cat([drawn[0], still]), torch.cat([drawn[1], still]))


def restained(image: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """The image with other amounts of its stains; may lie beyond [0, 1].

    Args:
        image: in [0, 1], shape (3, height, width).
        scale: of the amounts of haematoxylin, eosin and what is left, shape (3,).
        shift: of the same, in units of optical density, shape (3,).
    """
    colours = torch.tensor(HED, dtype=torch.float64)
    colours = colours / colours.norm(dim=1, keepdim=True)
    density = -image.double().clamp(min=_DARKEST).log10()
    amount = torch.einsum("chw,cs->shw", density, colours.inverse().to(density))
    amount = amount * scale.to(density)[:, None, None] + shift.to(density)[:, None, None]
    return (10 ** -torch.einsum("shw,sc->chw", amount, colours.to(density))).to(image)
