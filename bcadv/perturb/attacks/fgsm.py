"""The fast gradient method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bcadv.perturb.base import Sweep
from bcadv.perturb.loop import GradientAttack, step


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
        return Sweep(images, logits, torch.ones_like(target))
