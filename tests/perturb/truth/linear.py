"""Linear models, whose distance to the decision boundary has a closed form in every norm.

An image ``x`` of class ``y`` is lost to class ``k`` by the smallest ``d`` with ``a . d >= m``,
where ``a = w_k - w_y`` is the slope of class k's lead and ``m`` the lead of class y at ``x``.
Without the box that distance is ``m`` over the dual norm of ``a``. With it each pixel has room
``r`` towards where it helps, and the smallest ``t = |d|`` with ``|a| . t >= m`` and
``0 <= t <= r`` is

* in L-inf ``min(r, s)``, and in L2 ``min(r, s |a|)`` (from the Lagrangian), where the gain is
  piecewise linear in the one number ``s``: sort where pixels meet the box, and solve in one piece;
* in L1 a knapsack that may be cut: the steepest pixels all the way, the last of them in part;
* in L0 the pixels that can gain most, all the way.

The set that is called wrong is the union of one half-space per other class, so with several classes
the distance is the smallest of the pairwise ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

NORMS = (0.0, 1.0, 2.0, math.inf)


class LinearModel(nn.Module):
    """Logits that are linear in the image.

    Args:
        weight: shape (classes, channels, height, width).
        bias: shape (classes,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1) @ self.weight.flatten(1).T + self.bias


@dataclass(frozen=True)
class Case:
    """A model and images that it has right.

    Attributes:
        model: images -> logits.
        image: in [0, 1], shape (n, channels, height, width).
        target: the classes that the model calls them, shape (n,).
    """

    model: LinearModel
    image: Tensor
    target: Tensor


@dataclass(frozen=True)
class Nearest:
    """The nearest points of the decision boundary.

    Attributes:
        distance: float64, shape (n,); infinite where the box holds no other class.
        point: one at that distance (the image itself where there is none), float64, shape of the
            images.
    """

    distance: Tensor
    point: Tensor


