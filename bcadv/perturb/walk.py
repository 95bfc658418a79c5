"""The walk along the boundary that the attacks of one family share: DDN and FMN."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from bcadv.perturb.attack import whole
from bcadv.perturb.boundary import BoundaryAttack, unit
from bcadv.perturb.search import Search
from bcadv.perturb.threat import per_image

_OPENING, _QUERIES, _FIRST_PLANES, _LAST_PLANES = 10, 12, 3, 15
"""Gradients of the opening, queries on a path, and planes before and after the walk."""

_PATIENCE, _LAST_SHARE = 4, 1 / 64
"""So many steps without a gain halve an image's steps, until they are this share of the first."""


@dataclass(frozen=True)
class BoundaryWalk(BoundaryAttack):
    """Steps along the gradient in a ball that shrinks while the image is adversarial, else grows.

    It differs from the papers in four ways, all of which make it nearer at the same cost. Lengths
    are shares of the distance known so far, so they fit images and models of every size. An image's
    steps are halved when they gain nothing and end when they are small, in place of a schedule that
    is the same for all. It begins at the boundary: the linear model's step there is taken first.
    And at the end what was found is drawn onto the boundary's linear model (`_refine`).

    Attributes:
        steps: gradients of the walk, at most; an image that gains nothing more takes fewer.

    Raises:
        BcadvError: steps is no whole number from 1 up.
    """

    steps: int = field(default=300, kw_only=True)

    length: ClassVar[float] = 1.0
    """Of the first step, as a share of the distance."""
    shrink: ClassVar[float] = 0.05
    """By which share the radius changes at first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "steps", 1)

    @abstractmethod
    def _onto(self, point: Tensor, origin: Tensor, radius: Tensor) -> Tensor:
        """Points brought to a radius of their own, and into the box."""

    def _approach(self, search: Search, rows: Tensor) -> None:
        fresh = rows[~search.distance[rows].isfinite()]
        if len(fresh):
            self._cross(search, fresh, min(_OPENING, self.steps))
        rows = rows[search.distance[rows].isfinite()]
        self._shrink(search, rows, _QUERIES)
        self._refine(search, rows, min(_FIRST_PLANES, self.steps))
        self._walk(search, rows)
        self._refine(search, rows, min(_LAST_PLANES, self.steps))
        self._shrink(search, rows, _QUERIES)

    def _walk(self, search: Search, rows: Tensor) -> None:
        point, radius = search.found[rows], search.distance[rows].clone()
        share = torch.ones_like(radius)
        idle = torch.zeros_like(rows)
        for _ in range(self.steps):
            if not len(rows):
                break
            before = search.distance[rows].clone()
            gradient, logits = self.gradient_at(search, rows, point)
            reached = self._accept(search, rows, point, logits)
            now, origin = search.distance[rows], search.image[rows]
            gained = now < before * (1 - 1e-3 * share)
            idle = torch.where(gained, 0, idle + 1)
            halve = idle >= _PATIENCE
            share, idle = torch.where(halve, share / 2, share), torch.where(halve, 0, idle)
            radius = self._next_radius(reached, torch.minimum(radius, 1.5 * now), now, share)
            far = (search.found[rows] - origin).flatten(1).norm(dim=1)
            step = unit(gradient) * per_image((self.length * share).to(far) * far, point)
            # Whose steps were halved goes on from the best point.
            point = torch.where(per_image(halve, point), search.found[rows], point)
            point = self._onto(point + step, origin, radius)
            on = share > _LAST_SHARE
            rows, point, radius = rows[on], point[on], radius[on]
            share, idle = share[on], idle[on]

    def _next_radius(self, reached: Tensor, radius: Tensor, best: Tensor, share: Tensor) -> Tensor:
        change = self.shrink * share
        smaller = torch.minimum(radius * (1 - change), best)
        if self.threat.norm != 0:
            return torch.where(reached, smaller, radius * (1 + change))
        smaller = torch.minimum(smaller.floor(), best - 1).clamp(min=1)
        return torch.where(
            reached, smaller, torch.maximum((radius * (1 + change)).floor(), radius + 1)
        )
