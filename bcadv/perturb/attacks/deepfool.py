"""DeepFool."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.boundary import BoundaryAttack
from bcadv.perturb.halfspace import moved, smallest_change
from bcadv.perturb.search import Search
from bcadv.perturb.threat import is_number

_QUERIES = 10
"""Of the last search along the path to what was found."""


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
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BcadvError(
                    f"{self.name}: {name} is {value!r}; give a whole number from 1 up."
                )
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
        self._shrink(search, rows, _QUERIES)

    def _stride(self, step: int) -> float:
        del step
        return 1 + self.overshoot

    def _slopes(self, search: Search, rows: Tensor, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of the lead of the class whose boundary is nearest, that lead, and the logits.

        The lead of a class that is wanted is that over the best of those that are not.
        """
        target = search.target[rows]
        point = point.detach().requires_grad_()
        logits = self._traced(search.model, point, target)
        wanted = self.wanted(logits, target)
        most = min(self.candidates, int(wanted.sum(1).max()))
        values = logits.double()
        theirs = values.masked_fill(wanted, -torch.inf).amax(1)
        ours, _ = values.masked_fill(~wanted, -torch.inf).topk(most, dim=1)
        best, gradient = torch.full_like(theirs, torch.inf), torch.zeros_like(point)
        lead = torch.zeros_like(theirs)
        search.queries.index_add_(0, rows, torch.ones_like(rows))
        for k in range(most):
            there = ours[:, k].isfinite()
            one = torch.where(there, ours[:, k] - theirs, 0.0)
            slope = self._slope(one, point, again=k + 1 < most)
            search.gradients.index_add_(0, rows, there.long())
            far = (-one.detach() / self.threat.dual(slope).double()).nan_to_num(torch.inf)
            nearer = there & ((far < best) | (k == 0))
            best = torch.where(nearer, far, best)
            lead = torch.where(nearer, one.detach(), lead)
            gradient[nearer] = slope[nearer]
        return gradient.detach(), lead.detach(), logits.detach()
