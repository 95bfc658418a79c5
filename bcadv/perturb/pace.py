"""How Auto-PGD chooses its steps: what each image's run has shown so far."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from bcadv.perturb.threat import ThreatModel, per_image

_MOMENTUM = 0.75
"""Share of the new step; the rest goes on where the last one went."""

_RISING = 0.75
"""Share of the steps since the last look that have to raise the value, or they are too long."""


_CUTS = 6
"""Rounds in which the values that the box cuts are found; the last ones find hardly any."""


class Pace(ABC):
    """The run of some images: the best point of each, and the next step.

    Args:
        threat: ball and box.
        origin: the unperturbed images, shape (left, ...).
        eps: radius of each, shape (left,).
        steps: of the whole run.
        start: where it begins, shape (left, ...).

    Attributes:
        best: the best point of each image so far, shape (left, ...).
    """

    _tensors: tuple[str, ...] = ("origin", "eps", "size", "best", "best_gradient", "value")

    def __init__(
        self, threat: ThreatModel, origin: Tensor, eps: Tensor, steps: int, start: Tensor
    ) -> None:
        self.threat, self.steps = threat, steps
        self.origin, self.eps, self.size = origin, eps, eps.clone()
        self.best, self.best_gradient = start.clone(), torch.zeros_like(start)
        self.value = torch.full_like(eps, -torch.inf)

    def keep(self, on: Tensor) -> None:
        """Lets the other images go."""
        for name in self._tensors:
            setattr(self, name, getattr(self, name)[on])

    def step(self, number: int, point: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
        """The next point.

        Args:
            number: of the step, from 0.
            point: the last one, shape (left, ...).
            gradient: there.
            value: what is to grow, there, float64, shape (left,).
        """
        better = value > self.value
        self.best[better], self.best_gradient[better] = point[better], gradient[better]
        self.value = torch.maximum(value, self.value)
        return self._next(number, point, gradient, value)

    @abstractmethod
    def _next(self, number: int, point: Tensor, gradient: Tensor, value: Tensor) -> Tensor: ...

    def _from_best(self, again: Tensor, point: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Goes back to the best point where asked to."""
        chosen = per_image(again, point)
        return (
            torch.where(chosen, self.best, point),
            torch.where(chosen, self.best_gradient, gradient),
        )


class Halving(Pace):
    """Steps with momentum, halved where they stop to help (Croce and Hein 2020, algorithm 1)."""

    _tensors = (*Pace._tensors, "before", "last", "rises", "checked", "halved")

    def __init__(
        self, threat: ThreatModel, origin: Tensor, eps: Tensor, steps: int, start: Tensor
    ) -> None:
        super().__init__(threat, origin, eps, steps, start)
        self.size = 2 * eps
        self.before, self.last, self.checked = start, self.value, self.value
        self.rises = torch.zeros_like(eps)
        self.halved = torch.zeros_like(eps, dtype=torch.bool)
        self.wait, self.since = max(1, int(0.22 * steps)), 0

    def _next(self, number: int, point: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
        if number:
            self.rises = self.rises + (value > self.last)
            self.since += 1
        else:
            self.checked = self.value
        self.last = value
        if self.since == self.wait:
            point, gradient = self._look_back(point, gradient)
        length = per_image(self.size.to(point), point)
        ahead = point + length * self.threat.direction(gradient)
        ahead = self._project(ahead)
        if number:
            drift = (1 - _MOMENTUM) * (point - self.before)
            moved = point + _MOMENTUM * (ahead - point) + drift
            ahead = self._project(moved)
        self.before = point
        return ahead

    def _project(self, point: Tensor) -> Tensor:
        """The nearest point of ball and box together.

        In the Euclidean norm that is the change, scaled and cut by the box, so long as the ball
        allows; scaled first and cut then, as `ThreatModel.project` does, it stays short of the edge
        wherever the box cuts, and with it the attack.
        """
        if self.threat.norm == 2:
            origin, (low, high) = self.origin.flatten(1), self.threat.bounds
            change = point.flatten(1) - origin
            size = change.abs()
            room = torch.where(change > 0, high - origin, origin - low)
            square, held, eps = size.square(), room.square(), self.eps.to(room).square()
            scale = (eps / square.sum(1).clamp(min=1e-30)).sqrt().clamp(max=1.0)
            for _ in range(_CUTS):
                cut = scale[:, None] * size > room
                if not bool(cut.any()):
                    break
                left = (eps - (held * cut).sum(1)).clamp(min=0)
                scale = (left / (square * ~cut).sum(1).clamp(min=1e-30)).sqrt().clamp(max=1.0)
            moved = (scale[:, None] * size).minimum(room)
            point = self.origin + torch.copysign(moved, change).reshape(point.shape)
        return self.threat.project(point, self.origin, self.eps)

    def _look_back(self, point: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """A checkpoint: halves the steps of images that they do not help, from the best point."""
        swings = self.rises < _RISING * self.wait
        stuck = ~self.halved & (self.value <= self.checked)
        self.halved = swings | stuck
        self.size = torch.where(self.halved, self.size / 2, self.size)
        self.checked, self.rises, self.since = self.value, torch.zeros_like(self.rises), 0
        # Looks come closer together, by 3 % of the steps at a time down to 6 %.
        least, less = max(1, int(0.06 * self.steps)), max(1, int(0.03 * self.steps))
        self.wait = max(self.wait - less, least)
        return self._from_best(self.halved, point, gradient)


class Sparsening(Pace):
    """Steps in L1, in as few values as the best point's change calls for ("Mind the box", 3.1)."""

    _tensors = (*Pace._tensors, "share", "changed")

    def __init__(
        self, threat: ThreatModel, origin: Tensor, eps: Tensor, steps: int, start: Tensor
    ) -> None:
        super().__init__(threat, origin, eps, steps, start)
        self.values = origin[0].numel()
        self.changed = self._count()
        self.share = (self.changed / self.values / 1.5).clamp(1 / self.values, 0.2)
        self.wait = max(1, int(0.04 * steps))

    def _count(self) -> Tensor:
        """Values that the best point changes, float64, shape (left,)."""
        return (self.best != self.origin).flatten(1).sum(1).double()

    def _next(self, number: int, point: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
        if number and number % self.wait == 0:
            changed = self._count()
            fewer = changed < 0.95 * self.changed
            self.share = (changed / self.values / 1.5).clamp(min=1 / self.values)
            self.size = torch.where(fewer, self.eps, (self.size / 1.5).maximum(self.eps / 10))
            self.changed = changed
            point, gradient = self._from_best(fewer, point, gradient)
        low, high = self.threat.bounds
        held = ((point <= low) & (gradient < 0)) | ((point >= high) & (gradient > 0))
        ahead = steepest(gradient.masked_fill(held, 0.0), self.share)
        moved = point + per_image(self.size.to(point), point) * ahead
        return self.threat.project(moved, self.origin, self.eps)


def steepest(gradient: Tensor, share: Tensor) -> Tensor:
    """Equal steps in the values with the largest gradients, of length 1 together in L1.

    Args:
        gradient: shape (batch, ...).
        share: of all values, shape (batch,).
    """
    flat = gradient.flatten(1)
    size = flat.abs()
    falling = size.sort(dim=1, descending=True).values
    last = (share * flat.shape[1]).round().long().clamp(1, flat.shape[1]) - 1
    kept = flat.sign() * (size >= falling.gather(1, last[:, None]))
    length = kept.abs().sum(1, keepdim=True)
    return (kept / length.clamp(min=1)).reshape(gradient.shape)
