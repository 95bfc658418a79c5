"""The threat model: how far an image may be moved, and in which range its pixels stay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bcadv.errors import BcadvError

GREY_LEVELS = 255.0
NORMS = (0, 1, 2, math.inf)

_HALVINGS = 40
"""Halvings of the threshold in the projection onto an L1 ball: 24 bits of a float32, and as many
more as 2e5 values add up to."""


@dataclass(frozen=True)
class ThreatModel:
    """The set an adversary may choose from: a ball around each image, cut by the pixel box.

    The set of image ``x`` is ``{x' : ||x' - x||_norm <= eps and low <= x' <= high}``, with the
    norm taken over all pixels and channels of one image, never over a batch.

    Attributes:
        eps: radius of the ball, in the unit of the pixels (``8 / 255`` is eight grey levels).
        norm: ``math.inf`` for the largest change of any value, ``2`` for the Euclidean length,
            ``1`` for the sum of all changes, ``0`` for the number of values that change at all (a
            value is one channel of one pixel; eps is then a number of them).
        bounds: lowest and highest value a pixel may take.

    Raises:
        BcadvError: eps is negative, not finite, or in the maximum norm larger than the box is
            wide; the norm is none of 0, 1, 2 and infinity, or the bounds are not finite and
            ordered.
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
        if not is_number(self.norm) or self.norm not in NORMS:
            raise BcadvError(
                f"ThreatModel: norm is {self.norm!r}; give 0, 1, 2 or infinity (math.inf in "
                "Python, .inf in YAML)."
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
        if self.norm == 0:
            return (flat != 0).sum(1).to(delta.dtype)
        size: Tensor = torch.linalg.vector_norm(flat, ord=self.norm, dim=1)
        return size

    def largest(self, image: Tensor) -> float:
        """The radius of a ball that holds the whole box, whatever image it is around.

        Args:
            image: shape (batch, ...); only its shape counts.
        """
        low, high = self.bounds
        values = float(image[0].numel())
        if self.norm == 0:
            return values
        return (high - low) * (1.0 if self.norm == math.inf else values ** (1 / self.norm))

    def project(self, image: Tensor, origin: Tensor, eps: Tensor | None = None) -> Tensor:
        """Moves each image into the ball around its origin and into the box.

        In the maximum and the Euclidean norm first into the ball and then into the box, which
        cannot undo the ball: it moves a pixel only towards an origin that lies in the box itself.
        In L1 and L0 to the nearest point (in Euclidean length) of both together, for there the
        nearest point of the ball alone lies far outside of the box (Croce and Hein, "Mind the box",
        ICML 2021). Images that are inside already come back bit for bit.

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
        elif self.norm < 2:
            boxed = image.clamp(*self.bounds)
            shrink = self._sparse if self.norm == 0 else self._soft
            limit = torch.as_tensor(radius, dtype=image.dtype, device=image.device)
            limit = limit.reshape(-1).expand(len(image))
            outside = (self.size(boxed - origin) > limit).nonzero()[:, 0]
            if not len(outside):
                return boxed
            moved = shrink(image[outside], origin[outside], limit[outside])
            return boxed.index_copy(0, outside, moved)
        else:
            delta = image - origin
            size = per_image(self.size(delta), image)
            within = size <= radius
            # Where nothing is scaled the factor is unused, but 0/0 must not make it a NaN.
            factor = radius / size.where(~within, torch.ones_like(size))
            inside = torch.where(within, image, origin + delta * factor)
        return inside.clamp(*self.bounds)

    def _soft(self, image: Tensor, origin: Tensor, eps: Tensor) -> Tensor:
        """Nearest points of L1 ball and box: the change, less a threshold, cut by the box."""
        low, high = self.bounds
        delta = image - origin
        room = torch.where(delta > 0, high - origin, origin - low)
        change = delta.abs()
        # What is left of the change falls with the threshold, so the threshold is halved down to.
        below = torch.zeros_like(eps)
        above = change.flatten(1).amax(1)
        for _ in range(_HALVINGS):
            middle = (below + above) / 2
            left = (change - per_image(middle, image)).clamp_(min=0).minimum(room)
            over = left.flatten(1).sum(1) > eps
            below, above = torch.where(over, middle, below), torch.where(over, above, middle)
        left = (change - per_image(above, image)).clamp_(min=0).minimum(room)
        return (origin + torch.copysign(left, delta)).clamp(low, high)

    def _sparse(self, image: Tensor, origin: Tensor, eps: Tensor) -> Tensor:
        """Nearest points of L0 ball and box: the values that gain most by moving."""
        boxed = image.clamp(*self.bounds)
        gain = ((image - origin).square() - (image - boxed).square()).flatten(1)
        order = gain.argsort(dim=1, descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(
            1, order, torch.arange(gain.shape[1], device=gain.device).expand_as(order)
        )
        kept = (rank < eps.floor()[:, None]).reshape(image.shape)
        return torch.where(kept, boxed, origin)

    def slack(self, image: Tensor) -> float:
        """How much `contains` forgives: what rounding alone can add to a size.

        A pixel is rounded by at most one machine epsilon of the largest pixel value. Over ``n``
        pixels that is the slack itself in the maximum norm, ``sqrt(n)`` times as much in the
        Euclidean norm and ``n`` times in L1; summing adds 1e-5 of eps. For 3 x 224 x 224 float32
        images in [0, 1]: about 1.2e-7 in the maximum norm and 4.6e-5 in the Euclidean one, plus
        1e-5 eps. Values that change are counted, so in L0 nothing is forgiven.
        """
        if self.norm == 0:
            return 0.0
        pixel = torch.finfo(image.dtype).eps * max(abs(end) for end in self.bounds)
        spread = 1.0 if self.norm == math.inf else image[0].numel() ** (1 / self.norm)
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
        gradient over its length for the Euclidean one (Miyato et al. 2017), and for L1 and L0 all
        in the one value whose gradient is largest. A zero pixel gradient has sign zero; an image
        whose gradient vanishes has direction zero.

        Args:
            gradient: shape (batch, ...).

        Returns:
            Same shape.
        """
        if self.norm == math.inf:
            return gradient.sign()
        if self.norm < 2:
            flat = gradient.flatten(1)
            place = flat.abs().max(1, keepdim=True).indices
            one = torch.zeros_like(flat).scatter_(1, place, flat.gather(1, place).sign())
            return one.reshape(gradient.shape)
        # A confident model's gradient can be so small that its squares underflow (1e-23 in
        # float32); dividing by the largest entry first keeps the direction.
        peak = gradient.flatten(1).abs().amax(1)
        scaled = gradient / per_image(peak.where(peak > 0, torch.ones_like(peak)), gradient)
        length = self.size(scaled)
        return scaled / per_image(length.where(length > 0, torch.ones_like(length)), gradient)

    def dual(self, gradient: Tensor) -> Tensor:
        """How much a step of length 1 along `direction` raises a linear loss, per image.

        That is the dual norm of the gradient: L1 for the maximum norm, L2 for itself, the maximum
        norm for L1. One value of L0 moves by as much as the box is wide.

        Args:
            gradient: shape (batch, ...).

        Returns:
            Shape (batch,).
        """
        flat = gradient.flatten(1)
        if self.norm == math.inf:
            return flat.abs().sum(1)
        if self.norm == 2:
            length: Tensor = flat.norm(dim=1)
            return length
        width = self.bounds[1] - self.bounds[0] if self.norm == 0 else 1.0
        return flat.abs().amax(1) * width

    def edge(self, uniform: Tensor) -> Tensor:
        """Directions of size 1 made of uniform random numbers, so that radius eps is the edge.

        Corners of the cube in the maximum norm, uniform over the sphere in the Euclidean one and
        over the surface of the ball in L1. In L0 there is no direction to be scaled.

        Args:
            uniform: in [0, 1), shape (batch, ...).

        Returns:
            Same shape.
        """
        if self.norm == 0:
            raise ValueError("a random direction cannot be scaled to a number of values")
        sign = torch.where(uniform < 0.5, -1.0, 1.0).to(uniform)
        if self.norm == math.inf:
            return sign
        if self.norm == 2:
            # The sphere is invariant, so the normal distribution is scaled to it.
            step = torch.special.ndtri(uniform.clamp(1e-7, 1 - 1e-7))
        else:
            step = sign * -torch.log1p(-((2 * uniform) % 1).clamp(max=1 - 1e-7))
        edge: Tensor = step / per_image(self.size(step), step)
        return edge

    def inside(self, origin: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """A random direction for each image, so long that radius 1 is the ball's edge.

        Uniform over the cube in the maximum norm; in the Euclidean norm and in L1 uniform over the
        ball, which in so many dimensions is nearly all edge. In L0 there is no direction to be
        scaled, and the norm is refused.

        Args:
            origin: shape (batch, ...); gives shape, type and device.
            generators: on the CPU, one per image.

        Returns:
            Same shape as `origin`.
        """
        if self.norm == 0:
            raise ValueError("a random direction cannot be scaled to a number of values")
        found = torch.empty_like(origin)
        unit = torch.empty(origin.shape[1:], dtype=torch.float32)
        for row, generator in zip(found, generators, strict=True):
            if self.norm == math.inf:
                unit.uniform_(-1, 1, generator=generator)
            elif self.norm == 2:
                unit.normal_(generator=generator)
                share = torch.rand((), generator=generator) ** (1 / unit.numel())
                unit.mul_(share / unit.norm())
            else:
                unit.exponential_(generator=generator)
                share = torch.rand((), generator=generator) ** (1 / unit.numel())
                unit.mul_(share / unit.sum())
                unit.mul_(torch.randint(0, 2, unit.shape, generator=generator) * 2.0 - 1.0)
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
