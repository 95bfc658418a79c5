"""Chance: the best of many random points of the ball's edge."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from bcadv.perturb.attack import whole
from bcadv.perturb.queries import Ascent, Draws, QueryAttack
from bcadv.perturb.search import Search
from bcadv.perturb.threat import per_image


@dataclass(frozen=True)
class RandomNoise(QueryAttack):
    """The best of many random points of the ball's edge.

    It is no attack to be afraid of, but a check on others: an image that it breaks and a white-box
    attack left standing says that the latter was misled (Carlini et al., "On evaluating
    adversarial robustness", 2019, section on sanity checks).

    In the maximum norm the points are corners of the ball: every value goes up or down by eps. In
    the Euclidean norm they are uniform over the sphere. The box cuts the points.

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
        step = self.threat.edge(draws.uniform(*origin.shape[1:])).to(origin)
        return ascent.project(origin + step * per_image(ascent.eps, origin).to(origin))
