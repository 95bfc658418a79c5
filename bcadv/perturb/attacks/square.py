"""Square Attack: a random search over squares of colour."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.queries import Ascent, Draws, QueryAttack
from bcadv.perturb.search import Search
from bcadv.perturb.threat import is_number, per_image

_HALVED_AFTER = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the budget after which the squares lose half of their area (section 4)."""

_SPELLS = 10
"""Parts of the budget after each of which `frugal` asks whether the rest could be enough."""

_SLACK = 2.0
"""By how much the pace of a random search may rise: smaller squares can gain more."""

_TOGETHER = 32
"""So many images a model is asked about at once where few are left: more of them take as long as
one after another."""


@dataclass(frozen=True)
class Square(QueryAttack):
    """Random search whose steps are squares, large at first; it sees scores and no gradient.

    Andriushchenko, Croce, Flammarion and Hein, "Square Attack: a query-efficient black-box
    adversarial attack via random search", ECCV 2020: algorithm 2 in the maximum norm, 3 in the
    Euclidean one. A step is kept if it raises the lead of what the adversary wants. Two things
    differ: each image draws squares of its own, and a square that would change nothing (every
    eighth of one pixel and three channels, every second of one channel) has one channel turned
    instead of being asked about in vain. Where few images are left, the model is asked about
    several squares of each at once, see `Ascent.ask_ahead`; what is found, and the queries that
    are counted, are those of one after another.

    Attributes:
        queries: answers that an image may cost at each radius, beside the one to the clean image.
        p_init: share of the image's area that the first squares cover.
        frugal: leaves an image after a fifth of the budget or later, if it would not break within
            the rest at its pace so far, nor at twice that of the last tenth. An image that gained
            nothing in that tenth goes on, for there the pace says nothing.

    Raises:
        BcadvError: an option out of its range.
    """

    queries: int = field(default=1000, kw_only=True)
    p_init: float = field(default=0.8, kw_only=True)
    frugal: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "queries", 1)
        if not is_number(self.p_init) or not 0 < self.p_init <= 1:
            raise BcadvError(
                f"square: p_init is {self.p_init!r}; give a share of the image above 0, at most 1."
            )

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "square"

    def side(self, step: int, height: int, width: int) -> int:
        """Side of the square of a step, counted from 0, in pixels."""
        halvings = sum(step / self.queries > share for share in _HALVED_AFTER)
        area = self.p_init * 0.5**halvings * height * width
        return min(max(round(math.sqrt(area)), 1), height, width)

    def _attempt(self, search: Search, rows: Tensor, probe: Tensor) -> None:
        ascent = Ascent(self, search, rows, probe)
        channels, height, width = ascent.origin.shape[1:]
        first, propose = (_tiles, _moved) if self.threat.norm == 2 else (_stripes, _coloured)
        draws = Draws.of(search, rows, self.seed, 6 + channels)
        point = ascent.known(first(ascent, draws))
        lead, broken = ascent.ask(point)
        ascent.keep(point, lead)
        ascent.leave(broken)
        draws.leave(broken)
        side = torch.tensor([self.side(step, height, width) for step in range(self.queries)])
        step, ahead = torch.ones_like(ascent.rows), 1
        spell = max(1, self.queries // _SPELLS) if self.frugal else self.queries
        until, before = torch.full_like(step, spell), ascent.gain.clone()
        while True:
            rested = step >= until
            if bool(rested.any()):
                ended = rested & ((step >= self.queries) | self._in_vain(ascent, step, before))
                before = torch.where(rested, ascent.gain, before)
                until = torch.where(rested, (until + spell).clamp(max=self.queries), until)
                ascent.give_up(ended)
                draws.leave(ended)
                step, until, before = step[~ended], until[~ended], before[~ended]
            if not len(ascent):
                return
            random = draws.steps(step - 1, ahead).flatten(0, 1)
            at = torch.arange(len(ascent), device=step.device).repeat_interleave(ahead)
            number = step[at] + torch.arange(ahead, device=step.device).repeat(len(ascent))
            of_side = side.to(step.device)[number.clamp(max=self.queries - 1)]
            point = torch.empty_like(ascent.best[at])
            for value in sorted(set(of_side.tolist())):
                those = of_side == value
                base = Base(ascent, at[those])
                point[those] = propose(base, random[those], value)
            point = point.reshape(len(ascent), ahead, channels, height, width)
            asked, broken = ascent.ask_ahead(point, until - step)
            # As many as it takes on average until one is better, and no more than pay together.
            usual = ahead if bool((asked == ahead).all()) else int(asked.double().mean())
            step, until, before = (step + asked)[~broken], until[~broken], before[~broken]
            ascent.leave(broken)
            draws.leave(broken)
            ahead = max(1, min(2 * usual, _TOGETHER // max(1, len(ascent))))

    def _in_vain(self, ascent: Ascent, step: Tensor, before: Tensor) -> Tensor:
        """Which images would not break in what is left of the budget, bool, shape (left,).

        Args:
            ascent: the images that are left.
            step: queries that each has cost, shape (left,).
            before: lead of the best point of each a spell ago, shape (left,).
        """
        spell = max(1, self.queries // _SPELLS)
        clean = ascent.search.clean_logits
        assert clean is not None
        whole_way = ascent.gain - ascent.attack.lead(clean[ascent.rows], ascent.target)
        left = self.queries - step
        hoped = torch.maximum(
            whole_way / step * left, _SLACK * (ascent.gain - before) / spell * left
        )
        return (step >= 2 * spell) & (ascent.gain > before) & (ascent.gain + hoped < 0)


class Base:
    """Where squares are laid on: the best points of some images, one or several times each.

    Args:
        ascent: the images that are left.
        at: numbers among them, shape (points,).
    """

    def __init__(self, ascent: Ascent, at: Tensor) -> None:
        self.threat = ascent.attack.threat
        self.origin, self.best, self.eps = ascent.origin[at], ascent.best[at], ascent.eps[at]

    def project(self, point: Tensor) -> Tensor:
        """Points brought into each image's ball and into the box."""
        return self.threat.project(point, self.origin, self.eps)


def _stripes(ascent: Ascent, draws: Draws) -> Tensor:
    """Every column of each channel as bright or as dark as it may be."""
    _, channels, _, width = ascent.origin.shape
    up = draws.uniform(channels, 1, width) < 0.5
    return _extreme(ascent, ascent.origin, up)


def _extreme(base: Ascent | Base, origin: Tensor, up: Tensor) -> Tensor:
    """Pixels moved by eps up or down, cut by the box."""
    low, high = base.threat.bounds
    eps = per_image(base.eps, origin)
    return torch.where(up, (origin + eps).clamp(max=high), (origin - eps).clamp(min=low))


def _coloured(base: Base, random: Tensor, side: int) -> Tensor:
    """A square of each image's best point filled with one of the extreme colours."""
    channels = base.origin.shape[1]
    square = _window(base.best, random[:, :2], side)
    origin, old = base.origin[square], base.best[square]
    up = random[:, 2 : 2 + channels] < 0.5
    idle = (_extreme(base, origin, up[..., None, None]) == old).flatten(1).all(1)
    turned = (random[:, 2 + channels, None] * channels).long()
    up = up ^ (idle[:, None] & (torch.arange(channels, device=up.device) == turned))
    point = base.best.clone()
    point[square] = _extreme(base, origin, up[..., None, None])
    return point


def _tiles(ascent: Ascent, draws: Draws) -> Tensor:
    """Five by five humps, each half up and half down, to a length of eps together."""
    number, channels, height, width = ascent.origin.shape
    side = max(min(height, width) // 5, 1)
    down, across = math.ceil(height / side), math.ceil(width / side)
    sign = (draws.uniform(channels, down, across) < 0.5).to(ascent.origin) * 2 - 1
    hump = _hump(side).to(ascent.origin)
    delta = torch.einsum("ncij,ab->nciajb", sign, hump)
    delta = delta.reshape(number, channels, down * side, across * side)[..., :height, :width]
    length = ascent.threat.size(delta)
    return ascent.project(ascent.origin + delta * per_image(ascent.eps / length, delta))


def _moved(base: Base, random: Tensor, side: int) -> Tensor:
    """What two squares of each image's change hold, gathered in a hump in the first."""
    channels, height, width = base.origin.shape[1:]
    side = min(max(side | 1, 3), height, width)
    delta = base.best - base.origin
    first, second = (_window(delta, random[:, at : at + 2], side) for at in (0, 2))
    old = delta[first]
    unused = (base.eps.square() - delta.flatten(1).square().sum(1)).clamp(min=0)
    left = delta.clone()
    left[first] = 0
    left[second] = 0
    held = delta.square().sum((2, 3)) - left.square().sum((2, 3))  # (left, channels)
    hump = _hump(side).to(delta)
    turned = per_image(random[:, 4] < 0.5, delta)
    sign = (random[:, 6 : 6 + channels] < 0.5).to(delta) * 2 - 1
    new = torch.where(turned, hump.T, hump) * sign[..., None, None]
    tiny = torch.finfo(delta.dtype).tiny
    new = new + old / old.square().sum((2, 3), keepdim=True).sqrt().clamp(min=tiny)
    length = new.square().sum((2, 3), keepdim=True).sqrt().clamp(min=tiny)
    room = (held.clamp(min=0) + unused[:, None] / channels).sqrt()
    left[first] = new / length * room[..., None, None]
    return base.project(base.origin + left)


@cache
def _hump(side: int) -> Tensor:
    """A change of length 1: a hump in one half of a square, its negative in the other.

    Equation 2 and what stands around it: each half is a sum of rectangles about its middle.
    """
    half = side // 2
    both = torch.cat([_rectangles(half, side), -_rectangles(side - half, side)])
    length: Tensor = torch.linalg.vector_norm(both)
    return both / length


def _rectangles(height: int, width: int) -> Tensor:
    """Nested rectangles, each less high than the one in it, together of length 1."""
    count = max(height, width) // 2 + 1
    rows, columns = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    ring = torch.maximum(rows.abs()[:, None], columns.abs()[None])
    heights = 1 / torch.arange(1, count + 1).double().square()
    value = heights.flip(0).cumsum(0).flip(0)[ring]
    length: Tensor = torch.linalg.vector_norm(value)
    return value / length if height else value


def _window(image: Tensor, place: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Indices of a square of each image.

    Args:
        image: shape (batch, channels, height, width).
        place: of the upper left corner, each uniform in [0, 1), shape (batch, 2).
        side: of the square.

    Returns:
        Of batch, channel, row and column; together they index (batch, channels, side, side).
    """
    number, channels, height, width = image.shape
    room = torch.tensor([height - side + 1, width - side + 1], device=place.device)
    corner = (place * room).long()
    run = torch.arange(side, device=place.device)
    rows, columns = corner[:, :1] + run, corner[:, 1:] + run
    batch = torch.arange(number, device=place.device)[:, None, None, None]
    channel = torch.arange(channels, device=place.device)[None, :, None, None]
    return batch, channel, rows[:, None, :, None], columns[:, None, None, :]
