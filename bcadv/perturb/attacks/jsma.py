"""The Jacobian-based saliency map attack."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.boundary import BoundaryAttack
from bcadv.perturb.search import Search
from bcadv.perturb.threat import is_number


@dataclass(frozen=True)
class JSMA(BoundaryAttack):
    """Jacobian-based saliency map attack: the most salient values first, each by a full step.

    Papernot, McDaniel, Jha, Fredrikson, Celik and Swami, "The limitations of deep learning in
    adversarial settings", EuroS&P 2016, algorithms 2 and 3. The saliency of a value is what a step
    in it adds to the lead, in whichever direction helps, by the lead's gradient. With two classes
    the paper's product of two derivatives orders values alike where the room in the box is the
    same; here a value that has little room counts for little. The gradient of a lead is all it
    needs, in place of one per class. At the end values that turn out not to be needed go back.

    Attributes:
        theta: length of a step in a value as a share of the box.
        values: changed between two gradients; 2 are the paper's pairs, 1 is nearer and slower.
        share: of all values that may change, at most.

    Raises:
        BcadvError: an option out of its range.
    """

    theta: float = field(default=1.0, kw_only=True)
    values: int = field(default=1, kw_only=True)
    share: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "values", 1)
        for name in ("theta", "share"):
            value = getattr(self, name)
            if not (is_number(value) and 0 < value <= 1):
                raise BcadvError(f"jsma: {name} is {value!r}; give a share above 0, at most 1.")

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "jsma"

    def _approach(self, search: Search, rows: Tensor) -> None:
        low, high = self.bounds
        length = self.theta * (high - low)
        left, point = rows, search.image[rows]
        limit = max(1, int(self.share * point[0].numel()))
        while True:
            gradient, logits = self.gradient_at(search, left, point)
            reached = self._accept(search, left, point, logits)
            flat, origin = point.flatten(1), search.image[left].flatten(1)
            slope = gradient.flatten(1)
            room = torch.where(slope > 0, high - flat, flat - low).clamp(max=length)
            changed = flat != origin
            # A value that went one way never turns back, so the steps end.
            back = changed & ((flat - origin).sign() == -slope.sign())
            gain = (slope.abs() * room).masked_fill(back, 0.0)
            spent = changed.sum(1) + self.values > limit
            gain = gain.masked_fill(spent[:, None] & ~changed, 0.0)
            most, place = gain.topk(min(self.values, gain.shape[1]), dim=1)
            helps = most > 0
            stuck = ~reached & ~helps[:, 0]
            if bool(stuck.any()):
                best = self.lead(logits, search.target[left])[stuck]
                last = torch.full_like(left[stuck], len(search.radii) - 1)
                self._report(search, left[stuck], last, point[stuck], best)
            on = ~reached & ~stuck
            if not bool(on.any()):
                break
            step = (room * slope.sign()).gather(1, place) * helps
            flat = flat.scatter_add(1, place, step).clamp(low, high)
            left, point = left[on], flat.reshape(point.shape)[on]
        self._refine(search, rows, 5)
        self._shrink(search, rows, 12)

    def _report(
        self, search: Search, rows: Tensor, number: Tensor, point: Tensor, lead: Tensor
    ) -> None:
        near = self.threat.project(point, search.image[rows], search.radii[number])
        search.failed(rows, number, near, lead)
