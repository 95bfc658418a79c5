"""What attacks share that go to the decision boundary and along it, by its linear models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.halfspace import moved, product, smallest_change
from bcadv.perturb.nearest import MinimalNorm
from bcadv.perturb.search import Search
from bcadv.perturb.threat import per_image

_TOLERANCE = 1e-4
"""An image whose distance falls by a smaller share than this is settled."""

_HALVINGS = 8
"""So often the way to where nothing was found is halved, and what lies there asked for."""


@dataclass(frozen=True)
class BoundaryAttack(MinimalNorm):
    """An attack that follows the lead (see `AdversarialAttack.lead`), whose zero is the boundary.

    Raises:
        BcadvError: a loss of your own, whose zero would be another place.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss is not None:
            raise BcadvError(
                f"{self.name}: looks for the boundary of the decision, where the lead of one "
                "class over another is 0, and a loss of your own does not say where that is; leave "
                "it out, or take pgd."
            )

    def _own_objective(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.lead(logits, target)

    def _goal(self, logits: Tensor) -> Tensor:
        """The lead that is aimed at, safely beyond rounding, float64, shape (batch,)."""
        return 1.5 * self.rounding(logits)

    def _missing(self, search: Search, rows: Tensor, logits: Tensor) -> Tensor:
        """By how much each image falls short of the lead aimed at, shape (rows,)."""
        return self._goal(logits) - self.lead(logits, search.target[rows])

    def _accept(self, search: Search, rows: Tensor, point: Tensor, logits: Tensor) -> Tensor:
        """Offers points to the search; returns which reach the aim, shape (rows,)."""
        return search.offer(rows, point, logits)

    def _try(self, search: Search, rows: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """Asks for points and offers them; which reach the aim, and what they fall short of it."""
        logits = search.logits(rows, point)
        return self._accept(search, rows, point, logits), self._missing(search, rows, logits)

    def _cross(self, search: Search, rows: Tensor, steps: int) -> None:
        """A first adversarial image of each: steps to where the linear model says it lies.

        After the steps of Moosavi-Dezfooli, Fawzi and Frossard, "DeepFool", CVPR 2016, algorithm 1,
        in the box. Where they do not arrive, all values go as far as the box lets them, along the
        last gradient and along the first.
        """
        left, point = rows, search.image[rows]
        gradient = first = torch.zeros_like(point)
        for step in range(steps):
            gradient, lead, logits = self._slopes(search, left, point)
            first = first if step else gradient
            on = ~self._accept(search, left, point, logits)
            need = (self._goal(logits) - lead)[on] * self._stride(step)
            left, point, gradient, first = left[on], point[on], gradient[on], first[on]
            if not len(left):
                return
            point = moved(self.threat, point, smallest_change(self.threat, point, gradient, need))
        on = ~self._try(search, left, point)[0]
        left, point, gradient, first = left[on], point[on], gradient[on], first[on]
        for _ in range(2):
            corner = torch.where(gradient > 0, self.bounds[1], self.bounds[0]).to(point)
            point = torch.where(gradient == 0, search.image[left], corner)
            on = ~self._try(search, left, point)[0]
            left, point, gradient, first = left[on], point[on], first[on], first[on]
            if not len(left):
                return
        self._give_up(search, left, point)

    def _stride(self, step: int) -> float:
        """By how much a step of `_cross` is longer than the linear model asks for."""
        # Later steps are longer: a boundary that recedes must not be followed for ever.
        return 1.02 + 0.1 * step

    def _classes(self) -> int:
        """To the boundaries of how many classes `_cross` looks, those with the largest logits."""
        return 10

    def _slopes(self, search: Search, rows: Tensor, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of the lead of the class whose boundary is nearest, that lead, and the logits.

        The lead of a class that is wanted is that over the best of those that are not.
        """
        target = search.target[rows]
        point = point.detach().requires_grad_()
        logits = self._traced(search.model, point, target)
        wanted = self.wanted(logits, target)
        most = min(self._classes(), int(wanted.sum(1).max()))
        values = logits.double()
        theirs = values.masked_fill(wanted, -torch.inf).amax(1)
        ours, _ = values.masked_fill(~wanted, -torch.inf).topk(most, dim=1)
        best, gradient = torch.full_like(theirs, torch.inf), torch.zeros_like(point)
        lead = torch.zeros_like(theirs)
        search.queries.index_add_(0, rows, torch.ones_like(rows))
        for k in range(most):
            there = ours[:, k].isfinite()
            one = torch.where(there, ours[:, k] - theirs, 0.0)
            slope = self._differentiated(one, point, again=k + 1 < most)
            search.gradients.index_add_(0, rows, there.long())
            far = (-one.detach() / self.threat.dual(slope).double()).nan_to_num(torch.inf)
            nearer = there & ((far < best) | (k == 0))
            best = torch.where(nearer, far, best)
            lead = torch.where(nearer, one.detach(), lead)
            gradient[nearer] = slope[nearer]
        return gradient.detach(), lead.detach(), logits.detach()

    def _give_up(self, search: Search, rows: Tensor, point: Tensor) -> None:
        """Tells the search of images that nothing was found for, and how far it came.

        On the way there may be what the far end is not: a model can answer wrongly in a small ball
        and rightly beyond it.
        """
        for halvings in range(1, _HALVINGS + 1):
            origin = search.image[rows]
            radius = self.threat.size(point - origin).double() * 0.5**halvings
            on = ~self._try(search, rows, self.threat.project(point, origin, radius))[0]
            rows, point = rows[on], point[on]
            if not len(rows):
                return
        number = torch.full_like(rows, len(search.radii) - 1)
        point = self.threat.project(point, search.image[rows], search.radii[number])
        search.failed(rows, number, point, torch.full_like(search.distance[rows], -torch.inf))

    def _shrink(self, search: Search, rows: Tensor, queries: int) -> None:
        """Draws what was found towards the image until it is at the boundary.

        Its projections onto smaller balls lie on a path; the radius at which that path crosses the
        boundary is found by false position (Illinois), which the boundary of a nearly linear model
        needs few queries for.
        """
        rows = rows[search.distance[rows].isfinite()]
        if not len(rows):
            return
        high, low = search.distance[rows].clone(), torch.zeros_like(search.distance[rows])
        outer, origin = search.found[rows], search.image[rows]
        above = -self._missing(search, rows, search.logits(rows, outer))
        clean = search.clean_logits
        assert clean is not None
        below = -self._missing(search, rows, clean[rows])
        side = torch.zeros_like(rows)
        for _ in range(queries):
            share = (below / (below - above)).clamp(0.01, 0.99).nan_to_num(0.5)
            middle = low + (high - low) * share
            if self.threat.norm == 0:
                middle = torch.minimum(torch.maximum(middle.floor(), low + 1), high - 1)
            enough = 0.5 if self.threat.norm == 0 else _TOLERANCE * high
            on = ((high - low) > enough) & (middle > low) & (middle < high)
            # What is at the boundary up to rounding comes no nearer.
            on &= above > 0
            if not bool(on.any()):
                break
            rows, high, low, above, below, side, middle, outer, origin = (
                value[on] for value in (rows, high, low, above, below, side, middle, outer, origin)
            )
            point = self.threat.project(outer, origin, middle)
            reached, missing = self._try(search, rows, point)
            lead = -missing
            # An end that stays twice in a row has its value halved, or it would stay for ever.
            below = torch.where(reached & (side == 1), below / 2, below)
            above = torch.where(~reached & (side == -1), above / 2, above)
            high, above = torch.where(reached, middle, high), torch.where(reached, lead, above)
            low, below = torch.where(reached, low, middle), torch.where(reached, below, lead)
            side = torch.where(reached, 1, -1)

    def _refine(self, search: Search, rows: Tensor, steps: int) -> None:
        """Takes what was found to where the boundary is nearest, by the boundary's linear model.

        The nearest point of the tangent plane, in the box, is no farther than the point that it was
        taken at, and so is all between both. It is asked for; if the boundary bends away there, the
        plane is moved by what the point falls short, and at last the way is halved. An image is
        settled when that gains nothing.
        """
        left = rows[search.distance[rows].isfinite()]
        for _ in range(steps):
            if not len(left):
                break
            before = search.distance[left].clone()
            base, origin = search.found[left], search.image[left]
            gradient, logits = self.gradient_at(search, left, base)
            need = product(gradient, base - origin) + self._missing(search, left, logits)
            self._step_in(search, left, base, self._tangent(origin, gradient), need)
            left = left[search.distance[left] < (1 - _TOLERANCE) * before]

    def _tangent(self, origin: Tensor, gradient: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        def nearest(which: Tensor, need: Tensor) -> Tensor:
            image = origin[which]
            change = smallest_change(self.threat, image, gradient[which], need)
            return moved(self.threat, image, change)

        return nearest

    def _step_in(
        self,
        search: Search,
        rows: Tensor,
        base: Tensor,
        tangent: Callable[[Tensor, Tensor], Tensor],
        need: Tensor,
    ) -> None:
        which = torch.arange(len(rows), device=rows.device)
        first = point = tangent(which, need)
        for attempt in range(6):
            size = self.threat.size(point - search.image[rows[which]])
            if attempt:  # no query for what would be no gain
                on = size < (1 - _TOLERANCE) * search.distance[rows[which]]
                which, point = which[on], point[on]
            if not len(which):
                return
            reached, missing = self._try(search, rows[which], point)
            which, missing = which[~reached], missing[~reached]
            if attempt < 2:
                need = need.index_add(0, which, missing)
                point = tangent(which, need[which])
                continue
            if self.threat.norm == 0:  # between two points of L0 more values change than at both
                return
            share = 0.5 ** (attempt - 1)
            point = torch.lerp(base[which], first[which], share).clamp(*self.bounds)


def unit(gradient: Tensor) -> Tensor:
    """Each image's gradient over its Euclidean length; 0 where it vanishes."""
    peak = gradient.flatten(1).abs().amax(1)
    scaled = gradient / per_image(peak.where(peak > 0, torch.ones_like(peak)), gradient)
    length = scaled.flatten(1).norm(dim=1)
    return scaled / per_image(length.where(length > 0, torch.ones_like(length)), gradient)
