"""The threat model: how far an image may be moved, and in which range its pixels stay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bcadv.errors import BcadvError

GREY_LEVELS = 255.0


@dataclass(frozen=True)
class ThreatModel:
    """The set an adversary may choose from: a ball around each image, cut by the pixel box.

    The set of image ``x`` is ``{x' : ||x' - x||_norm <= eps and low <= x' <= high}``, with the
    norm taken over all pixels and channels of one image, never over a batch.

    Attributes:
        eps: radius of the ball, in the unit of the pixels (``8 / 255`` is eight grey levels).
        norm: ``math.inf`` for the largest change of any pixel, ``2`` for the Euclidean length.
        bounds: lowest and highest value a pixel may take.

    Raises:
        BcadvError: eps is negative, not finite, or in the maximum norm larger than the box is
            wide; the norm is neither 2 nor infinity, or the bounds are not finite and ordered.
    """

    eps: float
    norm: float = math.inf
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not is_number(self.eps) or not 0.0 <= self.eps < math.inf:
            raise BcadvError(
                f"ThreatModel: eps is {self.eps!r}; give a finite number >= 0 in the unit of the "
                "pixels (8 grey levels are 8/255)."
            )
        if not is_number(self.norm) or self.norm not in (2, math.inf):
            raise BcadvError(
                f"ThreatModel: norm is {self.norm!r}; give 2 or infinity (math.inf in Python, "
                ".inf in YAML)."
            )
        # A config file hands over lists and integers; equal threat models must compare equal.
        object.__setattr__(self, "eps", float(self.eps))
        object.__setattr__(self, "norm", float(self.norm))
        object.__setattr__(self, "bounds", checked_bounds(self.bounds, "ThreatModel"))
        low, high = self.bounds
        if self.norm == math.inf and self.eps > high - low:
            hint = (
                f": {self.eps:g} grey levels are {self.eps:g}/255" if (low, high) == (0, 1) else ""
            )
            raise BcadvError(
                f"ThreatModel: eps is {self.eps:g}, and pixels span [{low:g}, {high:g}] only; give "
                f"it in the unit of the pixels{hint}."
            )

    @classmethod
    def from_px(
        cls, eps_px: float, norm: float = math.inf, bounds: tuple[float, float] = (0.0, 1.0)
    ) -> ThreatModel:
        """Builds a threat model whose radius is given in grey levels of 255 (1 is 1/255)."""
        if not is_number(eps_px):
            raise BcadvError(f"ThreatModel: eps_px is {eps_px!r}; give a number of grey levels.")
        return cls(eps_px / GREY_LEVELS, norm, bounds)

    @property
    def eps_px(self) -> float:
        """The radius in grey levels of 255, rounded to six digits so that it serves as a key."""
        return round(self.eps * GREY_LEVELS, 6)

    def with_eps(self, eps: float) -> ThreatModel:
        """The same threat model with another radius."""
        return replace(self, eps=eps)

    def size(self, delta: Tensor) -> Tensor:
        """Norm of each image's perturbation.

        Args:
            delta: shape (batch, ...).

        Returns:
            Shape (batch,), in the unit of the pixels.
        """
        flat = delta.flatten(1)
        if self.norm == math.inf:
            return flat.abs().amax(1)
        size: Tensor = torch.linalg.vector_norm(flat, dim=1)
        return size

    def project(self, image: Tensor, origin: Tensor, eps: Tensor | None = None) -> Tensor:
        """Moves each image into the ball around its origin and then into the box.

        The box comes last and cannot undo the ball: it moves a pixel only towards an origin that
        lies in the box itself. Images that are inside already come back bit for bit.

        Args:
            image: shape (batch, ...).
            origin: the unperturbed images, inside the box, same shape.
            eps: radius of each image, shape (batch,); ``None`` is `eps` for all.

        Returns:
            New tensor, same shape.
        """
        radius = self.eps if eps is None else per_image(eps.to(image), image)
        if self.norm == math.inf:
            inside = image.clamp(min=origin - radius, max=origin + radius)
        else:
            delta = image - origin
            size = per_image(self.size(delta), image)
            within = size <= radius
            # Where nothing is scaled the factor is unused, but 0/0 must not make it a NaN.
            factor = radius / size.where(~within, torch.ones_like(size))
            inside = torch.where(within, image, origin + delta * factor)
        return inside.clamp(*self.bounds)

    def slack(self, image: Tensor) -> float:
        """How much `contains` forgives: what rounding alone can add to a size.

        A pixel is rounded by at most one machine epsilon of the largest pixel value. Over ``n``
        pixels that is the slack itself in the maximum norm and ``sqrt(n)`` times as much in the
        Euclidean norm; summing adds 1e-5 of eps. For 3 x 224 x 224 float32 images in [0, 1]:
        about 1.2e-7 in the maximum norm and 4.6e-5 in the Euclidean one, plus 1e-5 eps.
        """
        pixel = torch.finfo(image.dtype).eps * max(abs(end) for end in self.bounds)
        spread = 1.0 if self.norm == math.inf else math.sqrt(image[0].numel())
        return pixel * spread + 1e-5 * self.eps

    def contains(self, image: Tensor, origin: Tensor) -> Tensor:
        """Tells which images lie in the set.

        The box is exact; the ball forgives `slack`. A NaN is never inside.

        Args:
            image: shape (batch, ...).
            origin: the unperturbed images, same shape.

        Returns:
            bool, shape (batch,).
        """
        if len(image) == 0:
            return torch.ones(0, dtype=torch.bool, device=image.device)
        low, high = self.bounds
        # amin and amax: aminmax and isfinite per row are ten times slower on a CPU.
        flat = image.flatten(1)
        lowest, highest = flat.amin(1), flat.amax(1)
        in_box = (lowest >= low) & (highest <= high)
        return in_box & (self.size(image - origin) <= self.eps + self.slack(image))

    def direction(self, gradient: Tensor) -> Tensor:
        """Steepest ascent under the norm: the unit step that raises a linear loss most.

        The sign of the gradient for the maximum norm (Goodfellow et al. 2015, section 4), the
        gradient over its length for the Euclidean one (Miyato et al. 2017). A zero pixel gradient
        has sign zero; an image whose gradient vanishes has direction zero.

        Args:
            gradient: shape (batch, ...).

        Returns:
            Same shape.
        """
        if self.norm == math.inf:
            return gradient.sign()
        # A confident model's gradient can be so small that its squares underflow (1e-23 in
        # float32); dividing by the largest entry first keeps the direction.
        peak = gradient.flatten(1).abs().amax(1)
        scaled = gradient / per_image(peak.where(peak > 0, torch.ones_like(peak)), gradient)
        length = self.size(scaled)
        return scaled / per_image(length.where(length > 0, torch.ones_like(length)), gradient)

    def dual(self, gradient: Tensor) -> Tensor:
        """How much a step of length 1 along `direction` raises a linear loss, per image.

        That is the dual norm of the gradient: L1 for the maximum norm, L2 for itself.

        Args:
            gradient: shape (batch, ...).

        Returns:
            Shape (batch,).
        """
        flat = gradient.flatten(1)
        return flat.abs().sum(1) if self.norm == math.inf else flat.norm(dim=1)

    def inside(self, origin: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """A random direction for each image, so long that radius 1 is the ball's edge.

        Uniform over the cube in the maximum norm; in the Euclidean one uniform over the ball, which
        in so many dimensions is nearly all edge.

        Args:
            origin: shape (batch, ...); gives shape, type and device.
            generators: on the CPU, one per image.

        Returns:
            Same shape as `origin`.
        """
        found = torch.empty_like(origin)
        unit = torch.empty(origin.shape[1:], dtype=torch.float32)
        for row, generator in zip(found, generators, strict=True):
            if self.norm == math.inf:
                unit.uniform_(-1, 1, generator=generator)
            else:
                unit.normal_(generator=generator)
                share = torch.rand((), generator=generator) ** (1 / unit.numel())
                unit.mul_(share / unit.norm())
            row.copy_(unit)
        return found


def per_image(value: Tensor, image: Tensor) -> Tensor:
    """Shape (batch,) -> (batch, 1, ...), so that it broadcasts over each image."""
    return value.reshape(-1, *[1] * (image.ndim - 1))


def is_number(value: object) -> bool:
    """Whether a setting is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def checked_bounds(bounds: Sequence[float], owner: str) -> tuple[float, float]:
    """The bounds as a pair of floats, or a BcadvError that names their owner."""
    finite = len(bounds) == 2 and all(is_number(end) and math.isfinite(end) for end in bounds)
    if not finite or bounds[0] >= bounds[1]:
        raise BcadvError(
            f"{owner}: bounds are {bounds!r}; give two finite numbers, the lower one first, such "
            "as (0.0, 1.0)."
        )
    return float(bounds[0]), float(bounds[1])
