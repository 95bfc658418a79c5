"""DeepFool."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.boundary import BoundaryAttack
from bcadv.perturb.search import Search
from bcadv.perturb.threat import is_number

_PLANES, _QUERIES = 2, 10
"""Tangent planes, and queries of the last search along the path to what was found."""


@dataclass(frozen=True)
class DeepFool(BoundaryAttack):
    """DeepFool: steps to the nearest of the boundaries that the linear model at a point has.

    Moosavi-Dezfooli, Fawzi and Frossard, "DeepFool: a simple and accurate method to fool deep
    neural networks", CVPR 2016, algorithms 1 and 2. Three differences: a step is the shortest in
    the box and not cut by it afterwards; what was found is drawn back to the boundary with a few
    queries, which makes good the overshoot; and where the steps do not arrive, the corners of the
    box along the last and the first gradient are tried.

    Attributes:
        steps: at most so many, each with a gradient for each of `candidates` classes.
        overshoot: by which share each step goes beyond the linear model's boundary.
        candidates: classes, those with the largest logits, to whose boundaries it looks.

    Raises:
        BcadvError: an option out of its range.
    """

    steps: int = field(default=50, kw_only=True)
    overshoot: float = field(default=0.02, kw_only=True)
    candidates: int = field(default=10, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "candidates"):
            whole(self, name, 1)
        if not (is_number(self.overshoot) and 0 <= self.overshoot <= 1):
            raise BcadvError(
                f"{self.name}: overshoot is {self.overshoot!r}; give a share from 0 to 1."
            )

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "deepfool"

    def _approach(self, search: Search, rows: Tensor) -> None:
        self._cross(search, rows, self.steps)
        self._refine(search, rows, _PLANES)
        self._shrink(search, rows, _QUERIES)

    def _stride(self, step: int) -> float:
        del step
        return 1 + self.overshoot

    def _classes(self) -> int:
        return self.candidates
