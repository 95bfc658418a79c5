"""What attacks share that look for the nearest adversarial image, whatever the radius."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from bcadv.perturb.attack import AdversarialAttack
from bcadv.perturb.loop import GradientAttack
from bcadv.perturb.search import Search


@dataclass(frozen=True)
class Nearest:
    """The nearest adversarial image that was found of each of a batch.

    Attributes:
        image: shape (batch, ...); where none was found, what came closest.
        distance: from the original in the norm of the threat, float64, shape (batch,): 0 where the
            original is wrong already, inf where nothing was found.
        gradients: backward passes of each image, int64, shape (batch,).
        queries: forward passes of each image, those before a backward pass included, same shape.
    """

    image: Tensor
    distance: Tensor
    gradients: Tensor
    queries: Tensor


@dataclass(frozen=True)
class NearestAttack(AdversarialAttack):
    """An attack that looks for the nearest adversarial image.

    One run serves every radius: an image is broken at each that its distance does not exceed. The
    radius of the threat model plays no part in the run.
    """

    def _improve(self, search: Search) -> None:
        if search.clean_logits is None:
            search.answer_clean()
        rows = search.standing
        if len(rows):
            self._approach(search, rows)
        # At smaller radii than that of what was found, it is what came closest, cut to the ball.
        rows = (search.distance.isfinite() & (search.high > 0)).nonzero()[:, 0]
        number = search.high[rows] - 1
        point = self.threat.project(search.found[rows], search.image[rows], search.radii[number])
        search.failed(rows, number, point, torch.full_like(search.distance[rows], -torch.inf))

    @abstractmethod
    def _approach(self, search: Search, rows: Tensor) -> None:
        """Looks for the nearest adversarial image of some images, none of which is wrong already.

        Args:
            search: what is known of the batch. It is offered every point that may be adversarial,
                brought into the box, and keeps the nearest; `Search.distance` and `Search.found`
                hold it, also that of attacks that ran before.
            rows: numbers of the images, shape (rows,).
        """

    @final
    def nearest(
        self,
        model: nn.Module,
        image: Tensor,
        target: Tensor,
        *,
        index: Tensor | None = None,
        draw: int = 0,
    ) -> Nearest:
        """Looks for the nearest adversarial image of each of a batch.

        Args:
            model: maps images to logits, shape (batch, classes).
            image: inside the box, float32 or float64, shape (batch, channels, height, width).
            target: class indices, int64, shape (batch,).
            index: number of each image, int64, shape (batch,); ``None`` counts from zero.
            draw: number of the draw; what is random depends on (seed, draw, index) alone.

        Raises:
            BcadvError: the input is not as described.
        """
        far = replace(self.threat, eps=self.threat.largest(image) if len(image) else 0.0)
        sweep = replace(self, threat=far).sweep(
            model, image, target, [far.eps], index=index, draw=draw
        )
        none = image.new_zeros(len(image))
        return Nearest(
            sweep.images[0],
            none.double() if sweep.distance is None else sweep.distance,
            none.long() if sweep.gradients is None else sweep.gradients,
            none.long() if sweep.queries is None else sweep.queries,
        )


@dataclass(frozen=True)
class MinimalNorm(NearestAttack, GradientAttack):
    """One that follows gradients."""
