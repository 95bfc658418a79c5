"""Gaussian noise that belongs to the image, not to the batch it happens to travel in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError, ConstraintViolated
from bcadv.perturb.base import CheckedPerturbation, Sweep
from bcadv.perturb.random import mixed
from bcadv.perturb.threat import checked_bounds, is_number


@dataclass(frozen=True)
class GaussianNoise(CheckedPerturbation):
    """Adds independent Gaussian noise to every pixel and channel: ``x + sigma * n``.

    Unclipped it is the defence of Li and Liu (Bioengineering 2023, 10(8):973), who add noise to
    images scaled to [0, 1] and mention no clipping. **The result then leaves the box by design**;
    the final check asks for finite pixels only. Clipped, it stays in the box, and near black and
    white the noise is no longer Gaussian.

    The noise of an image depends on (seed, draw, index) alone: not on its neighbours, the order,
    the workers, the device or the global random state. It is drawn in float32 on the CPU, whatever
    the images are, so that every device sees the same noise.

    Attributes:
        sigma: standard deviation, in the unit of the pixels.
        clip: whether the result is clipped to the box.
        seed: names the whole family of noise.
        bounds: the box of the input and, if clipped, of the result.

    Raises:
        BcadvError: sigma is negative or not finite, the seed is not a whole number, or the
            bounds are not finite and ordered.
    """

    sigma: float
    clip: bool = field(default=False, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    bounds: tuple[float, float] = field(default=(0.0, 1.0), kw_only=True)

    def __post_init__(self) -> None:
        if not is_number(self.sigma) or not 0.0 <= self.sigma < math.inf:
            raise BcadvError(
                f"GaussianNoise: sigma is {self.sigma!r}; give a finite number >= 0 in the unit "
                "of the pixels."
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise BcadvError(f"GaussianNoise: seed is {self.seed!r}; give a whole number.")
        object.__setattr__(self, "sigma", float(self.sigma))
        object.__setattr__(self, "bounds", checked_bounds(self.bounds, "GaussianNoise"))

    @property
    def name(self) -> str:
        """``gaussian`` or ``gaussian_clipped``."""
        return "gaussian_clipped" if self.clip else "gaussian"

    @property
    def strength(self) -> float:
        """The standard deviation sigma."""
        return self.sigma

    def with_strength(self, strength: float) -> Self:
        """The same noise, scaled to another sigma."""
        return replace(self, sigma=strength)

    def _perturb(
        self, model: nn.Module, image: Tensor, target: Tensor, *, index: Tensor, draw: int
    ) -> Tensor:
        sweep = self._sweep(model, image, target, [self.sigma], index=index, draw=draw)
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
        results = [torch.empty_like(image) for _ in strengths]
        generator = torch.Generator()
        # One image's noise at a time serves every strength and stays in the CPU's cache; noise for
        # the whole batch would cost another allocation of its size.
        unit = torch.empty(image.shape[1:], dtype=torch.float32)
        for row, number in enumerate(index.tolist()):
            unit.normal_(generator=generator.manual_seed(mixed(self.seed, draw, number)))
            noise = unit.to(image)
            for result, sigma in zip(results, strengths, strict=True):
                torch.add(image[row], noise, alpha=sigma, out=result[row])
        return Sweep([each.clamp_(*self.bounds) for each in results] if self.clip else results)

    def _verify(self, result: Tensor, origin: Tensor, index: Tensor) -> None:
        lowest, highest = result.flatten(1).amin(1), result.flatten(1).amax(1)
        low, high = self.bounds if self.clip else (-math.inf, math.inf)
        allowed = (lowest >= low) & (highest <= high) & lowest.isfinite() & highest.isfinite()
        if not bool(allowed.all()):
            worst = int((~allowed).nonzero()[0])
            raise ConstraintViolated(
                f"{self.name} with sigma {self.sigma:g} left image {int(index[worst])} with "
                f"pixels in [{lowest[worst].item():.8g}, {highest[worst].item():.8g}], allowed "
                f"is [{low:g}, {high:g}]."
            )
