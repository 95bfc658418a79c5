"""HopSkipJump: the nearest adversarial image from decisions alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.perturb.attack import whole
from bcadv.perturb.nearest import NearestAttack
from bcadv.perturb.queries import Draws
from bcadv.perturb.search import Search
from bcadv.perturb.threat import per_image

_STARTS = 20
"""Random images among which one to start from is looked for."""
_SIDES = (20, 0, 1, 2, 3)
"""Halvings of the image's side that give the side of their patches, single pixels first."""
_PROBE = 0.1
"""How far from the boundary point the gradient is estimated, as a share of its distance."""
_EXACT = 0.3
"""How near the boundary a point has to be, as a share of how far a probe goes across it."""
_HALVINGS = 12
"""Attempts at the length of a step."""


@dataclass(frozen=True)
class HopSkipJump(NearestAttack):
    """Walks along the decision boundary towards the image; it sees decisions and no scores.

    Chen, Jordan and Wainwright, "HopSkipJumpAttack: a query-efficient decision-based attack", IEEE
    S&P 2020, algorithm 2: from a random image that reaches the aim, bisection leads to the
    boundary; random signs around the point there say which way the boundary faces (equation 16);
    a step that way, shorter with every round, and again. Every answer counts: a random point that
    reaches the aim nearer to the image than all before is kept.

    Attributes:
        queries: answers that an image may cost, beside the one to the clean image.
        samples: random points in the first estimate, sqrt(round) times as many in those after.
        seed: names the family of random numbers.

    Raises:
        BcadvError: an option out of its range.
    """

    queries: int = field(default=1000, kw_only=True)
    samples: int = field(default=40, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "queries", 1)
        whole(self, "samples", 2)
        whole(self, "seed", 0)

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "hopskipjump"

    def _approach(self, search: Search, rows: Tensor) -> None:
        walk = _Walk(self, search, rows)
        walk.start()
        walk.to_boundary()
        number = 0
        while len(walk.rows):
            walk.step(number)
            walk.to_boundary()
            number += 1
        walk.finish(rows)


