"""Chance: the best of many random points of the ball's edge."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.perturb.queries import Ascent, Draws, QueryAttack, whole
from bcadv.perturb.search import Search
from bcadv.perturb.threat import per_image


@dataclass(frozen=True)
class RandomNoise(QueryAttack):
    """The best of many random points of the ball's edge.

    It is no attack to be afraid of, but a check on others: an image that it breaks and a white-box
    attack left standing says that the latter was misled (Carlini et al., "On evaluating
    adversarial robustness", 2019, section on sanity checks).

    In the maximum norm the points are corners of the ball: every value goes up or down by eps. In
    the Euclidean norm they are uniform over the sphere, in L1 over the surface of the ball. In L0
    eps values at random places become black or white. The box cuts the points.

    Attributes:
        draws: points tried at each radius; one query each.

    Raises:
        BcadvError: no point.
    """

    draws: int = field(default=100, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "draws", 1)

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "random"

    def _attempt(self, search: Search, rows: Tensor, probe: Tensor) -> None:
        ascent = Ascent(self, search, rows, probe)
        draws = Draws.of(search, rows, self.seed, 1)
        for number in range(self.draws):
            point = self._edge(ascent, draws)
            if not number:
                point = ascent.known(point)
            lead, broken = ascent.ask(point)
            ascent.keep(point, lead)
            if bool(broken.any()):
                ascent.leave(broken)
                draws.leave(broken)
                if not len(ascent):
                    return
        ascent.give_up()

    def _edge(self, ascent: Ascent, draws: Draws) -> Tensor:
        origin = ascent.origin
        uniform = draws.uniform(*origin.shape[1:])
        sign = torch.where(uniform < 0.5, -1.0, 1.0).to(origin)
        if self.threat.norm == 0:
            low, high = self.bounds
            count = origin[0].numel()
            # The fraction left over says where, the first bit which colour.
            rank = ((2 * uniform) % 1).flatten(1).argsort(1).argsort(1)
            chosen = (rank < ascent.eps[:, None].clamp(max=count)).reshape(origin.shape)
            return torch.where(chosen, torch.where(sign > 0, high, low).to(origin), origin)
        if self.threat.norm == 2:
            # The sphere is invariant, so the normal distribution is scaled to it.
            step = torch.special.ndtri(uniform.clamp(1e-7, 1 - 1e-7)).to(origin)
        elif self.threat.norm == 1:
            step = sign * -torch.log1p(-((2 * uniform) % 1).clamp(max=1 - 1e-7)).to(origin)
        else:
            step = sign
        step = step * per_image(ascent.eps / self.threat.size(step), origin)
        return ascent.project(origin + step)
