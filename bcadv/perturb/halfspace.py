"""The smallest change of an image that a linear model needs, with its pixels in the box."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bcadv.perturb.threat import ThreatModel

_ROUNDS = 64
"""At most so many corrections of the one unknown; nearly all images need fewer than ten."""


def smallest_change(threat: ThreatModel, image: Tensor, slope: Tensor, need: Tensor) -> Tensor:
    """The smallest change within the box whose product with a slope reaches what is needed.

    That is the projection of an image onto a half-space cut by the box, in the norm of the threat:
    the smallest ``|d|`` with ``slope . d >= need`` and ``low <= image + d <= high``. Each value has
    room ``r`` towards where it helps. In the maximum norm the change is ``min(r, s)``, in the
    Euclidean norm ``min(r, s |slope|)``, where the gain is concave and piecewise linear in the one
    number ``s``: Newton's method from 0 never overshoots and ends in finitely many steps. In L1
    the values with the steepest slope go all the way, the last of them in part; in L0 those that
    can gain most do.

    Args:
        threat: its norm and its box; its radius plays no part.
        image: inside the box, shape (batch, ...).
        slope: same shape.
        need: shape (batch,); where it is 0 or less nothing changes.

    Returns:
        The change, same shape; all the room there is where even that does not reach what is needed.
    """
    low, high = threat.bounds
    flat, steep = image.flatten(1), slope.flatten(1)
    room = torch.where(steep > 0, high - flat, flat - low)
    pull = steep.abs()
    need = need.double().clamp(min=0)
    if threat.norm < 2:
        size = _in_turn(pull, room, need, whole=threat.norm == 0)
    else:
        size = _together(pull, room, need, alike=threat.norm == math.inf)
    return (size * steep.sign()).reshape(image.shape)


def _together(pull: Tensor, room: Tensor, need: Tensor, *, alike: bool) -> Tensor:
    """All values at once, each at its pace, until it has no room left."""
    share = torch.zeros_like(need)
    pace = (pull > 0).to(pull) if alike else pull
    size = torch.zeros_like(pull)
    left = torch.arange(len(pull), device=pull.device)
    for _ in range(_ROUNDS):
        gain = (pull[left] * size[left]).sum(1, dtype=torch.float64)
        moving = (size[left] < room[left]) & (pull[left] > 0)
        speed = (pull[left] * pace[left] * moving).sum(1, dtype=torch.float64)
        missing = need[left] - gain
        on = (missing > 1e-7 * need[left]) & (speed > 0)
        left = left[on]
        if not len(left):
            break
        share[left] += missing[on] / speed[on]
        size[left] = torch.minimum(room[left], share[left, None].to(pull) * pace[left])
    return size


def _in_turn(pull: Tensor, room: Tensor, need: Tensor, *, whole: bool) -> Tensor:
    """One value after the other, as far as it has room."""
    order = (pull * room if whole else pull).argsort(dim=1, descending=True, stable=True)
    gain = (pull * room).gather(1, order).double()
    before = gain.cumsum(1) - gain
    missing = need[:, None] - before
    room = room.gather(1, order)
    if whole:
        size = torch.where(missing > 0, room, 0.0)
    else:
        part = (missing / pull.gather(1, order).double()).nan_to_num(0.0, 0.0, 0.0)
        size = torch.minimum(room, part.clamp(min=0).to(room))
    return torch.zeros_like(size).scatter(1, order, size)


def product(one: Tensor, other: Tensor) -> Tensor:
    """Scalar product of each image of two batches, float64, shape (batch,)."""
    return (one * other).flatten(1).sum(1, dtype=torch.float64)


def moved(threat: ThreatModel, image: Tensor, change: Tensor) -> Tensor:
    """The image after a change, brought back into the box where rounding left it."""
    return (image + change).clamp(*threat.bounds)
