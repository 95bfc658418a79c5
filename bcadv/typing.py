"""Shared types. Imports torch only, so that every other package may import it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

Logits: TypeAlias = Tensor
"""Raw class scores, shape (batch, classes), before any softmax."""


@dataclass
class Batch:
    """A batch of images on its way through the model; unpacks as ``image, target = batch``.

    Attributes:
        pixels: the images as they travel: values over the full range of uint8 or uint16, or what
            `image` says.
        target: class indices, int64, shape (batch,).
        index: the image's number in the data set, int64, shape (batch,). It names the image in
            every result file and seeds whatever is random about it.
    """

    pixels: Tensor
    target: Tensor
    index: Tensor

    @property
    def image(self) -> Tensor:
        """RGB in [0, 1], float32, shape (batch, 3, height, width)."""
        # Scaled at first use, which is on the device: a byte or two per value travel, not four.
        if self.pixels.dtype == torch.uint8:
            self.pixels = self.pixels.float().div_(255)
        elif self.pixels.dtype == torch.uint16:
            self.pixels = self.pixels.float().div_(65535)
        return self.pixels

    @image.setter
    def image(self, image: Tensor) -> None:
        self.pixels = image

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.image, self.target))


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
