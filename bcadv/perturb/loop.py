"""What attacks that follow a gradient share: the gradient, the step, the loop, the final check.

An attack is a short class on top: how many steps of which size, from where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb.attack import AdversarialAttack
from bcadv.perturb.search import Search
from bcadv.perturb.threat import ThreatModel, per_image

ImageLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(logits, target) -> the loss of each image, shape (batch,)."""


@dataclass(frozen=True)
class GradientAttack(AdversarialAttack):
    """What gradient attacks share: the gradient, and the loop along it.

    A step goes from a point along the direction of steepest ascent and back into the threat
    model; attacks differ in how many steps they take, of which size and from where.

    Attributes:
        loss: loss of each image, shape (batch,), from logits and target; ``None`` is the attack's
            own. It is raised, or lowered if the attack is targeted, and summed, not averaged, so
            that an image's gradient does not depend on the batch it came in.

    Raises:
        BcadvError: the loss is not callable, or stands beside an aim that it cannot express.
    """

    loss: ImageLoss | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.loss is not None and not callable(self.loss):
            raise BcadvError(
                f"{self.name}: loss is {self.loss!r}; give a function (logits, target) -> the loss "
                "of each image, shape (batch,), or None for the task's own."
            )
        super().__post_init__()
        if self.loss is not None and self.aim != "any":
            raise BcadvError(
                f"{self.name}: a loss of your own knows the true class alone, and aim={self.aim!r} "
                "asks for more; leave one of them out."
            )

    def _gradient(self, model: nn.Module, point: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of what the adversary wants to grow, and the logits met on the way."""
        point = point.detach().requires_grad_()
        logits = self._traced(model, point, target)
        losses = self._objective(logits, target)
        if not isinstance(losses, Tensor) or losses.shape != target.shape:
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise BcadvError(
                f"{self.name}: the loss has shape {shape}; give one that returns "
                f"the loss of each image, shape ({len(target)},) (reduction='none')."
            )
        return self._slope(losses, point), logits.detach()

    def _traced(self, model: nn.Module, point: Tensor, target: Tensor) -> Tensor:
        """The logits of points that require a gradient, with their graph."""
        logits = self.task.check(model(point), target, self.name)
        if not logits.requires_grad:
            raise BcadvError(
                f"{self.name}: the model's logits carry no gradient back to the image, so a "
                "gradient attack cannot work; remove no_grad and detach from the model's forward."
            )
        return logits

    def _slope(self, losses: Tensor, point: Tensor, *, again: bool = False) -> Tensor:
        """Gradient of each image's loss; ``again`` if the graph is to be used once more."""
        (gradient,) = torch.autograd.grad(losses.sum(), point, retain_graph=again)
        finite = gradient.flatten(1).abs().amax(1).isfinite()
        if not bool(finite.all()):
            image = int((~finite).nonzero()[0])
            raise BcadvError(
                f"{self.name}: the gradient of image {image} of the batch is not finite (its "
                f"loss is {losses[image].item():g}); check the model's weights and the loss."
            )
        return gradient

    def _objective(self, logits: Tensor, target: Tensor) -> Tensor:
        """What the adversary wants to grow, of each image, shape (batch,)."""
        if self.loss is None:
            return self._own_objective(logits, target)
        losses = self.loss(logits, target)
        return -losses if self.targeted else losses

    def _own_objective(self, logits: Tensor, target: Tensor) -> Tensor:
        """That of the attack itself: the log odds of what is wanted, whose gradient never vanishes.

        They have the direction of cross entropy's, see `Task.log_odds`.
        """
        return self.task.odds(logits, self.wanted(logits, target))

    def gradient_at(self, search: Search, rows: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient at points of some images, and the logits met on the way; both are counted.

        Args:
            search: what is known of the batch.
            rows: numbers of the images, shape (rows,).
            point: shape (rows, ...).
        """
        one = torch.ones_like(rows)
        search.gradients.index_add_(0, rows, one)
        search.queries.index_add_(0, rows, one)
        return self._gradient(search.model, point, search.target[rows])

    def _improve(self, search: Search) -> None:
        rows = torch.arange(len(search.image), device=search.image.device)
        if search.clean_logits is not None:  # others were at work before
            search.narrow(partial(self._attempt, search))
            return
        gradient, logits = self.gradient_at(search, rows, search.image)
        search.begin(logits)
        guess = search.linear_guess(logits, gradient)
        search.narrow(partial(self._attempt, search), guess)

    def _attempt(self, search: Search, rows: Tensor, probe: Tensor) -> None:
        """A whole attack on some images, each at a radius of its own.

        Args:
            search: what is known of the batch; to be offered every point that may break an image,
                and told where the attack failed: `_climb` does both.
            rows: numbers of the images, shape (rows,).
            probe: number of the radius of each, shape (rows,).
        """
        raise NotImplementedError(f"{type(self).__name__} has neither _attempt nor _improve")

    def _climb(
        self,
        search: Search,
        rows: Tensor,
        start: Tensor,
        *,
        probe: Tensor,
        lengths: Sequence[float],
    ) -> Tensor:
        """The one loop: steps along the gradient, each image until it is broken.

        Args:
            search: what is known of the batch; is offered every point, and of the images that hold
                out the one that came closest.
            rows: numbers of the images, shape (rows,).
            start: where the steps begin, inside the threat model, shape (rows, ...).
            probe: number of the radius of each image, shape (rows,).
            lengths: of the steps, as shares of the radius; at most so many are taken.

        Returns:
            Which images were broken, bool, shape (rows,).
        """
        origin, eps = search.image[rows], search.radii[probe]
        best, gain = start.clone(), torch.full((len(start),), -torch.inf, dtype=torch.float64)
        gain = gain.to(start.device)
        done = torch.zeros(len(start), dtype=torch.bool, device=start.device)
        left = torch.arange(len(start), device=start.device)
        point = start

        def look(logits: Tensor) -> Tensor:
            """Keeps what is better than before; returns which of those left go on."""
            reached = search.offer(rows[left], point, logits)
            now = self.lead(logits, search.target[rows[left]])
            better = now > gain[left]
            best[left[better]], gain[left[better]] = point[better], now[better]
            done[left[reached]] = True
            return ~reached

        for length in lengths:
            if not len(left):
                break
            gradient, logits = self.gradient_at(search, rows[left], point)
            on = look(logits)
            direction = self.threat.direction(gradient[on])
            point, left = point[on], left[on]
            moved = point + direction * per_image((length * eps[left]).to(point), point)
            point = self.threat.project(moved, origin[left], eps[left])
        if len(left):
            look(search.logits(rows[left], point))
        search.failed(rows[~done], probe[~done], best[~done], gain[~done])
        return done


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
