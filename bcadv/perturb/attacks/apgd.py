"""Auto-PGD: projected gradient ascent that finds its own step size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.loop import Climb, GradientAttack
from bcadv.perturb.pace import Halving, Pace, Sparsening, steepest
from bcadv.perturb.search import Search
from bcadv.perturb.starts import neighbour, output_diversified, random_point, side_by_side
from bcadv.perturb.threat import per_image

_PHASES = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))
"""Radii in L1 as multiples of eps, and each one's share of the steps ("Mind the box", 3.2)."""


@dataclass(frozen=True)
class APGD(GradientAttack):
    """Auto-PGD: gradient ascent with momentum, whose steps shrink when they stop to help.

    In the maximum and the Euclidean norm: Croce and Hein, "Reliable evaluation of adversarial
    robustness with an ensemble of diverse parameter-free attacks", ICML 2020, algorithm 1. In L1:
    Croce and Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image classifiers",
    ICML 2021, with their three phases of falling radius.

    With two classes cross entropy and the margin have the same gradient sign and rank points alike:
    one of them is enough, and the margin's gradient never vanishes. Variety comes from the
    starting points instead.

    Where it differs from the papers: an image is left as soon as it is broken. What breaks it at
    one radius is where the search at the next smaller one begins; what held out there longest is
    where the next larger one does. In L1 steps leave out the values that the box holds back, and
    the ascent begins, where nothing is known, at the best point of ball and box by the gradient at
    the image.

    **At several strengths** each image's smallest breaking radius is narrowed down, as `PGD` does.

    Attributes:
        steps: gradients per restart, at least 1.
        restarts: attempts from different starting points, at least 1.
        surrogate: what grows: the ``margin`` of what the adversary wants, ``cross_entropy`` (as
            log odds, see `Task.log_odds`), or ``dlr``, the margin over the gap between the first
            logit and the third (targeted: the mean of the third and fourth; its margin is that over
            the best other class, for the true class is not known), which is blind to the scale of
            the logits and needs three classes (targeted: four).
        start: of the restarts: ``diverse`` takes turns with what is known from another radius (else
            random), output-diversified (Tashiro et al. 2020), and random; ``output`` and ``random``
            are one kind alone.
        targets: 0, or how many of the classes that would do are aimed at one by one, the likeliest
            first, each with all restarts: what AutoAttack runs as APGD-T with 9. It is of use where
            there are several, for what grows fastest at first may lead to the wrong one.
        seed: names the family of starting points.

    Raises:
        BcadvError: an option out of its range, or too few classes for `surrogate`.
    """

    steps: int = field(default=100, kw_only=True)
    restarts: int = field(default=1, kw_only=True)
    surrogate: Literal["margin", "cross_entropy", "dlr"] = field(default="margin", kw_only=True)
    start: Literal["diverse", "output", "random"] = field(default="diverse", kw_only=True)
    targets: int = field(default=0, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("steps", 1), ("restarts", 1), ("targets", 0), ("seed", 0)):
            whole(self, name, least)
        for name, choices in (
            ("surrogate", ("margin", "cross_entropy", "dlr")),
            ("start", ("diverse", "output", "random")),
        ):
            if getattr(self, name) not in choices:
                raise BcadvError(
                    f"apgd: {name} is {getattr(self, name)!r}; give one of {', '.join(choices)}."
                )
        if self.loss is not None and (self.surrogate != "margin" or self.targets):
            raise BcadvError(
                f"apgd: surrogate={self.surrogate!r}, targets={self.targets} and a loss of your "
                "own exclude each other; leave the loss or both others out."
            )
        if self.threat.norm == 0:
            raise BcadvError("apgd: norm is 0; give 1, 2 or infinity.")

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "apgd"

    def _own_objective(self, logits: Tensor, target: Tensor) -> Tensor:
        if self.surrogate == "cross_entropy":
            return super()._own_objective(logits, target)
        lead = self.lead(logits, target)
        return lead / self._gap(logits, 4 if self.targeted else 3)

    def _toward(self, goal: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        """What is to grow where one class of those that are wanted is aimed at.

        Args:
            goal: the class of each image, shape (batch,).
            logits: shape (batch, classes).
            target: see the attack, shape (batch,).
        """
        wanted = self.wanted(logits, target)
        ours = torch.zeros_like(wanted).scatter_(1, goal[:, None], True)
        alone = logits.masked_fill(wanted & ~ours, -torch.inf)
        if self.surrogate == "cross_entropy":
            return self.task.odds(alone, ours)
        return self.task.lead(alone, ours) / self._gap(logits, 4)

    def _gap(self, logits: Tensor, need: int) -> Tensor:
        """What the lead is divided by, shape (batch, ) or ()."""
        if self.surrogate == "margin":
            return torch.ones((), device=logits.device)
        classes = logits.shape[1]
        if classes < need:
            third = "third" if need == 3 else "third and fourth together"
            raise BcadvError(
                f"apgd: surrogate is 'dlr', which divides by the gap between the first logit and "
                f"the {third}, and the model has {classes} classes; with fewer than {need} take "
                "surrogate='margin' (attack.apgd.surrogate=margin)."
            )
        top = logits.double().topk(need, dim=1).values
        # Where the first classes are level, so is the lead.
        return (top[:, 0] - top[:, 2:].mean(1)).clamp(min=1e-12)

    def _attempt(self, search: Search, rows: Tensor, probe: Tensor) -> None:
        attempts = list(product(self._goals(search, rows), range(self.restarts)))
        tried = search.was_tried(rows)
        fresh = (~tried).nonzero()[:, 0]
        # Most of these break at the first: side by side with it the others would be in vain.
        if len(fresh):
            self._ascend(search, rows, probe, fresh, attempts[:1])
        for those, rest in ((fresh, attempts[1:]), (tried.nonzero()[:, 0], attempts)):
            for some, together in side_by_side(those, rest, len(search.image)):
                left = some[search.high[rows[some]] > probe[some]]
                if len(left):
                    self._ascend(search, rows, probe, left, together)

    def _goals(self, search: Search, rows: Tensor) -> list[Tensor | None]:
        """The classes that are aimed at in turn, each of shape (rows,); ``None``: all at once."""
        clean = search.clean_logits
        if not self.targets or clean is None:
            return [None]
        wanted = self.wanted(clean[rows], search.target[rows])
        # Images that stand share an aim, and so the number of classes that would do.
        turns = min(self.targets, int(wanted.sum(1).min()))
        if turns < 2:
            return [None]
        likely = clean[rows].masked_fill(~wanted, -torch.inf).argsort(1, descending=True)
        return list(likely[:, :turns].unbind(1))

    def _ascend(
        self,
        search: Search,
        rows: Tensor,
        probe: Tensor,
        which: Tensor,
        attempts: Sequence[tuple[Tensor | None, int]],
    ) -> None:
        """Attempts on some images side by side.

        Args:
            search: what is known of the batch.
            rows: numbers of the images, shape (rows,).
            probe: number of the radius of each, shape (rows,).
            which: of the rows are attacked, numbers, shape (which,).
            attempts: class that each of the rows is aimed at, and number of the restart.
        """
        at, eps = rows[which], search.radii[probe[which]]
        goals = [None if goal is None else goal[which] for goal, _ in attempts]
        starts = [
            self._start(search, at, eps, restart, goal)
            for goal, (_, restart) in zip(goals, attempts, strict=True)
        ]
        aimed = [goal for goal in goals if goal is not None]
        goal = torch.cat(aimed) if aimed else None
        many = len(attempts)
        climb, point = (
            Climb(self, search, at.repeat(many), probe[which].repeat(many)),
            torch.cat(starts),
        )
        for factor, steps in self._phases():
            if len(climb.left):
                point = self.threat.project(point, climb.origin, climb.eps * factor)
                point = self._run(climb, point, factor, steps, goal)
        climb.finish(point)

    def _phases(self) -> Iterator[tuple[float, int]]:
        """Multiple of the radius and steps of each phase."""
        if self.threat.norm != 1 or self.steps < 10:
            yield 1.0, self.steps
            return
        left = self.steps
        for factor, share in _PHASES[:-1]:
            steps = math.ceil(share * self.steps)
            left -= steps
            yield factor, steps
        yield _PHASES[-1][0], left

    def _run(
        self, climb: Climb, point: Tensor, factor: float, steps: int, goal: Tensor | None
    ) -> Tensor:
        """The ascent at a multiple of the radius; returns where the images left ended."""
        kind = Sparsening if self.threat.norm == 1 else Halving
        pace: Pace = kind(self.threat, climb.origin, climb.eps * factor, steps, point)
        for number in range(steps):
            if not len(climb.left):
                break
            grows = self._objective if goal is None else partial(self._toward, goal[climb.left])
            gradient, logits = self.gradient_at(climb.search, climb.at, point, grows)
            with torch.no_grad():
                value = grows(logits, climb.search.target[climb.at]).double()
            on = climb.look(point, logits, inside=factor == 1)
            if not bool(on.all()):
                pace.keep(on)
                point, gradient, value = climb.keep(on, point, gradient, value)
            point = pace.step(number, point, gradient, value)
        return point if factor == 1 or not len(climb.left) else pace.best

    def _start(
        self, search: Search, rows: Tensor, eps: Tensor, restart: int, goal: Tensor | None
    ) -> Tensor:
        start = random_point(self.threat, search, rows, eps, self.seed, restart)
        if self.start == "output" or (self.start == "diverse" and restart % 3 == 1):
            return output_diversified(
                self, search, rows, eps, start, self._direction, self.seed, restart, 1
            )
        if self.start == "random" or restart % 3 == 2:
            return start
        if self.threat.norm == 1:
            start = self._corner(search, rows, eps, goal)
        near, known = neighbour(self.threat, search, rows, eps)
        return torch.where(per_image(known, start), near, start)

    def _direction(self, gradient: Tensor) -> Tensor:
        """Of a step towards other logits; in L1 one in few values would end where it began."""
        if self.threat.norm == 1:
            share = torch.full((len(gradient),), 0.2, dtype=torch.float64, device=gradient.device)
            return steepest(gradient, share)
        return self.threat.direction(gradient)

    def _corner(self, search: Search, rows: Tensor, eps: Tensor, goal: Tensor | None) -> Tensor:
        """The best point of L1 ball and box if the model were linear: steep values to their end."""
        origin, (low, high) = search.image[rows], self.threat.bounds
        grows = self._objective if goal is None else partial(self._toward, goal)
        gradient, _ = self.gradient_at(search, rows, origin, grows)
        flat = gradient.flatten(1)
        room = torch.where(gradient > 0, high - origin, origin - low).flatten(1)
        order = flat.abs().argsort(dim=1, descending=True, stable=True)
        used = room.gather(1, order).cumsum(1)
        free = eps.to(used)[:, None] - used + room.gather(1, order)
        change = torch.minimum(free.clamp(min=0), room.gather(1, order))
        moved = torch.zeros_like(flat).scatter_(1, order, change) * flat.sign()
        point = self.threat.project(origin + moved.reshape(origin.shape), origin, eps)
        search.offer(rows, point, search.logits(rows, point))
        return point
