"""The fast adaptive boundary attack."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.boundary import BoundaryAttack
from bcadv.perturb.halfspace import smallest_change
from bcadv.perturb.random import seeded
from bcadv.perturb.search import Search
from bcadv.perturb.starts import side_by_side
from bcadv.perturb.threat import per_image

_BIAS, _EXTRAPOLATION, _BACKWARD = 0.1, 1.05, 0.9
"""alpha_max, eta and beta of the paper, section 4."""

_SPREAD = 3.0
"""How far from the image a restart begins at most, in distances of what is known."""

_PATIENCE, _GAIN = 10, 1e-3
"""A restart ends for an image after so many steps without a gain of at least this share."""

_PLANES, _QUERIES = 15, 12
"""Tangent planes, and queries of the last search along the path to what was found."""


@dataclass(frozen=True)
class FAB(BoundaryAttack):
    """Fast adaptive boundary attack: projections onto the boundary, biased towards the image.

    Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack",
    ICML 2020, algorithm 1. A step projects the point and the image onto the boundary of the linear
    model at the point, cut by the box, goes a little beyond both and mixes them; from what is
    adversarial it goes back towards the image. Two classes and targets need no other form: the
    boundary is that of the lead. Four differences: what is adversarial goes back towards the image
    by moving the linear model of the point, which saves a query; a restart ends for an image that
    gains nothing more; it begins at up to three times the known distance (the paper: half of it,
    from where nearly all runs end at the boundary that the first one found); and what was found is
    drawn onto the boundary's linear model at the end.

    Attributes:
        steps: of each restart, at most.
        restarts: the first from the image, the others from random points within three times the
            distance that is known.
        candidates: classes, those with the largest logits, to whose boundaries a step looks; each
            costs a gradient, and 1 follows the leading one alone.
        seed: of the random points.

    Raises:
        BcadvError: an option out of its range, or L0, which has no balls to start in.
    """

    steps: int = field(default=100, kw_only=True)
    restarts: int = field(default=5, kw_only=True)
    candidates: int = field(default=10, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "restarts", "candidates", "seed"):
            whole(self, name, 0 if name == "seed" else 1)
        if self.threat.norm == 0:
            raise BcadvError("fab: the norm is 0; give 1, 2 or infinity, or take sigma_zero.")

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "fab"

    def _classes(self) -> int:
        return self.candidates

    def _approach(self, search: Search, rows: Tensor) -> None:
        self._run(search, rows, search.image[rows])
        lost = rows[~search.distance[rows].isfinite()]
        if len(lost):
            self._cross(search, lost, min(10, self.steps))
        known = rows[search.distance[rows].isfinite()]
        for part, restarts in side_by_side(known, range(1, self.restarts), len(search.image)):
            starts = [self._start(search, part, restart) for restart in restarts]
            self._run(search, part.repeat(len(restarts)), torch.cat(starts))
        self._refine(search, rows, _PLANES)
        self._shrink(search, rows, _QUERIES)

    def _start(self, search: Search, rows: Tensor, restart: int) -> Tensor:
        """Random points around the image, farther off than what is known."""
        image, reach = search.image[rows], search.distance[rows] * _SPREAD
        numbers = search.index[rows].tolist()
        generators = [seeded(self.seed, search.draw, number, restart) for number in numbers]
        change = self.threat.inside(image, generators) * per_image(reach.to(image), image)
        return (image + change).clamp(*self.bounds)

    def _run(self, search: Search, rows: Tensor, point: Tensor) -> None:
        best = torch.full_like(search.distance[rows], torch.inf)  # of this run
        idle = torch.zeros_like(rows)
        for _ in range(self.steps):
            if not len(rows):
                return
            image = search.image[rows]
            gradient, lead, logits = self._slopes(search, rows, point)
            reached = self._accept(search, rows, point, logits)
            size = self.threat.size(point - image).double()
            gained = reached & (size < best * (1 - _GAIN))
            best = torch.where(reached, torch.minimum(best, size), best)
            idle = torch.where(gained, 0, idle + 1)
            # From what is adversarial back towards the image, then on from there.
            base = torch.where(
                per_image(reached, point), torch.lerp(image, point, _BACKWARD), point
            )
            need = self._goal(logits) - lead
            need = need + (gradient * (point - base)).flatten(1).sum(1, dtype=torch.float64)
            own = self._onto(base, gradient, need)
            far = need + (gradient * (base - image)).flatten(1).sum(1, dtype=torch.float64)
            biased = self._onto(image, gradient, far)
            here, there = self.threat.size(own), self.threat.size(biased)
            share = (here / (here + there)).nan_to_num(0.0).clamp(max=_BIAS)
            mixed = torch.lerp(
                base + _EXTRAPOLATION * own,
                image + _EXTRAPOLATION * biased,
                per_image(share, image),
            ).clamp(*self.bounds)
            on = idle < _PATIENCE
            rows, point, best, idle = rows[on], mixed[on], best[on], idle[on]
        if len(rows):
            self._try(search, rows, point)

    def _onto(self, point: Tensor, gradient: Tensor, need: Tensor) -> Tensor:
        """The change that brings points onto a plane in the box, from either of its sides."""
        side = torch.where(need < 0, -1.0, 1.0)
        slope = gradient * per_image(side.to(gradient), gradient)
        return smallest_change(self.threat, point, slope, need.abs())
