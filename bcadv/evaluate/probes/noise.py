"""Random changes of the largest size allowed: the attack that knows nothing at all."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from bcadv.errors import BcadvError
from bcadv.perturb.attack import AdversarialAttack
from bcadv.perturb.random import seeded
from bcadv.perturb.search import Search
from bcadv.perturb.threat import per_image


@dataclass(frozen=True)
class RandomChange(AdversarialAttack):
    """Random changes on the edge of the ball, until one of them breaks the image.

    In the maximum norm every value moves by eps, up or down; in other norms along a random
    direction. A change that is random hits nothing special, so whoever breaks images so that an
    attack along the gradient left has shown that the attack failed (Carlini et al. 2019, 5.4).

    Attributes:
        draws: changes that are tried at each radius, at least 1.
        seed: names their family.

    Raises:
        BcadvError: draws is no whole number from 1 up.
    """

    draws: int = field(default=100, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.draws, bool) or not isinstance(self.draws, int) or self.draws < 1:
            raise BcadvError(
                f"{self.name}: draws is {self.draws!r}; give a whole number from 1 up."
            )

    @property
    def name(self) -> str:
        """For results."""
        return "random_change"

    def _improve(self, search: Search) -> None:
        if search.clean_logits is None:
            search.answer_clean()
        for number, eps in enumerate(search.radii.tolist()):
            for draw in range(self.draws):
                rows = (search.high > number).nonzero()[:, 0]
                if not len(rows):
                    break
                origin = search.image[rows]
                numbers = search.index[rows].tolist()
                generators = [seeded(self.seed, search.draw, one, draw) for one in numbers]
                moved = self.threat.inside(origin, generators)
                if self.threat.norm == math.inf:
                    moved = moved.sign()
                at = torch.full_like(search.radii[:1], eps).expand(len(rows))
                point = self.threat.project(
                    origin + moved * per_image(at.to(origin), origin), origin, at
                )
                search.offer(rows, point, search.logits(rows, point))
