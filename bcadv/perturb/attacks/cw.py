"""The attack of Carlini and Wagner."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.boundary import BoundaryAttack
from bcadv.perturb.halfspace import product
from bcadv.perturb.search import Search
from bcadv.perturb.threat import is_number, per_image

_OPENING, _QUERIES, _FIRST_PLANES, _LAST_PLANES = 10, 12, 3, 15
"""Gradients of the opening, queries on a path, and planes before and after the search."""

_FIRST, _SECOND = 0.9, 0.999
"""How much of its moments Adam keeps at each step."""

_FIRST_CONSTANT = 2.0
"""The first constant, in units of the one that balances distance and lead at the boundary."""

_FASTER = 10.0
"""By this a constant grows that found nothing, while none is known that does."""

_PATIENCE, _LAST_SHARE = 5, 1 / 64
"""So many steps without a gain halve an image's steps, until they are this share of the first."""

_GAIN = 1e-3
"""A constant that brings an image nearer by a smaller share than this is its last."""


@dataclass(frozen=True)
class CW(BoundaryAttack):
    """Carlini and Wagner: the squared distance and a constant times the lead that is missing.

    Carlini and Wagner, "Towards evaluating the robustness of neural networks", IEEE S&P 2017,
    section VI-A: ``|d|^2 + c max(0, confidence - lead)`` is minimised with Adam, and the constant
    is searched for by halving. Four differences, which make it nearer and quicker: Adam's steps end
    in the box by being cut to it, and not through the hyperbolic tangent, whose slope vanishes at
    black and white pixels; their length is a share of the distance; the search begins at the
    boundary with twice the constant that balances both terms there, and each image's ends by
    itself; and at the end what was found is drawn onto the boundary's linear model.

    Attributes:
        steps: of Adam for each constant, at most.
        search_steps: constants that are tried, at most.
        lr: length of Adam's first step in each pixel, as a share of the distance known so far,
            spread over all pixels alike; an image's steps are halved when they gain nothing.
        confidence: lead that an adversarial image must have.

    Raises:
        BcadvError: an option out of its range.
    """

    steps: int = field(default=100, kw_only=True)
    search_steps: int = field(default=9, kw_only=True)
    lr: float = field(default=0.1, kw_only=True)
    confidence: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "search_steps"):
            whole(self, name, 1)
        if not (is_number(self.lr) and 0 < self.lr <= 10):
            raise BcadvError(f"cw: lr is {self.lr!r}; give a share above 0, at most 10.")
        if not (is_number(self.confidence) and 0 <= self.confidence < torch.inf):
            raise BcadvError(f"cw: confidence is {self.confidence!r}; give a lead from 0 up.")

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "cw"

    def _goal(self, logits: Tensor) -> Tensor:
        return super()._goal(logits) + self.confidence

    def _accept(self, search: Search, rows: Tensor, point: Tensor, logits: Tensor) -> Tensor:
        if not self.confidence:
            return super()._accept(search, rows, point, logits)
        sure = self.lead(logits, search.target[rows]) >= self.confidence
        reached = torch.zeros_like(sure)
        reached[sure] = search.offer(rows[sure], point[sure], logits[sure])
        return reached

    def _approach(self, search: Search, rows: Tensor) -> None:
        fresh = rows[~search.distance[rows].isfinite()]
        if len(fresh):
            self._cross(search, fresh, _OPENING)
        rows = rows[search.distance[rows].isfinite()]
        self._shrink(search, rows, _QUERIES)
        self._refine(search, rows, _FIRST_PLANES)
        self._search(search, rows)
        self._refine(search, rows, _LAST_PLANES)
        self._shrink(search, rows, _QUERIES)

    def _search(self, search: Search, rows: Tensor) -> None:
        """The search for the constant, of each image."""
        if not len(rows):
            return
        gradient, _ = self.gradient_at(search, rows, search.found[rows])
        slope = product(gradient, gradient).sqrt()
        constant = _FIRST_CONSTANT * 2 * search.distance[rows] / slope.clamp(min=1e-30)
        low, high = torch.zeros_like(constant), torch.full_like(constant, torch.inf)
        for _ in range(self.search_steps):
            before = search.distance[rows].clone()
            reached = self._minimise(search, rows, constant)
            high = torch.where(reached, constant, high)
            low = torch.where(reached, low, constant)
            grown = constant * _FASTER
            constant = torch.where(high.isfinite(), (low + high) / 2, grown)
            gained = search.distance[rows] < (1 - _GAIN) * before
            on = gained | (~reached & ~high.isfinite())
            rows, constant, low, high = rows[on], constant[on], low[on], high[on]
            if not len(rows):
                break

    def _minimise(self, search: Search, rows: Tensor, constant: Tensor) -> Tensor:
        """Adam at one constant of each image; returns which were adversarial on the way."""
        ever = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        left = torch.arange(len(rows), device=rows.device)
        point = search.found[rows].clone()
        mean, square = torch.zeros_like(point), torch.zeros_like(point)
        far = search.distance[rows] / point[0].numel() ** 0.5
        lowest, share = torch.full_like(constant, torch.inf), torch.ones_like(constant)
        idle = torch.zeros_like(left)
        for step in range(self.steps):
            at = rows[left]
            gradient, logits = self.gradient_at(search, at, point)
            reached = self._accept(search, at, point, logits)
            if step:  # that the start is adversarial says nothing of the constant
                ever[left] |= reached
            delta, missing = point - search.image[at], self._missing(search, at, logits)
            value = product(delta, delta) + constant[left] * missing.clamp(min=0)
            gained = value < (1 - _GAIN * share) * lowest
            lowest = torch.minimum(lowest, value)
            idle = torch.where(gained, 0, idle + 1)
            halve = idle >= _PATIENCE
            share, idle = torch.where(halve, share / 2, share), torch.where(halve, 0, idle)
            pull = torch.where(missing > 0, constant[left], 0.0).to(point)
            descent = 2 * delta - gradient * per_image(pull, point)
            mean = torch.lerp(descent, mean, _FIRST)
            square = torch.lerp(descent.square(), square, _SECOND)
            size = (square / (1 - _SECOND ** (step + 1))).sqrt()
            move = mean / (1 - _FIRST ** (step + 1)) / (size + 1e-12)
            length = self.lr * share * far[left]
            point = (point - move * per_image(length.to(point), point)).clamp(*self.bounds)
            on = share > _LAST_SHARE
            if not bool(on.all()):
                left, point, mean, square = left[on], point[on], mean[on], square[on]
                lowest, share, idle = lowest[on], share[on], idle[on]
            if not len(left):
                break
        return ever
