"""What attacks share that ask the model for answers alone, under a budget of queries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from bcadv.perturb.attack import AdversarialAttack, whole
from bcadv.perturb.random import seeded
from bcadv.perturb.search import Search
from bcadv.perturb.threat import per_image

_BLOCK = 64
"""Steps whose random numbers are drawn at once: a call of a generator costs more than they do."""


@dataclass(frozen=True)
class QueryAttack(AdversarialAttack):
    """An attack within a ball that asks for the model's answers and for no gradient.

    **At several strengths** it begins at the largest radius: what breaks an image costs few
    queries, and what does not costs the whole budget, so that way an image costs the whole budget
    once. What breaks it at one radius is where the attack on the next smaller one begins. An image
    counts as standing at a radius if a whole attack failed there or at a larger one of the list.

    Attributes:
        seed: names the family of random numbers. Those of an image depend on it, on the draw, on
            the image's index and on how many queries it cost before.
    """

    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "seed", 0)

    def _improve(self, search: Search) -> None:
        if search.clean_logits is None:
            search.answer_clean()
        largest = torch.full_like(search.high, len(search.radii) - 1)
        search.narrow(partial(self._attempt, search), largest)

    @abstractmethod
    def _attempt(self, search: Search, rows: Tensor, probe: Tensor) -> None:
        """A whole attack on some images, each at a radius of its own.

        Args:
            search: what is known of the batch; `Ascent` offers it the points and tells it of
                failures.
            rows: numbers of the images, shape (rows,).
            probe: number of the radius of each, shape (rows,).
        """


class Ascent:
    """Images that are attacked at a radius each, until they break: the best point of each.

    Images that are broken leave, so all tensors hold the images left.

    Args:
        attack: at work.
        search: what is known of the batch; is offered what reaches the aim.
        rows: numbers of the images, shape (rows,).
        probe: number of the radius of each, shape (rows,).

    Attributes:
        rows: numbers of the images left, shape (left,).
        origin: the unperturbed images, shape (left, ...).
        target: their classes, shape (left,).
        eps: radius of each, in the type of the images, shape (left,).
        best: the best point so far, the unperturbed image before there is any, shape (left, ...).
        gain: its lead, -inf before there is any, float64, shape (left,).
    """

    def __init__(
        self, attack: AdversarialAttack, search: Search, rows: Tensor, probe: Tensor
    ) -> None:
        self.attack, self.search, self.rows, self.probe = attack, search, rows, probe
        self.origin, self.target = search.image[rows], search.target[rows]
        self.eps = search.radii[probe].to(self.origin)
        self.best = self.origin.clone()
        self.gain = torch.full((len(rows),), -torch.inf, dtype=torch.float64, device=rows.device)

    def __len__(self) -> int:
        return len(self.rows)

    def project(self, point: Tensor) -> Tensor:
        """Points brought into each image's ball and into the box."""
        return self.attack.threat.project(point, self.origin, self.eps)

    def known(self, otherwise: Tensor) -> Tensor:
        """Where to begin: at what breaks each image further off, drawn into its ball.

        Args:
            otherwise: where to begin with images that nothing is known of, shape (left, ...).
        """
        found = self.search.distance[self.rows].isfinite()
        if not bool(found.any()):
            return otherwise
        near = self.project(self.search.found[self.rows])
        return torch.where(per_image(found, near), near, otherwise)

    def ask(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """One query for each image left, at a point in its ball and in the box.

        Args:
            point: shape (left, ...).

        Returns:
            The lead, float64, and whether the image is broken, both of shape (left,).
        """
        logits = self.search.logits(self.rows, point)
        lead = self.attack.lead(logits, self.target)
        broken = lead > 0
        if bool(broken.any()):
            # Only points that may break an image are measured: it is the longer part of an offer.
            at = broken.nonzero()[:, 0]
            reached = self.search.offer(self.rows[at], point[at], logits[at])
            broken = broken.index_put((at,), reached)
        return lead, broken

    def keep(self, point: Tensor, lead: Tensor) -> None:
        """Takes points that are better than the best so far."""
        better = lead > self.gain
        self.gain = torch.where(better, lead, self.gain)
        at = better.nonzero()[:, 0]
        self.best[at] = point[at]

    def leave(self, broken: Tensor, *others: Tensor) -> list[Tensor]:
        """Lets broken images go.

        Args:
            broken: bool, shape (left,).
            others: tensors that hold a row for each image left.

        Returns:
            What the others hold of the images that stay.
        """
        if not bool(broken.any()):
            return list(others)
        stay = (~broken).nonzero()[:, 0]
        for name in ("rows", "probe", "origin", "target", "eps", "best", "gain"):
            setattr(self, name, getattr(self, name)[stay])
        return [other[stay] for other in others]

    def give_up(self) -> None:
        """Tells the search how close the attack came to breaking the images left."""
        clean = self.search.clean_logits
        assert clean is not None
        # An image is better left alone than moved the wrong way.
        nearer = self.gain > self.attack.lead(clean[self.rows], self.target)
        best = torch.where(per_image(nearer, self.best), self.best, self.origin)
        self.search.failed(self.rows, self.probe, best, self.gain)


class Draws:
    """Random numbers of each image, a few for every step, drawn many steps at a time.

    Args:
        seeds: what the numbers of each image depend on.
        width: how many an image needs in a step.
        device: to put them on.
    """

    def __init__(self, seeds: Sequence[Sequence[int]], width: int, device: torch.device) -> None:
        self._generators = [seeded(*numbers) for numbers in seeds]
        self._width, self._device = width, device
        self._block, self._next = torch.empty(0), _BLOCK

    @classmethod
    def of(cls, search: Search, rows: Tensor, seed: int, width: int) -> Draws:
        """Those of some images of a search; each attempt on an image draws others."""
        numbers = torch.stack([search.index[rows], search.queries[rows]], 1).tolist()
        return cls([(seed, search.draw, *each) for each in numbers], width, rows.device)

    def leave(self, broken: Tensor) -> None:
        """Lets broken images go, bool, shape (left,)."""
        stay = (~broken).nonzero()[:, 0]
        self._block = self._block[stay] if self._next < _BLOCK else self._block
        self._generators = [self._generators[i] for i in stay.tolist()]

    def uniform(self, *shape: int) -> Tensor:
        """More numbers for each image, uniform in [0, 1), float32, shape (left, *shape)."""
        drawn = torch.empty(len(self._generators), *shape)
        for row, generator in zip(drawn, self._generators, strict=True):
            row.uniform_(generator=generator)
        return drawn.to(self._device)

    def step(self) -> Tensor:
        """Numbers of the next step, uniform in [0, 1), float32, shape (left, width)."""
        if self._next == _BLOCK:
            self._block, self._next = self.uniform(_BLOCK, self._width), 0
        self._next += 1
        return self._block[:, self._next - 1]
