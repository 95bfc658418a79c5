"""The momentum method with a smoothed gradient."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.attacks.mifgsm import MIFGSM
from bcadv.perturb.search import Search

_DEVIATIONS = 3.0
"""Standard deviations of the Gaussian from the kernel's middle to its edge."""


@dataclass(frozen=True)
class TIFGSM(MIFGSM):
    """TI-FGSM: MI-FGSM with each gradient smoothed by a Gaussian.

    Dong, Pang, Su and Zhu, "Evading defenses to transferable adversarial examples by
    translation-invariant attacks", CVPR 2019, equation 7: to first order, the mean gradient over
    images shifted by a few pixels.

    Attributes:
        kernel: width of the Gaussian's window in pixels, odd; the paper takes 15, and 1 smooths
            nothing.

    Raises:
        BcadvError: an option out of its range.
    """

    kernel: int = field(default=15, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "kernel", 1)
        if self.kernel % 2 == 0:
            raise BcadvError(
                f"tifgsm: kernel is {self.kernel}; give an odd number of pixels, such as 15, so "
                "that the window has a middle."
            )

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "tifgsm"

    def _slope(
        self, search: Search, rows: Tensor, point: Tensor, ahead: Tensor, number: int
    ) -> tuple[Tensor, Tensor]:
        gradient, logits = self.gradient_at(search, rows, point)
        line = torch.linspace(-_DEVIATIONS, _DEVIATIONS, self.kernel, dtype=torch.float64)
        window = torch.exp(-line.square() / 2) if self.kernel > 1 else torch.ones(1)
        window = (window / window.sum()).to(gradient)
        # A Gaussian is a product: first down the columns, then along the rows.
        channels = gradient.shape[1]
        for shape in ((-1, 1), (1, -1)):
            weight = window.reshape(1, 1, *shape).repeat(channels, 1, 1, 1)
            gradient = functional.conv2d(gradient, weight, padding="same", groups=channels)
        return gradient, logits
