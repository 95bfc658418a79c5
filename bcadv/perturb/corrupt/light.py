"""Too much light, and too little contrast."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bcadv.perturb.corrupt.base import Corruption


class Brightness(Corruption):
    """Adds 0.1 to 0.5 to the value of each pixel at the same hue and saturation (HSV).

    The value of a pixel is its largest channel, so all channels are multiplied by the new value
    over the old one; black becomes grey.
    """

    key: ClassVar[str] = "brightness"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        value = image.amax(0, keepdim=True)
        brighter = (value + self.of_severity(0.1, 0.2, 0.3, 0.4, 0.5)).clamp(max=1)
        black = value < torch.finfo(image.dtype).tiny
        return torch.where(black, brighter, image * (brighter / value.masked_fill(black, 1)))


class Contrast(Corruption):
    """Multiplies the distance from the mean of the channel by 0.4 to 0.05."""

    key: ClassVar[str] = "contrast"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        mean = image.mean((1, 2), keepdim=True)
        return mean + self.of_severity(0.4, 0.3, 0.2, 0.1, 0.05) * (image - mean)
