"""The fast minimum-norm attack."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bcadv.perturb.walk import BoundaryWalk


@dataclass(frozen=True)
class FMN(BoundaryWalk):
    """Fast minimum-norm attack: steps along the gradient, projected onto a ball that adapts.

    Pintor, Roli, Brendel and Biggio, "Fast minimum-norm adversarial attacks through adaptive norm
    constraints", NeurIPS 2021, algorithm 1, with the differences that `BoundaryWalk` names.
    """

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "fmn"

    def _onto(self, point: Tensor, origin: Tensor, radius: Tensor) -> Tensor:
        return self.threat.project(point, origin, radius)
