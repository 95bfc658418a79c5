"""What storing and sending an image does to it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2.functional import jpeg

from bcadv.perturb.corrupt.base import Corruption


class Jpeg(Corruption):
    """JPEG compression with a quality of 25 to 7; the only one that rounds to 256 levels.

    A block has 8 x 8 pixels whatever the size of the image, so that small images lose more.
    """

    key: ClassVar[str] = "jpeg"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        levels = (image * 255).round().byte().cpu()
        quality = int(self.of_severity(25, 18, 15, 10, 7))
        return jpeg(levels, quality).to(image) / 255


class Pixelate(Corruption):
    """Averages into fewer pixels, 0.6 to 0.25 of each side, and repeats these."""

    key: ClassVar[str] = "pixelate"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        share = self.of_severity(0.6, 0.5, 0.4, 0.3, 0.25)
        height, width = image.shape[-2:]
        size = [max(1, int(height * share)), max(1, int(width * share))]
        small = functional.interpolate(image[None], size, mode="area")
        return functional.interpolate(small, (height, width), mode="nearest-exact")[0]
