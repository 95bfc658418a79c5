"""What storing and sending an image does to it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bcadv.perturb.corrupt.base import Corruption
from bcadv.perturb.jpeg import through_jpeg


class Jpeg(Corruption):
    """JPEG compression with a quality of 25 to 7; the only one that rounds to 256 levels.

    A block has 8 x 8 pixels whatever the size of the image, so that small images lose more.
    """

    key: ClassVar[str] = "jpeg"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        return through_jpeg(image, int(self.of_severity(25, 18, 15, 10, 7)))


class Pixelate(Corruption):
    """Averages into fewer pixels, 0.6 to 0.25 of each side, and repeats these.

    Each pixel belongs to the large one that its centre lies in, as with Pillow's box filter.
    """

    key: ClassVar[str] = "pixelate"

    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        share = self.of_severity(0.6, 0.5, 0.4, 0.3, 0.25)
        down, across = (_averaging(side, share).to(image.device) for side in image.shape[-2:])
        return (down @ image.double() @ across.T).to(image)


def _averaging(side: int, share: float) -> Tensor:
    """Matrix that sets each of the values of a line to the mean of its group, float64."""
    groups = max(1, int(side * share))
    group = ((torch.arange(side) + 0.5) * groups / side).long()
    same = (group[:, None] == group[None, :]).double()
    return same / same.sum(1, keepdim=True)
