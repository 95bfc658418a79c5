"""Where the attempts of a gradient attack begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from bcadv.perturb.loop import GradientAttack
from bcadv.perturb.random import seeded
from bcadv.perturb.search import Search
from bcadv.perturb.threat import ThreatModel, per_image

T = TypeVar("T")

_DIVERSIFYING = 2
"""Steps of an output-diversified start, each as long as eps (Tashiro et al., section 3)."""

_LANES = 5
"""So many attempts on an image are made side by side: one image alone leaves a processor idle."""


def side_by_side(
    rows: Tensor, attempts: Sequence[T], batch: int
) -> Iterator[tuple[Tensor, Sequence[T]]]:
    """Attempts on images in groups that fit into one pass of the model.

    How many attempts on an image go together is the same in batches of every size, so that what an
    image meets does not depend on the others.

    Args:
        rows: what stands for each image, shape (rows,).
        attempts: that each image is to meet.
        batch: images in a pass, of which there may be so many anyway.
    """
    for first in range(0, len(attempts), _LANES):
        those = attempts[first : first + _LANES]
        together = max(1, batch // len(those))
        for at in range(0, len(rows), together):
            yield rows[at : at + together], those


def random_point(
    threat: ThreatModel, search: Search, rows: Tensor, eps: Tensor, *numbers: int
) -> Tensor:
    """A random point of each image's ball and the box.

    The radius is no part of the seed: an image meets the same point, scaled, at each.

    Args:
        threat: ball and box.
        search: what is known of the batch.
        rows: numbers of the images, shape (rows,).
        eps: radius of each, shape (rows,).
        numbers: what it depends on beside the draw and the image's index.
    """
    origin = search.image[rows]
    seeds = [(search.draw, index, *numbers) for index in search.index[rows].tolist()]
    moved = threat.inside(origin, [seeded(*seed) for seed in seeds])
    return threat.project(origin + moved * per_image(eps.to(origin), origin), origin, eps)


def neighbour(
    threat: ThreatModel, search: Search, rows: Tensor, eps: Tensor
) -> tuple[Tensor, Tensor]:
    """What is known from another radius: what breaks an image there, or came closest.

    Args:
        threat: ball and box.
        search: what is known of the batch.
        rows: numbers of the images, shape (rows,).
        eps: radius of each, shape (rows,).

    Returns:
        The points, brought into ball and box, shape (rows, ...), and for which images anything is
        known, bool, shape (rows,).
    """
    origin, found = search.image[rows], search.distance[rows].isfinite()
    point = torch.where(per_image(found, origin), search.found[rows], search.near[rows])
    moved = point - origin
    size = threat.size(moved).to(eps)
    known = found | (size > 0)
    # What held out nearer by goes out to the edge, the direction kept.
    scale = torch.where(known & ~found, eps / size.where(size > 0, 1.0), 1.0).clamp(min=1.0)
    return threat.project(origin + moved * per_image(scale.to(origin), origin), origin, eps), known


def output_diversified(
    attack: GradientAttack,
    search: Search,
    rows: Tensor,
    eps: Tensor,
    start: Tensor,
    direction: Callable[[Tensor], Tensor],
    *numbers: int,
) -> Tensor:
    """A point whose logits lie off in a random direction.

    Tashiro, Song and Ermon, "Diversity can be transferred: output diversification for white- and
    black-box attacks", NeurIPS 2020, equation 2: two steps up a random combination of the logits.
    Points that are random among the pixels have nearly the same logits; these have not.

    Args:
        attack: whose gradient is asked for.
        search: what is known of the batch; is offered the points on the way.
        rows: numbers of the images, shape (rows,).
        eps: radius of each, shape (rows,).
        start: inside ball and box, shape (rows, ...).
        direction: of a step for a gradient, of length 1.
        numbers: what the combination depends on beside the draw and the image's index.
    """
    origin, clean = search.image[rows], search.clean_logits
    classes = 0 if clean is None else clean.shape[1]
    seeds = [(search.draw, index, *numbers) for index in search.index[rows].tolist()]
    drawn = [torch.rand(classes, generator=seeded(*seed)) for seed in seeds]
    weight = (2 * torch.stack(drawn) - 1).to(origin)

    def combination(logits: Tensor, target: Tensor) -> Tensor:
        return (logits * weight.to(logits)).sum(1)

    point = start
    for _ in range(_DIVERSIFYING):
        gradient, logits = attack.gradient_at(search, rows, point, combination)
        search.offer(rows, point, logits)
        moved = point + direction(gradient) * per_image(eps.to(point), point)
        point = attack.threat.project(moved, origin, eps)
    return point
