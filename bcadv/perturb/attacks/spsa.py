"""SPSA: gradients estimated from answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.queries import Ascent, Draws, QueryAttack
from bcadv.perturb.search import Search
from bcadv.perturb.threat import is_number, per_image

_FIRST, _LAST = 1.0, 0.1
"""Length of the first and of the last step as shares of eps."""
_MEMORY = 0.8
"""Share of the gradients before in each estimate."""


@dataclass(frozen=True)
class SPSA(QueryAttack):
    """Steps along a gradient that is estimated from answers at opposite points.

    Simultaneous perturbation stochastic approximation (Uesato, O'Donoghue, Kohli and van den Oord,
    "Adversarial risk and the dangers of evaluating against weak attacks", ICML 2018, algorithm 1):
    all values move at once by plus or minus `sigma`, at random, and the lead's change along the
    way counts for all of them. Here the signs are shared by squares of `tile` pixels (the prior of
    Ilyas, Engstrom and Madry, "Prior convictions", ICLR 2019, section 3), and the steps follow the
    steepest ascent of a running mean instead of Adam.

    Attributes:
        queries: answers that an image may cost at each radius, beside the one to the clean image.
        samples: pairs of opposite points in an estimate.
        sigma: how far from the point they lie, as a share of eps, per value.
        tile: side of the squares that share a sign, in pixels.

    Raises:
        BcadvError: an option out of its range.
    """

    queries: int = field(default=1000, kw_only=True)
    samples: int = field(default=10, kw_only=True)
    sigma: float = field(default=0.5, kw_only=True)
    tile: int = field(default=2, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("queries", "samples", "tile"):
            whole(self, name, 1)
        if not is_number(self.sigma) or not 0 < self.sigma <= 1:
            raise BcadvError(
                f"spsa: sigma is {self.sigma!r}; give a share of eps above 0, at most 1."
            )

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "spsa"

    def _attempt(self, search: Search, rows: Tensor, probe: Tensor) -> None:
        ascent = Ascent(self, search, rows, probe)
        draws = Draws.of(search, rows, self.seed, 1)
        point = ascent.known(ascent.origin)
        mean, left = torch.zeros_like(point), self.queries
        while True:
            lead, broken = ascent.ask(point)
            ascent.keep(point, lead)
            draws.leave(broken)
            point, mean = ascent.leave(broken, point, mean)
            left -= 1
            # A pair, and a look at where it leads to.
            pairs = min(self.samples, (left - 1) // 2)
            if not len(ascent) or pairs < 1:
                break
            gradient = torch.zeros_like(point)
            for _ in range(pairs):
                point, mean, gradient = self._pair(ascent, draws, point, mean, gradient)
                left -= 2
                if not len(ascent):
                    return
            mean = _MEMORY * mean + gradient
            share = _LAST + (_FIRST - _LAST) * left / self.queries
            step = self.threat.direction(mean) * per_image(share * ascent.eps, mean)
            point = ascent.project(point + step)
        if len(ascent):
            ascent.give_up()

    def _pair(self, ascent: Ascent, draws: Draws, *state: Tensor) -> list[Tensor]:
        """Two queries on either side of each point; the last of the state is the sum of slopes."""
        point = state[0]
        channels, height, width = point.shape[1:]
        small = draws.uniform(channels, -(-height // self.tile), -(-width // self.tile))
        sign = torch.where(small < 0.5, -1.0, 1.0).to(point)
        sign = sign.repeat_interleave(self.tile, 2).repeat_interleave(self.tile, 3)
        sign = sign[..., :height, :width]
        way = sign * per_image(self.sigma * ascent.eps / self.threat.size(sign), sign)
        leads, lost = [], torch.zeros(len(ascent), dtype=torch.bool, device=point.device)
        for side in (way, -way):
            aside = ascent.project(point + side)
            lead, broken = ascent.ask(aside)
            ascent.keep(aside, lead)
            leads.append(lead)
            lost |= broken
        slope = (leads[0] - leads[1]).to(point)
        total = state[-1] + sign * per_image(slope, sign)
        draws.leave(lost)
        return ascent.leave(lost, *state[:-1], total)