def case(
    seed: int = 0,
    n: int = 16,
    classes: int = 2,
    shape: tuple[int, int, int] = (1, 6, 6),
    *,
    dtype: torch.dtype = torch.float64,
    grey: bool = False,
    depth: float = 0.1,
    scale: float = 1.0,
) -> Case:
    """A random linear model and random images.

    Args:
        seed: of both.
        n: number of images.
        classes: number of classes.
        shape: of an image.
        dtype: of model and images.
        grey: pixels within 0.2 of 0.5, so that small distances never meet the box; else a fifth
            of them are black or white.
        depth: how far each pixel is moved towards what speaks for the image's class; the larger,
            the farther the boundary in every norm.
        scale: what the logits are multiplied by, which moves no boundary.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(classes, *shape, generator=generator, dtype=torch.float64)
    image = torch.rand(n, *shape, generator=generator, dtype=torch.float64)
    image = 0.3 + 0.4 * image if grey else (1.25 * image - 0.125).clamp(0.0, 1.0)
    # All classes are level in mid grey, or one of them would take every image.
    bias = -0.5 * weight.flatten(1).sum(1)
    own = (image.flatten(1) @ weight.flatten(1).T + bias).argmax(1)
    low, high = (0.3, 0.7) if grey else (0.0, 1.0)
    image = (image + depth * (weight[own] - weight.mean(0)).sign()).clamp(low, high)
    model = LinearModel((scale * weight).to(dtype), (scale * bias).to(dtype))
    with torch.no_grad():
        return Case(model, image.to(dtype), model(image.to(dtype)).argmax(1))


def distance(
    model: LinearModel, image: Tensor, target: Tensor, norm: float, *, box: bool = True
) -> Tensor:
    """Exact distance of each image to the nearest other class, float64, shape (n,).

    Args:
        model: linear.
        image: in [0, 1], shape (n, channels, height, width).
        target: true classes, shape (n,).
        norm: 0 (values that change, each channel for itself), 1, 2 or infinity.
        box: whether pixels have to stay in [0, 1].
    """
    return nearest(model, image, target, norm, box=box).distance


def nearest(
    model: LinearModel, image: Tensor, target: Tensor, norm: float, *, box: bool = True
) -> Nearest:
    """The nearest point of another class; arguments as of `distance`."""
    weight, bias = model.weight.detach().double().flatten(1), model.bias.detach().double()
    flat = image.detach().double().flatten(1)  # (n, pixels)
    own = weight[target]
    best, change = torch.full_like(flat[:, 0], math.inf), torch.zeros_like(flat)
    for k in range(len(weight)):
        slope = weight[k] - own
        lead = bias[target] - bias[k] - (flat * slope).sum(1)
        room = torch.where(slope > 0, 1 - flat, flat) if box else torch.full_like(flat, math.inf)
        size = _smallest(slope.abs(), lead, room, norm)
        length = _length(size, norm).where(size.isfinite().all(1), best.new_tensor(math.inf))
        closer = (length < best) & (target != k)
        best = length.where(closer, best)
        change = torch.where(closer[:, None], slope.sign() * size, change)
    return Nearest(best, (flat + change).reshape(image.shape))


def _smallest(slope: Tensor, lead: Tensor, room: Tensor, norm: float) -> Tensor:
    """The smallest changes with ``slope . change >= lead`` and ``0 <= change <= room``.

    Args:
        slope: at least 0, shape (n, pixels).
        lead: shape (n,).
        room: shape (n, pixels); may be infinite.
        norm: that is smallest.

    Returns:
        Shape (n, pixels); infinite where there is no such change.
    """
    # Where the slope is 0 an infinite room gains nothing, and 0 * inf is no number.
    whole = torch.where(slope > 0, slope * room, 0.0)
    lead = lead.clamp(min=0.0)
    if norm in (0, 1):
        size = _greedy(whole if norm == 0 else slope, slope, lead, room, whole)
    else:
        size = _together(torch.ones_like(slope) if norm == math.inf else slope, slope, lead, room)
    return torch.where((whole.sum(1) >= lead)[:, None], size, math.inf)


def _greedy(order: Tensor, slope: Tensor, lead: Tensor, room: Tensor, whole: Tensor) -> Tensor:
    """One pixel after the other, each all the way, the largest `order` first."""
    rank = order.argsort(1, descending=True)
    gain = whole.gather(1, rank)
    missing = (lead[:, None] - _before(gain)).clamp(min=0.0)
    size = torch.minimum(room.gather(1, rank), missing / slope.gather(1, rank)).nan_to_num(0.0)
    return torch.zeros_like(size).scatter(1, rank, size)


def _together(pace: Tensor, slope: Tensor, lead: Tensor, room: Tensor) -> Tensor:
    """All pixels at once, each at its own pace until it meets the box: ``min(room, s * pace)``."""
    moves = slope > 0
    full = torch.where(moves, room / pace, math.inf)  # the s at which each pixel meets the box
    rank = full.argsort(1)
    full = full.gather(1, rank)
    speed = (slope * pace).gather(1, rank)
    gain = torch.where(full < math.inf, full * speed, 0.0)
    # Piece j: the j pixels with the least room have met the box, the others still move.
    moving = speed.flip(1).cumsum(1).flip(1)
    share = ((lead[:, None] - _before(gain)) / moving).nan_to_num(math.inf)
    enough = share <= full
    enough[:, -1] = True  # what the whole box just reaches must not be lost to rounding
    piece = enough.int().argmax(1, keepdim=True)  # the first
    return torch.where(moves, torch.minimum(room, share.gather(1, piece) * pace), 0.0)


def _before(gain: Tensor) -> Tensor:
    """What all earlier columns gain together."""
    return torch.cat([torch.zeros_like(gain[:, :1]), gain[:, :-1].cumsum(1)], dim=1)


def _length(size: Tensor, norm: float) -> Tensor:
    if norm == 0:
        return (size > 0).sum(1).double()
    length: Tensor = torch.linalg.vector_norm(size, norm, dim=1)
    return length
