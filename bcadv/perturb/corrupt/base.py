"""What all corruptions share: severities, the seed, and one image at a time."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError, ConstraintViolated
from bcadv.perturb.base import CheckedPerturbation
from bcadv.perturb.corrupt.catalog import CORRUPTIONS, SEVERITIES
from bcadv.perturb.random import seeded

_REFERENCE_SIDE = 224
"""Side of the images that the published severities are for, in pixels."""


@dataclass(frozen=True)
class Corruption(CheckedPerturbation):
    """A corruption at a severity from 1 to 5; severity 0 leaves images as they are.

    Values of the severities are those of Hendrycks & Dietterich 2019 ("Benchmarking neural network
    robustness to common corruptions and perturbations", ICLR; their program) unless a class says
    otherwise. They are for images of 224 pixels: lengths are scaled by the shorter side over 224.
    Results are clamped to [0, 1] and, unlike theirs, not rounded to 256 levels.

    The result of an image depends on (seed, draw, index) alone, at every severity by the same
    random numbers, which are drawn on the CPU. Images are treated one by one.

    Attributes:
        severity: a whole number from 0 to 5.
        seed: of what is random.

    Raises:
        BcadvError: the severity is none, or the seed no whole number.
    """

    key: ClassVar[str]
    """Name of its row in the catalog."""
    channels: ClassVar[tuple[int, ...]] = (1, 3)
    """Numbers of colour channels that it can be used on."""

    severity: float
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        known = isinstance(self.severity, int | float) and not isinstance(self.severity, bool)
        if not known or self.severity not in (0, *SEVERITIES):
            raise BcadvError(
                f"{self.name}: severity is {self.severity!r}; give a whole number from 1 to "
                f"{SEVERITIES[-1]}, or 0 for no change."
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise BcadvError(f"{self.name}: seed is {self.seed!r}; give a whole number.")
        object.__setattr__(self, "severity", float(self.severity))

    @property
    def name(self) -> str:
        """Of its row in the catalog."""
        return self.key

    @property
    def strength(self) -> float:
        """The severity."""
        return self.severity

    @property
    def bounds(self) -> tuple[float, float]:
        """[0, 1]: what the published values are for."""
        return 0.0, 1.0

    def with_strength(self, strength: float) -> Self:
        """The same corruption at another severity."""
        return replace(self, severity=strength)

    def of_severity(self, *values: float) -> float:
        """The one of five values that belongs to the severity."""
        return values[int(self.severity) - 1]

    @abstractmethod
    def _corrupted(self, image: Tensor, random: torch.Generator) -> Tensor:
        """Corrupts one image at a severity above 0; values beyond [0, 1] are clamped later.

        Args:
            image: in [0, 1], shape (channels, height, width).
            random: of this image, on the CPU.
        """

    def _perturb(
        self, model: nn.Module, image: Tensor, target: Tensor, *, index: Tensor, draw: int
    ) -> Tensor:
        count = image.shape[1]
        if count not in self.channels:
            wanted = " or ".join(map(str, self.channels))
            colour = ": it changes colours" if self.channels == (3,) else ""
            raise BcadvError(
                f"{self.name}: the images have {count} channel{'s' if count > 1 else ''}, and "
                f"{CORRUPTIONS[self.key].label.lower()} is for images with {wanted}{colour}. Leave "
                f"{self.name} out of corruptions."
            )
        if self.severity == 0:
            return image.clone()
        made = torch.empty_like(image)
        for row, number in enumerate(index.tolist()):
            made[row] = self._corrupted(image[row], seeded(self.seed, draw, number))
        return made.clamp_(*self.bounds)

    def _verify(self, result: Tensor, origin: Tensor, index: Tensor) -> None:
        low, high = self.bounds
        flat = result.flatten(1)
        lowest, highest = flat.amin(1), flat.amax(1)
        allowed = (lowest >= low) & (highest <= high)  # what is no number is neither
        if not bool(allowed.all()):
            worst = int((~allowed).nonzero()[0])
            raise ConstraintViolated(
                f"{self.name} of severity {self.severity:g} left image {int(index[worst])} with "
                f"pixels in [{lowest[worst].item():.8g}, {highest[worst].item():.8g}], allowed "
                f"is [{low:g}, {high:g}]."
            )


def scale_of(image: Tensor) -> float:
    """By how much published lengths are to be multiplied for an image, (..., height, width)."""
    return min(image.shape[-2:]) / _REFERENCE_SIDE
