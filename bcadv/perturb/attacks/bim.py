"""The basic iterative method."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from bcadv.perturb.attack import whole
from bcadv.perturb.loop import GradientAttack
from bcadv.perturb.search import Search


@dataclass(frozen=True)
class BIM(GradientAttack):
    """Equal steps of eps / steps along the gradient, from the image.

    Kurakin, Goodfellow and Bengio, "Adversarial examples in the physical world", ICLR Workshop
    2017.

    Attributes:
        steps: gradients per image and strength, at least 1.
    """

    steps: int = field(default=10, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "steps", 1)

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "bim"

    def _attempt(self, search: Search, rows: Tensor, probe: Tensor) -> None:
        start, lengths = search.image[rows], [1 / self.steps] * self.steps
        self._climb(search, rows, start, probe=probe, lengths=lengths)
