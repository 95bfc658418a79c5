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

    def _gradient(
        self,
        model: nn.Module,
        point: Tensor,
        target: Tensor,
        objective: ImageLoss | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Gradient of what is to grow, by default what the adversary wants, and the logits."""
        point = point.detach().requires_grad_()
        logits = self._traced(model, point, target)
        losses = (objective or self._objective)(logits, target)
        if not isinstance(losses, Tensor) or losses.shape != target.shape:
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise BcadvError(
                f"{self.name}: the loss has shape {shape}; give one that returns "
                f"the loss of each image, shape ({len(target)},) (reduction='none')."
            )
        return self._differentiated(losses, point), logits.detach()

    def _traced(self, model: nn.Module, point: Tensor, target: Tensor) -> Tensor:
        """The logits of points that require a gradient, with their graph."""
        logits = self.task.check(model(point), target, self.name)
        if not logits.requires_grad:
            raise BcadvError(
                f"{self.name}: the model's logits carry no gradient back to the image, so a "
                "gradient attack cannot work; remove no_grad and detach from the model's forward."
            )
        return logits

    def _differentiated(self, losses: Tensor, point: Tensor, *, again: bool = False) -> Tensor:
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

    def suits(self, classes: int) -> None:
        """See `AdversarialAttack.suits`."""
        super().suits(classes)
        if self.loss is None:
            self._own_objective(torch.zeros(1, classes), torch.zeros(1, dtype=torch.int64))

    def gradient_at(
        self, search: Search, rows: Tensor, point: Tensor, objective: ImageLoss | None = None
    ) -> tuple[Tensor, Tensor]:
        """Gradient at points of some images, and the logits met on the way; both are counted.

        Args:
            search: what is known of the batch.
            rows: numbers of the images, shape (rows,).
            point: shape (rows, ...).
            objective: of each image, that is to grow; ``None`` is what the adversary wants.
        """
        one = torch.ones_like(rows)
        search.gradients.index_add_(0, rows, one)
        search.queries.index_add_(0, rows, one)
        return self._gradient(search.model, point, search.target[rows], objective)

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
        climb, point = Climb(self, search, rows, probe), start
        for length in lengths:
            if not len(climb.left):
                break
            gradient, logits = self.gradient_at(search, climb.at, point)
            point, gradient = climb.keep(climb.look(point, logits), point, gradient)
            size = (length * climb.eps).to(point)
            moved = point + self.threat.direction(gradient) * per_image(size, point)
            point = self.threat.project(moved, climb.origin, climb.eps)
        return climb.finish(point)


class Climb:
    """Images that climb at a radius each, until they break: who is left, and what came closest.

    Args:
        attack: at work.
        search: what is known of the batch; is offered every point.
        rows: numbers of the images, shape (rows,).
        probe: number of the radius of each, shape (rows,).

    Attributes:
        left: which of the rows still stand at their radius, numbers, shape (left,).
        origin: the unperturbed images of those, shape (left, ...).
        eps: radius of each, float64, shape (left,).
    """

    def __init__(
        self, attack: AdversarialAttack, search: Search, rows: Tensor, probe: Tensor
    ) -> None:
        self.attack, self.search, self.rows, self.probe = attack, search, rows, probe
        self.left = torch.arange(len(rows), device=rows.device)
        self.origin, self.eps = search.image[rows], search.radii[probe]
        self._best = self.origin.clone()
        self._gain = torch.full((len(rows),), -torch.inf, dtype=torch.float64, device=rows.device)

    @property
    def at(self) -> Tensor:
        """Numbers of the images left, in the batch."""
        return self.rows[self.left]

    def look(self, point: Tensor, logits: Tensor, *, inside: bool = True) -> Tensor:
        """Offers points to the search and remembers what came closest.

        Args:
            point: in the box, shape (left, ...).
            logits: the model's answers to them.
            inside: whether they lie within the radius; those farther out count elsewhere alone.

        Returns:
            Which of the images left go on, bool, shape (left,).
        """
        self.search.offer(self.at, point, logits)
        if inside:
            now = self.attack.lead(logits, self.search.target[self.at])
            better = now > self._gain[self.left]
            ahead = self.left[better]
            self._best[ahead], self._gain[ahead] = point[better], now[better]
        return self.search.high[self.at] > self.probe[self.left]

    def keep(self, on: Tensor, *others: Tensor) -> list[Tensor]:
        """Lets the images go that are broken.

        Args:
            on: see `look`.
            others: tensors that hold a row for each image left.

        Returns:
            What the others hold of the images that go on.
        """
        if bool(on.all()):
            return list(others)
        self.left, self.origin, self.eps = self.left[on], self.origin[on], self.eps[on]
        return [other[on] for other in others]

    def finish(self, point: Tensor) -> Tensor:
        """Looks at the last points, and tells the search how close the images left came.

        Args:
            point: shape (left, ...).

        Returns:
            Which of all images were broken, bool, shape (rows,).
        """
        if len(self.left):
            self.keep(self.look(point, self.search.logits(self.at, point)))
        self.search.failed(
            self.at, self.probe[self.left], self._best[self.left], self._gain[self.left]
        )
        done = torch.ones(len(self.rows), dtype=torch.bool, device=self.rows.device)
        done[self.left] = False
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
