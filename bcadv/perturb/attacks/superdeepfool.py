"""SuperDeepFool."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from bcadv.perturb.attack import whole
from bcadv.perturb.attacks.deepfool import DeepFool
from bcadv.perturb.search import Search

_QUERIES = 10
"""Of the searches along the path to what was found."""


@dataclass(frozen=True)
class SuperDeepFool(DeepFool):
    """SuperDeepFool: DeepFool, and then to where the boundary that it met is nearest.

    Abdollahpoor, Alizadeh, Moosavi-Dezfooli and Fawzi, "SuperDeepFool: a new fast and accurate
    minimal adversarial attack", 2024, algorithm SDF(inf, 1): DeepFool's change is projected onto
    the normal of the boundary, in turn with DeepFool's steps until neither changes it. Two
    differences: the projection is the nearest point of the tangent plane in the box; and where that
    is on the wrong side of the boundary, the plane is moved by what is missing, which costs queries
    and no gradients.

    Attributes:
        rounds: projections, at most; an image that gains nothing more takes fewer.

    Raises:
        BcadvError: an option out of its range.
    """

    rounds: int = field(default=50, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "rounds", 1)

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "superdeepfool"

    def _approach(self, search: Search, rows: Tensor) -> None:
        self._cross(search, rows, self.steps)
        self._shrink(search, rows, _QUERIES)
        self._refine(search, rows, self.rounds)
        self._shrink(search, rows, _QUERIES)