class _Walk:
    """The images that have queries left, and where each of them is.

    Attributes:
        rows: their numbers, shape (left,).
        point: adversarial once started, shape (left, ...).
    """

    def __init__(self, attack: HopSkipJump, search: Search, rows: Tensor) -> None:
        self.attack, self.search, self.rows = attack, search, rows
        self.draws = Draws.of(search, rows, attack.seed, 1)
        self.origin = search.image[rows]
        self.point = self.origin.clone()
        self.end = search.queries[rows] + attack.queries
        values = self.origin[0].numel() if len(rows) else 1
        # A random step of length 1 goes 1 / sqrt(values) across the boundary.
        self.exact = _EXACT * _PROBE / math.sqrt(values)

    def ask(self, point: Tensor, which: Tensor) -> Tensor:
        """Whether points reach the aim; images without queries left are not asked.

        Args:
            point: shape (left, ...).
            which: whose answers are needed, bool, shape (left,).

        Returns:
            bool, shape (left,); False where nothing was asked.
        """
        at = (which & (self.search.queries[self.rows] < self.end)).nonzero()[:, 0]
        reached = torch.zeros_like(which)
        if len(at):
            rows, there = self.rows[at], point[at]
            reached[at] = self.search.offer(rows, there, self.search.logits(rows, there))
        return reached

    def leave(self) -> None:
        """Lets images go that have no queries left."""
        gone = self.search.queries[self.rows] >= self.end
        self._keep(~gone)

    def _keep(self, which: Tensor) -> None:
        if bool(which.all()):
            return
        self.draws.leave(~which)
        for name in ("rows", "origin", "point", "end"):
            setattr(self, name, getattr(self, name)[which])

    def size(self) -> Tensor:
        """Distance of each point from its image, shape (left,)."""
        return self.attack.threat.size(self.point - self.origin)

    def start(self) -> None:
        """Finds an adversarial image for each; those without one are given up."""
        search = self.search
        begun = search.distance[self.rows].isfinite()
        self.point = torch.where(per_image(begun, self.point), search.found[self.rows], self.point)
        for number in range(_STARTS):
            if bool(begun.all()):
                break
            random = self._patchwork(number)
            reached = self.ask(random, ~begun)
            # Of images that no start breaks the last is kept, as the best guess that there is.
            self.point = torch.where(per_image(~begun, random), random, self.point)
            begun |= reached
        lost = (~begun).nonzero()[:, 0]
        self._fail(self.rows[lost], self.point[lost])
        self._keep(begun)

    def _patchwork(self, number: int) -> Tensor:
        """Random images of patches, from one patch for all down to single pixels."""
        low, high = self.attack.bounds
        channels, height, width = self.origin.shape[1:]
        side = max(1, max(height, width) >> _SIDES[number % len(_SIDES)])
        small = self.draws.uniform(channels, -(-height // side), -(-width // side))
        # Every second time round black and white, which lie furthest from any image.
        small = small.round() if number // len(_SIDES) % 2 else small
        random = small.repeat_interleave(side, 2).repeat_interleave(side, 3)
        random = random[..., :height, :width].to(self.origin)
        return (low + (high - low) * random).clamp(low, high)

    def finish(self, rows: Tensor) -> None:
        """Tells the search of what broke an image beyond the largest radius alone."""
        search = self.search
        far = rows[(search.high[rows] == len(search.radii)) & search.distance[rows].isfinite()]
        self._fail(far, search.found[far])

    def _fail(self, rows: Tensor, point: Tensor) -> None:
        """The nearest that an image was broken at is the best guess at a point in the ball."""
        search = self.search
        if not len(rows) or not len(search.radii):
            return
        largest = torch.full_like(rows, len(search.radii) - 1)
        eps = search.radii[largest].to(point)
        near = self.attack.threat.project(point, search.image[rows], eps)
        search.failed(rows, largest, near, -search.distance[rows])

    def to_boundary(self) -> None:
        """Bisection between each image and its point, which stays on the far side."""
        size = self.size()
        low, high = torch.zeros_like(size), torch.ones_like(size)
        far = self.point
        for _ in range(math.ceil(-math.log2(self.exact))):
            middle = (low + high) / 2
            between = self.attack.threat.project(far, self.origin, middle * size)
            reached = self.ask(between, torch.ones_like(size, dtype=torch.bool))
            self.point = torch.where(per_image(reached, far), between, self.point)
            high, low = torch.where(reached, middle, high), torch.where(reached, low, middle)
        self.leave()

    def step(self, number: int) -> None:
        """From the boundary to the far side, along the estimated gradient."""
        size = self.size()
        direction = self.attack.threat.direction(self._gradient(number, size))
        length = size / math.sqrt(number + 1)
        low, high = self.attack.bounds
        open_ = torch.ones_like(size, dtype=torch.bool)
        begin = self.point
        for _ in range(_HALVINGS):
            there = (begin + direction * per_image(length, begin)).clamp(low, high)
            reached = self.ask(there, open_)
            self.point = torch.where(per_image(reached, begin), there, self.point)
            open_ &= ~reached
            if not bool(open_.any()):
                break
            length = length / 2

    def _gradient(self, number: int, size: Tensor) -> Tensor:
        """Which way the far side lies, of shape (left, ...), equation 16."""
        low, high = self.attack.bounds
        values = self.origin[0].numel()
        # In the unit of the norm: signs are 1 long in the largest, sqrt(values) in the Euclidean.
        unit = 1.0 if self.attack.threat.norm == math.inf else 1 / math.sqrt(values)
        reach = per_image(_PROBE * size * unit, self.point)
        votes = torch.zeros_like(size)
        toward, drift = torch.zeros_like(self.point), torch.zeros_like(self.point)
        everyone = torch.ones_like(size, dtype=torch.bool)
        count = round(self.attack.samples * math.sqrt(number + 1))
        for _ in range(count):
            random = self.draws.uniform(*self.origin.shape[1:])
            sign = torch.where(random < 0.5, -1.0, 1.0).to(self.point)
            aside = (self.point + sign * reach).clamp(low, high)
            way = aside - self.point
            vote = torch.where(self.ask(aside, everyone), 1.0, -1.0).to(size)
            votes, toward = votes + vote, toward + way * per_image(vote, way)
            drift = drift + way
        mean = votes / count
        mean = torch.where(mean.abs() == 1, torch.zeros_like(mean), mean)
        return toward - drift * per_image(mean, drift)
