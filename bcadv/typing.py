"""Shared types. Imports torch only, so that every other package may import it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from torch import Tensor, nn

Logits: TypeAlias = Tensor
"""Raw class scores, shape (batch, classes), before any softmax."""


@dataclass
class Batch:
    """A batch of images on its way through the model.

    Attributes:
        image: RGB in [0, 1], float32, shape (batch, 3, height, width).
        target: class indices, int64, shape (batch,).
        index: the image's number in the data set, int64, shape (batch,). It names the image in
            every result file and seeds whatever is random about it.
    """

    image: Tensor
    target: Tensor
    index: Tensor


@runtime_checkable
class Perturbation(Protocol):
    """Anything that changes an image: noise and attacks are the same kind of thing."""

    def __call__(
        self,
        model: nn.Module,
        image: Tensor,
        target: Tensor,
        *,
        index: Tensor | None = None,
        draw: int = 0,
    ) -> Tensor:
        """Perturbs a batch.

        Args:
            model: maps images to logits.
            image: RGB in [0, 1], shape (batch, 3, height, width).
            target: class indices, shape (batch,).
            index: number of each image; what is random depends on (seed, draw, index) alone.
                ``None`` numbers the images of the batch from zero.
            draw: number of the draw, for instance the epoch in training.

        Returns:
            The perturbed images, same shape, dtype and device.
        """
        ...
