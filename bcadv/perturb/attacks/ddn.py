"""The decoupled direction and norm attack."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bcadv.perturb.boundary import unit
from bcadv.perturb.threat import per_image
from bcadv.perturb.walk import BoundaryWalk


@dataclass(frozen=True)
class DDN(BoundaryWalk):
    """Decoupled direction and norm: steps along the gradient, each onto a sphere that adapts.

    Rony, Hafemann, Oliveira, Ben Ayed, Sabourin and Granger, "Decoupling direction and norm for
    efficient gradient-based L2 adversarial attacks and defenses", CVPR 2019, algorithm 1, with the
    differences that `BoundaryWalk` names, and without its rounding to 256 grey levels (take
    ``accept=8bit`` for that).
    """

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "ddn"

    def _onto(self, point: Tensor, origin: Tensor, radius: Tensor) -> Tensor:
        moved = origin + unit(point - origin) * per_image(radius.to(point), point)
        return moved.clamp(*self.bounds)
