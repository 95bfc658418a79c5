"""What attacks that follow a gradient share: the gradient, the step, the loop, the final check.

An attack is a short class on top: how many steps of which size, from where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias

import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError, ConstraintViolated
from bcadv.perturb.base import CheckedPerturbation
from bcadv.perturb.threat import ThreatModel, per_image
from bcadv.task import Task

ImageLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(logits, target) -> the loss of each image, shape (batch,)."""


_ROUNDING = 1e3
"""By so many roundings of its largest logit an answer may differ from batch to batch."""


@dataclass(frozen=True)
class GradientAttack(CheckedPerturbation):
    """What gradient attacks share: the gradient, one step along it, and the final check.

    A step goes from a point along the direction of steepest ascent and back into the threat
    model; attacks differ in how many steps they take, of which size and from where.

    Attributes:
        threat: how far an image may be moved.
        targeted: ``False`` raises the loss of ``target``, the true class; ``True`` lowers it, so
            that ``target`` is the class the adversary wants.
        loss: loss of each image, shape (batch,), from logits and target; ``None`` is the task's
            own. It is summed, not averaged, so that an image's gradient does not depend on the
            batch it came in.
        task: what the model's outputs mean.

    Raises:
        BcadvError: the loss is not callable.
    """

    threat: ThreatModel
    targeted: bool = field(default=False, kw_only=True)
    loss: ImageLoss | None = field(default=None, kw_only=True)
    task: Task = field(default_factory=Task, kw_only=True)

    def __post_init__(self) -> None:
        if self.loss is not None and not callable(self.loss):
            raise BcadvError(
                f"{self.name}: loss is {self.loss!r}; give a function (logits, target) -> the loss "
                "of each image, shape (batch,), or None for the task's own."
            )
        if not isinstance(self.threat, ThreatModel):
            raise BcadvError(
                f"{self.name}: threat is {self.threat!r}; give ThreatModel(eps=8 / 255)."
            )

    @property
    def strength(self) -> float:
        """The radius eps."""
        return self.threat.eps

    @property
    def bounds(self) -> tuple[float, float]:
        """The box of the threat model."""
        return self.threat.bounds

    def with_strength(self, strength: float) -> Self:
        """The same attack with another radius eps."""
        return replace(self, threat=self.threat.with_eps(strength))

    def _gradient(self, model: nn.Module, point: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of what the adversary wants to grow, and the logits met on the way."""
        point = point.detach().requires_grad_()
        logits = self.task.check(model(point), target, self.name)
        if not logits.requires_grad:
            raise BcadvError(
                f"{self.name}: the model's logits carry no gradient back to the image, so a "
                "gradient attack cannot work; remove no_grad and detach from the model's forward."
            )
        losses = (self.loss or self._own_loss)(logits, target)
        if not isinstance(losses, Tensor) or losses.shape != target.shape:
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise BcadvError(
                f"{self.name}: the loss has shape {shape}; give one that returns "
                f"the loss of each image, shape ({len(target)},) (reduction='none')."
            )
        (gradient,) = torch.autograd.grad(losses.sum(), point)
        finite = gradient.flatten(1).abs().amax(1).isfinite()
        if not bool(finite.all()):
            image = int((~finite).nonzero()[0])
            raise BcadvError(
                f"{self.name}: the gradient of image {image} of the batch is not finite (its "
                f"loss is {losses[image].item():g}); check the model's weights and the loss."
            )
        return (-gradient if self.targeted else gradient), logits.detach()

    def _own_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.task.loss(logits, target)

    def _reached(self, logits: Tensor, target: Tensor) -> Tensor:
        """Whether the adversary has what it wants, shape (batch,).

        By more than rounding: the same pixels in another batch must not be right again.
        """
        wrong = self.task.wrong(logits, target)
        rounding = _ROUNDING * torch.finfo(logits.dtype).eps * logits.abs().amax(1).double()
        clear = self._gain(logits, target) > rounding
        return (~wrong if self.targeted else wrong) & clear

    def _gain(self, logits: Tensor, target: Tensor) -> Tensor:
        """How close it is to that; larger is closer, shape (batch,)."""
        margin = self.task.margin(logits, target)
        return -margin if self.targeted else margin

    def _climb(
        self,
        model: nn.Module,
        start: Tensor,
        origin: Tensor,
        target: Tensor,
        *,
        eps: Tensor,
        lengths: Sequence[float],
    ) -> Climb:
        """The one loop: steps along the gradient, each image until it is broken.

        Args:
            model: in eval mode.
            start: where the steps begin, inside the threat model, shape (batch, ...).
            origin: the unperturbed images, same shape.
            target: classes, shape (batch,).
            eps: radius of each image, shape (batch,).
            lengths: of the steps, as shares of the radius; at most so many are taken.

        Returns:
            Per image the first point that reached the goal, else the one closest to it.
        """
        best, gain = start.clone(), torch.full((len(start),), -torch.inf, dtype=torch.float64)
        gain = gain.to(start.device)
        done = torch.zeros(len(start), dtype=torch.bool, device=start.device)
        gradients = torch.zeros(len(start), dtype=torch.int64, device=start.device)
        left = torch.arange(len(start), device=start.device)
        point = start

        def look(logits: Tensor) -> Tensor:
            """Keeps what is better than before; returns which of those left go on."""
            reached = self._reached(logits, target[left])
            now = self._gain(logits, target[left])
            better = (now > gain[left]) | reached
            best[left[better]], gain[left[better]] = point[better], now[better]
            done[left[reached]] = True
            return ~reached

        for length in lengths:
            if not len(left):
                break
            gradient, logits = self._gradient(model, point, target[left])
            gradients[left] += 1
            on = look(logits)
            direction = self.threat.direction(gradient[on])
            point, left = point[on], left[on]
            moved = point + direction * per_image((length * eps[left]).to(point), point)
            point = self.threat.project(moved, origin[left], eps[left])
        if len(left):
            with torch.no_grad():
                look(self.task.check(model(point), target[left], self.name))
        return Climb(best, done, gain, gradients)

    def _verify(self, result: Tensor, origin: Tensor, index: Tensor) -> None:
        inside = self.threat.contains(result, origin)
        if bool(inside.all()):
            return
        worst = int((~inside).nonzero()[0])
        size = self.threat.size(result - origin)[worst].item()
        low, high = self.bounds
        raise ConstraintViolated(
            f"{self.name} moved image {int(index[worst])} by {size:.8g} in the "
            f"{self.threat.norm:g}-norm, eps is {self.threat.eps:.8g}; its pixels span "
            f"[{result[worst].min().item():.8g}, {result[worst].max().item():.8g}], "
            f"allowed is [{low:g}, {high:g}]."
        )


@dataclass(frozen=True)
class Climb:
    """What the loop found.

    Attributes:
        image: per image the best point met, shape (batch, ...).
        reached: whether it is what the adversary wants, shape (batch,).
        gain: how close it comes to that, larger is closer, shape (batch,).
        gradients: how many were taken, shape (batch,).
    """

    image: Tensor
    reached: Tensor
    gain: Tensor
    gradients: Tensor


def step(
    threat: ThreatModel, point: Tensor, origin: Tensor, direction: Tensor, size: float
) -> Tensor:
    """One step of any gradient attack: along the direction, then back into the threat model.

    Args:
        threat: ball and box around the origin.
        point: where the step starts, shape (batch, channels, height, width).
        origin: the unperturbed images, same shape.
        direction: of unit norm per image, see `ThreatModel.direction`, same shape.
        size: length of the step, in the unit of the pixels.

    Returns:
        The next point, same shape.
    """
    return threat.project(torch.add(point, direction, alpha=size), origin)
