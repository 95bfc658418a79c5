"""Attacks that follow the gradient of the loss with respect to the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from bcadv.errors import BcadvError, ConstraintViolated
from bcadv.perturb.base import CheckedPerturbation, Sweep
from bcadv.perturb.threat import ThreatModel

ImageLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(logits, target) -> the loss of each image, shape (batch,)."""


@dataclass(frozen=True)
class GradientAttack(CheckedPerturbation):
    """What gradient attacks share: the gradient, one step along it, and the final check.

    A step goes from a point along the direction of steepest ascent and back into the threat
    model; attacks differ in how many steps they take, of which size and from where.

    Attributes:
        threat: how far an image may be moved.
        targeted: ``False`` raises the loss of ``target``, the true class; ``True`` lowers it, so
            that ``target`` is the class the adversary wants.
        loss: loss of each image, shape (batch,), from logits and target; ``None`` is the cross
            entropy. It is summed, not averaged, so that an image's gradient does not depend on
            the batch it came in.
    """

    threat: ThreatModel
    targeted: bool = field(default=False, kw_only=True)
    loss: ImageLoss | None = field(default=None, kw_only=True)

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
        logits = model(point)  # (batch, classes)
        self._check_logits(logits, target)
        if self.loss is None:
            # In float32 the true class's share of the gradient, p - 1, is rounded to 0 once its
            # logit leads by 17, and a confident model would look robust; in float64 by 36.
            losses = functional.cross_entropy(logits.double(), target, reduction="none")
        else:
            losses = self.loss(logits, target)
        if losses.shape != target.shape:
            raise BcadvError(
                f"{self.name}: the loss has shape {tuple(losses.shape)}; give one that returns "
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

    def _check_logits(self, logits: Tensor, target: Tensor) -> None:
        if logits.ndim != 2 or len(logits) != len(target):
            raise BcadvError(
                f"{self.name}: the model returned shape {tuple(logits.shape)} for {len(target)} "
                "images; it must return logits of shape (batch, classes)."
            )
        if int(target.max()) >= logits.shape[1]:
            raise BcadvError(
                f"{self.name}: the target holds class {int(target.max())} but the model knows "
                f"{logits.shape[1]} classes, counted from 0."
            )
        if not logits.requires_grad:
            raise BcadvError(
                f"{self.name}: the model's logits carry no gradient back to the image, so a "
                "gradient attack cannot work; remove no_grad and detach from the model's forward."
            )

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
class FGSM(GradientAttack):
    """Fast gradient method: one full step of length eps along the gradient, from the image.

    In the maximum norm this is the fast gradient sign method, ``x + eps * sign(grad_x J)``
    (Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015,
    section 4); in the Euclidean norm ``x + eps * g / ||g||_2`` (Miyato, Dai and Goodfellow,
    "Adversarial training methods for semi-supervised text classification", ICLR 2017). The result
    is clipped to the box.

    The gradient does not depend on eps, so a sweep computes it once and returns the clean logits
    of the same pass.
    """

    @property
    def name(self) -> str:
        """``fgsm`` in the maximum norm, ``fgm`` in the Euclidean; targeted ones say so."""
        name = "fgsm" if self.threat.norm == math.inf else "fgm"
        return f"{name}_targeted" if self.targeted else name

    def _perturb(
        self, model: nn.Module, image: Tensor, target: Tensor, *, index: Tensor, draw: int
    ) -> Tensor:
        sweep = self._sweep(model, image, target, [self.strength], index=index, draw=draw)
        return sweep.images[0]

    def _sweep(
        self,
        model: nn.Module,
        image: Tensor,
        target: Tensor,
        strengths: Sequence[float],
        *,
        index: Tensor,
        draw: int,
    ) -> Sweep:
        gradient, logits = self._gradient(model, image, target)
        direction = self.threat.direction(gradient)
        images = [
            step(self.threat.with_eps(eps), image, image, direction, eps) for eps in strengths
        ]
        return Sweep(images, logits)


def step(
    threat: ThreatModel, point: Tensor, origin: Tensor, direction: Tensor, size: float
) -> Tensor:
    """One step of any gradient attack: along the direction, then back into the threat model.

    Args:
        threat: ball and box around the origin.
        point: where the step starts, shape (batch, channels, height, width).
        origin: the unperturbed images, same shape.
        direction: of unit norm per image, see :meth:`ThreatModel.direction`, same shape.
        size: length of the step, in the unit of the pixels.

    Returns:
        The next point, same shape.
    """
    return threat.project(torch.add(point, direction, alpha=size), origin)


@dataclass(frozen=True)
class PGD(GradientAttack):
    steps: int = field(default=20, kw_only=True)
    seed: int = 0

    @property
    def name(self) -> str:
        return "pgd"

    def _perturb(self, model, image, target, *, index, draw):
        point = image
        for _ in range(self.steps):
            gradient, _ = self._gradient(model, point, target)
            point = step(self.threat, point, image, self.threat.direction(gradient), 2.5 * self.threat.eps / self.steps)
        return point
