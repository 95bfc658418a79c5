"""The fast gradient method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bcadv.perturb.base import Sweep
from bcadv.perturb.loop import GradientAttack, step
from bcadv.perturb.search import Search


@dataclass(frozen=True)
class FGSM(GradientAttack):
    """Fast gradient method: one full step of length eps along the gradient, from the image.

    In the maximum norm this is the fast gradient sign method, ``x + eps * sign(grad_x J)``
    (Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015,
    section 4); in the Euclidean norm ``x + eps * g / ||g||_2`` (Miyato, Dai and Goodfellow,
    "Adversarial training methods for semi-supervised text classification", ICLR 2017). The result
    is clipped to the box.

    The gradient does not depend on eps, so a sweep computes it once and returns the clean logits
    of the same pass; each image equals, bit for bit, that of a call at its strength alone.
    """

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "fgsm"

    def _own_objective(self, logits: Tensor, target: Tensor) -> Tensor:
        if self.aim != "any":
            return super()._own_objective(logits, target)
        loss = self.task.loss(logits, target)
        return -loss if self.targeted else loss

    def _improve(self, search: Search) -> None:
        """In an ensemble: the step at each radius, from the smallest up, while an image stands."""
        rows = search.standing
        gradient, logits = self.gradient_at(search, rows, search.image[rows])
        if search.clean_logits is None:
            search.begin(logits)
        direction = self.threat.direction(gradient)
        for number, eps in enumerate(search.radii.tolist()):
            left = search.high[rows] > number
            origin = search.image[rows[left]]
            point = step(self.threat.with_eps(eps), origin, origin, direction[left], eps)
            search.offer(rows[left], point, search.logits(rows[left], point))

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
        # What the method is known for is the step itself, broken or not, at each radius its own.
        gradient, logits = self._gradient(model, image, target)
        direction = self.threat.direction(gradient)
        images = [
            step(self.threat.with_eps(eps), image, image, direction, eps) for eps in strengths
        ]
        one = torch.ones_like(target)
        return Sweep(images, logits, gradients=one, queries=one)
