"""The momentum method on images that change their size and place."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.attacks.mifgsm import MIFGSM
from bcadv.perturb.random import seeded
from bcadv.perturb.search import Search
from bcadv.perturb.threat import is_number


@dataclass(frozen=True)
class DIFGSM(MIFGSM):
    """DI-FGSM: MI-FGSM with gradients of the image made smaller and put somewhere on black.

    Xie, Zhang, Zhou, Bai, Wang, Ren and Yuille, "Improving transferability of adversarial examples
    with input diversity", CVPR 2019, algorithm 1; with momentum it is their M-DI2-FGSM. The paper
    enlarges the canvas instead, which a network of fixed input size refuses.

    What is judged is the image itself, which costs a query more at each step.

    Attributes:
        probability: that an image is changed at a step; the paper takes 1/2.
        smallest: side of the smallest copy as a share of the image's.
        seed: names the family of random sizes and places; those of an image at a step depend on it,
            on the draw, and on the image's index.

    Raises:
        BcadvError: an option out of its range.
    """

    probability: float = field(default=0.5, kw_only=True)
    smallest: float = field(default=0.9, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "seed", 0)
        for name in ("probability", "smallest"):
            value, least = getattr(self, name), 0.0 if name == "probability" else 0.1
            if not is_number(value) or not least <= value <= 1:
                raise BcadvError(
                    f"{self.name}: {name} is {value!r}; give a share from {least:g} to 1."
                )

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "difgsm"

    def _slope(
        self, search: Search, rows: Tensor, point: Tensor, ahead: Tensor, number: int
    ) -> tuple[Tensor, Tensor]:
        seeds = [(self.seed, search.draw, index, number) for index in search.index[rows].tolist()]
        across, down = self._places(seeds, point)
        gradient, _ = self.gradient_at(search, rows, down @ point @ across.mT)
        # Both maps are linear, so the image's gradient is that of the copy, sent back.
        return down.mT @ gradient @ across, search.logits(rows, point)

    def _places(self, seeds: list[tuple[int, int, int, int]], point: Tensor) -> tuple[Tensor, ...]:
        """The map of each image's columns and that of its rows, shape (batch, 1, side, side)."""
        sides = point.shape[:-3:-1]
        maps = [torch.eye(side).repeat(len(point), 1, 1) for side in sides]
        for image, numbers in enumerate(seeds):
            changed, share, *places = torch.rand(4, generator=seeded(*numbers)).tolist()
            if changed >= self.probability:
                continue
            for kind, side, place in zip(maps, sides, places, strict=True):
                least = int(self.smallest * side)
                size = max(1, min(side, least + int(share * (side - least))))
                kind[image] = resized(side, size, int(place * (side - size + 1)))
        return tuple(kind.to(point)[:, None] for kind in maps)


def resized(side: int, size: int, place: int) -> Tensor:
    """The map from a line of pixels to the same line, resized bilinearly, on a black one.

    Args:
        side: pixels of the line.
        size: pixels that it is resized to.
        place: number of the pixel at which the resized line begins.

    Returns:
        Shape (side, side): one row for each pixel of the result.
    """
    source = ((torch.arange(size) + 0.5) * side / size - 0.5).clamp(0, side - 1)
    weight = (1 - (source[:, None] - torch.arange(side)).abs()).clamp(min=0)
    whole_line = torch.zeros(side, side)
    whole_line[place : place + size] = weight
    return whole_line
