"""The sigma-zero attack."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.boundary import BoundaryAttack
from bcadv.perturb.search import Search
from bcadv.perturb.threat import is_number, per_image

_THRESHOLD, _RATE = 0.3, 0.01
"""tau_0 and t of the paper: the first threshold, and by which share of the step size it changes."""

_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8
"""Adam's."""

_OPENING, _PLANES, _QUERIES = 10, 15, 12
"""Gradients of the opening, tangent planes, and queries of the last search along the path."""


@dataclass(frozen=True)
class SigmaZero(BoundaryAttack):
    """Sigma-zero: descent on a smooth count of changed values, small changes set to zero.

    Cinà, Villani, Pintor, Schönherr, Biggio and Pelillo, "sigma-zero: gradient-based optimization
    of L0-norm adversarial examples", ICLR 2025, algorithm 1: Adam on the missing lead plus the mean
    of ``d^2 / (d^2 + sigma)``, its gradient divided by its largest entry, the step size falling
    along a cosine; a change below a threshold is dropped, and the threshold rises while the image
    is adversarial and falls while it is not. Changes are shares of the box. Three differences:
    targets and aims go through the lead; it has the linear model's answer to begin with; and what
    was found is drawn onto the boundary's linear model at the end.

    Attributes:
        steps: gradients.
        lr: first step size, a share of the box.
        sigma: how sharp the count is.

    Raises:
        BcadvError: an option out of its range.
    """

    steps: int = field(default=300, kw_only=True)
    lr: float = field(default=1.0, kw_only=True)
    sigma: float = field(default=1e-3, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "steps", 1)
        for name in ("lr", "sigma"):
            value = getattr(self, name)
            if not (is_number(value) and 0 < value <= 10):
                raise BcadvError(f"sigma_zero: {name} is {value!r}; give a number in (0, 10].")

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "sigma_zero"

    def _approach(self, search: Search, rows: Tensor) -> None:
        self._cross(search, rows, min(_OPENING, self.steps))
        self._refine(search, rows, _PLANES)
        self._descend(search, rows)
        self._refine(search, rows, _PLANES)
        self._shrink(search, rows, _QUERIES)

    def _descend(self, search: Search, rows: Tensor) -> None:
        low, high = self.bounds
        image, width = search.image[rows], high - low
        change = torch.zeros_like(image)
        mean, square = torch.zeros_like(image), torch.zeros_like(image)
        threshold = torch.full((len(rows),), _THRESHOLD, dtype=image.dtype, device=image.device)
        for step in range(self.steps):
            point = (image + width * change).clamp(low, high)
            point = torch.where(change == 0, image, point)
            gradient, logits = self.gradient_at(search, rows, point)
            reached = self._accept(search, rows, point, logits)
            count = 2 * self.sigma * change / (change.square() + self.sigma).square()
            slope = count / image[0].numel()
            slope = slope - gradient * width * per_image(~reached, image)
            peak = slope.flatten(1).abs().amax(1)
            slope = slope / per_image(peak.where(peak > 0, torch.ones_like(peak)), image)
            mean = _FIRST * mean + (1 - _FIRST) * slope
            square = _SECOND * square + (1 - _SECOND) * slope.square()
            length = self.lr * (0.55 + 0.45 * math.cos(math.pi * step / self.steps))
            up = mean / (1 - _FIRST ** (step + 1))
            down = (square / (1 - _SECOND ** (step + 1))).sqrt() + _TINY
            change = change - length * up / down
            change = ((image + width * change).clamp(low, high) - image) / width
            turn = torch.where(reached, _RATE, -_RATE).to(threshold) * length
            threshold = (threshold + turn).clamp(0, 1)
            change = torch.where(change.abs() < per_image(threshold, image), 0.0, change)
        point = torch.where(change == 0, image, (image + width * change).clamp(low, high))
        self._try(search, rows, point)
