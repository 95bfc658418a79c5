"""Projected gradient descent."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.loop import GradientAttack
from bcadv.perturb.random import seeded
from bcadv.perturb.search import Search
from bcadv.perturb.threat import is_number, per_image

_FIRST, _LAST = 2.0, 0.05
"""Length of the first and of the last step as shares of eps."""


@dataclass(frozen=True)
class PGD(GradientAttack):
    """Projected gradient descent: many small steps along the gradient, each back into the ball.

    Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards deep learning models resistant to
    adversarial attacks", ICLR 2018, with two differences that make it stronger at the same cost.
    The steps shrink evenly from 2 eps to eps / 20 (Croce and Hein, "Reliable evaluation of
    adversarial robustness", ICML 2020, begin with 2 eps too, and halve it by what happens);
    `step_size` = 2.5 / steps is what Madry et al. take. And they follow the gradient of the log
    odds against the true class, which has the direction of cross entropy's and does not vanish.

    The image itself and every point on the way count: an image is returned as soon as it is
    broken, and one that holds out as it came closest.

    **At several strengths** each image's smallest breaking radius is narrowed down, beginning near
    where the slope at the image says that it lies. What is found at one radius counts at every
    radius that contains it; an image counts as standing at a radius if a whole attack (all steps of
    all restarts) failed there or at a larger one of the list.

    Attributes:
        steps: gradients per restart, at least 1.
        restarts: attempts from different starting points, at least 1.
        random_start: whether they begin at random points of the ball; if not, the first begins at
            the image.
        step_size: length of every step as a share of eps; ``None``: from 2 down to 0.05.
        seed: names the family of starting points.

    Raises:
        BcadvError: an option out of its range.
    """

    steps: int = field(default=20, kw_only=True)
    restarts: int = field(default=1, kw_only=True)
    random_start: bool = field(default=True, kw_only=True)
    step_size: float | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "restarts", "seed"):
            whole(self, name, 0 if name == "seed" else 1)
        share = self.step_size
        if share is not None and not (is_number(share) and 0 < share <= 2):
            raise BcadvError(
                f"pgd: step_size is {share!r}; give a share of eps above 0, at most 2, or None for "
                "steps that shrink."
            )

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "pgd"

    def lengths(self) -> list[float]:
        """Length of each step as a share of eps."""
        if self.step_size is not None:
            return [self.step_size] * self.steps
        fall = (_FIRST - _LAST) / max(1, self.steps - 1)
        return [_FIRST - k * fall for k in range(self.steps)]

    def _attempt(self, search: Search, rows: Tensor, probe: Tensor) -> None:
        left = torch.arange(len(rows), device=rows.device)
        for restart in range(self.restarts):
            at, number = rows[left], probe[left]
            start = self._start(search, at, search.radii[number], restart)
            broken = self._climb(search, at, start, probe=number, lengths=self.lengths())
            left = left[~broken]
            if not len(left):
                break

    def _start(self, search: Search, rows: Tensor, eps: Tensor, restart: int) -> Tensor:
        origin = search.image[rows]
        if restart == 0 and not self.random_start:
            start = origin.clone()
        else:
            start = self._random(search, rows, eps, restart)
        if restart == 0:
            # What breaks it at the next larger radius is the best place to begin at this one.
            known = per_image(search.distance[rows].isfinite(), origin)
            near = self.threat.project(search.found[rows], origin, eps)
            start = torch.where(known, near, start)
        return start

    def _random(self, search: Search, rows: Tensor, eps: Tensor, restart: int) -> Tensor:
        origin = search.image[rows]
        # The radius is no part of the seed: an image meets the same point, scaled, at each.
        numbers = search.index[rows].tolist()
        generators = [seeded(self.seed, search.draw, number, restart) for number in numbers]
        moved = self.threat.inside(origin, generators) * per_image(eps.to(origin), origin)
        return self.threat.project(origin + moved, origin, eps)
