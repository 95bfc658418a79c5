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
        threat: norm and box.
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
        self.threat = attack.threat
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
        return lead, self._offer(point, lead, logits)

    def ask_ahead(self, point: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
        """Queries one after another for each image left, up to the first that tells something new.

        All are answered at once, because a model answers many images in less time than one after
        another. What comes after the first point that is better, or may break the image, counts
        for nothing and costs nothing: who asks one after another would not have asked it.

        Args:
            point: candidates of each image, in its ball and in the box, shape
                (left, candidates, ...). Each is made as if those before it were no better.
            most: how many of them each image may be asked about, at least one, shape (left,).

        Returns:
            How many queries that were, and whether the image is broken, both of shape (left,).
        """
        left, count = point.shape[:2]
        logits = self.search.peek(self.rows, point)
        target = self.target.repeat_interleave(count)
        lead = self.attack.lead(logits.flatten(0, 1), target).reshape(left, count)
        allowed = torch.arange(count, device=point.device) < most[:, None]
        news = allowed & ((lead > self.gain[:, None]) | (lead > 0))
        before = (news.cumsum(1) == 0).sum(1)  # all of them where none is new
        number = torch.minimum(before, most.clamp(max=count) - 1)
        self.search.queries.index_add_(0, self.rows, number + 1)
        each = torch.arange(left, device=point.device)
        point, lead, logits = point[each, number], lead[each, number], logits[each, number]
        broken = self._offer(point, lead, logits)
        self.keep(point, lead)
        return number + 1, broken

    def _offer(self, point: Tensor, lead: Tensor, logits: Tensor) -> Tensor:
        """Offers the search what may break an image; returns whether it does, shape (left,)."""
        broken = lead > 0
        if bool(broken.any()):
            # Only points that may break an image are measured: it is the longer part of an offer.
            at = broken.nonzero()[:, 0]
            reached = self.search.offer(self.rows[at], point[at], logits[at])
            broken = broken.index_put((at,), reached)
        return broken

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

    def give_up(self, which: Tensor | None = None) -> None:
        """Tells the search how close the attack came to breaking images, and lets them go.

        Args:
            which: of those left, bool, shape (left,); ``None``: all.
        """
        clean = self.search.clean_logits
        assert clean is not None
        which = torch.ones_like(self.rows, dtype=torch.bool) if which is None else which
        rows, gain, origin = self.rows[which], self.gain[which], self.origin[which]
        # An image is better left alone than moved the wrong way.
        nearer = gain > self.attack.lead(clean[rows], self.target[which])
        best = torch.where(per_image(nearer, self.best[which]), self.best[which], origin)
        self.search.failed(rows, self.probe[which], best, gain)
        self.leave(which)


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
        self._block, self._first = torch.empty(len(seeds), 0, width, device=device), 0

    @classmethod
    def of(cls, search: Search, rows: Tensor, seed: int, width: int) -> Draws:
        """Those of some images of a search; each attempt on an image draws others."""
        numbers = torch.stack([search.index[rows], search.queries[rows]], 1).tolist()
        return cls([(seed, search.draw, *each) for each in numbers], width, rows.device)

    def leave(self, broken: Tensor) -> None:
        """Lets broken images go, bool, shape (left,)."""
        stay = (~broken).nonzero()[:, 0]
        self._block = self._block[stay]
        self._generators = [self._generators[i] for i in stay.tolist()]

    def uniform(self, *shape: int) -> Tensor:
        """More numbers for each image, uniform in [0, 1), float32, shape (left, *shape)."""
        drawn = torch.empty(len(self._generators), *shape)
        for row, generator in zip(drawn, self._generators, strict=True):
            row.uniform_(generator=generator)
        return drawn.to(self._device)

    def steps(self, first: Tensor, count: int) -> Tensor:
        """Numbers of some steps of each image, uniform in [0, 1), float32.

        Args:
            first: the first step of each, counted from 0; of none it may become smaller from call
                to call, shape (left,).
            count: so many of each.

        Returns:
            Shape (left, count, width).
        """
        last = int(first.max()) + count
        while self._first + self._block.shape[1] < last:
            self._block = torch.cat([self._block, self.uniform(_BLOCK, self._width)], 1)
        past = int(first.min()) - self._first
        if past >= _BLOCK:
            self._block, self._first = self._block[:, past:], self._first + past
        at = first[:, None] - self._first + torch.arange(count, device=first.device)
        return self._block.gather(1, at[..., None].expand(-1, -1, self._width))
