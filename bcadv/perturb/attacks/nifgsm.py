"""The momentum method that looks ahead."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.perturb.attack import whole
from bcadv.perturb.attacks.mifgsm import MIFGSM
from bcadv.perturb.search import Search


@dataclass(frozen=True)
class NIFGSM(MIFGSM):
    """NI-FGSM: MI-FGSM with the gradient of where the momentum is about to carry the image.

    Lin, Song, He, Wang and Hopcroft, "Nesterov accelerated gradient and scale invariance for
    adversarial attacks", ICLR 2020, equations 6 to 8. With `scales` above 1 it is SI-NI-FGSM: the
    gradient is the mean of those at the image's values divided by 1, 2, 4 and so on (equation 9),
    here of the log odds, whose weights do not fall as the image is lost.

    The points ahead may leave ball and box. What is judged is the image itself, which costs a query
    more at each step.

    Attributes:
        scales: copies of the image at falling brightness, at least 1; the paper takes 5.
    """

    scales: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "scales", 1)

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "nifgsm"

    def _slope(
        self, search: Search, rows: Tensor, point: Tensor, ahead: Tensor, number: int
    ) -> tuple[Tensor, Tensor]:
        total = torch.zeros_like(point)
        for copy in range(self.scales):
            gradient, _ = self.gradient_at(search, rows, (point + ahead) / 2**copy)
            # By the chain rule a copy of half the brightness answers half as much.
            total.add_(gradient, alpha=1 / (2**copy * self.scales))
        return total, search.logits(rows, point)
