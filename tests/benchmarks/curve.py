"""One run of an attack of minimal norm, in place of PGD at each of eight radii."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bcadv.models.classifier import Classifier
from bcadv.perturb import FMN, PGD, ThreatModel
from bcadv.typing import Batch
from tests.benchmarks.fgsm import painted
from tests.benchmarks.measure import Options, Row, alternate
from tests.benchmarks.pgd import STEPS, STRENGTHS_PX, trained, with_torchattacks

IMAGES, SIDE, WARM_UP = 24, 64, 1
WALK = 30
"""Steps of FMN at most."""

RADII = [px / 255 for px in STRENGTHS_PX]


def _standing(model: Classifier, batch: Batch, images: list[Tensor]) -> Tensor:
    with torch.no_grad():
        right = [model(image).argmax(1) == batch.target for image in images]
    return torch.stack(right).double().mean(1)


def _by_fmn(model: Classifier, batch: Batch) -> Tensor:
    attack = FMN(ThreatModel(0.0), steps=WALK)
    return _standing(model, batch, attack.sweep(model, batch.image, batch.target, RADII).images)


def _by_pgd(model: Classifier, batch: Batch) -> Tensor:
    attacks = [PGD(ThreatModel(eps), steps=STEPS) for eps in RADII]
    return _standing(model, batch, [each(model, batch.image, batch.target) for each in attacks])


def _by_torchattacks(model: Classifier, batch: Batch) -> Tensor:
    # The network as a user of that library has it: torch's own layout, no wrapper around it.
    net = copy.deepcopy(model.net).to(memory_format=torch.contiguous_format).eval()
    found = torch.from_numpy(with_torchattacks(net, batch))
    return (found == batch.target).double().mean(1)


OTHERS = {"pgd": ("ours", _by_pgd), "torchattacks": ("torchattacks", _by_torchattacks)}
"""Row -> whose PGD it is, and what that leaves standing."""


def run(options: Options) -> Iterator[Row]:
    """Area under both curves, and their time."""
    side = 32 if options.small else SIDE
    batch = painted(IMAGES, side)
    options.tell("training a network" if options.checkpoint is None else "loading a network")
    model = trained(options.checkpoint, options.small, side)

    few = Batch(batch.image[:WARM_UP], batch.target[:WARM_UP], batch.index[:WARM_UP])
    for row, (whose, pgd) in OTHERS.items():
        if options.wants(row):
            yield from _rows(options, model, batch, few, whose, pgd)


def _rows(
    options: Options,
    model: Classifier,
    batch: Batch,
    few: Batch,
    whose: str,
    pgd: Callable[[Classifier, Batch], Tensor],
) -> Iterator[Row]:
    def sides(batch: Batch) -> dict[str, Callable[[], Any]]:
        return {"fmn": partial(_by_fmn, model, batch), "pgd": partial(pgd, model, batch)}

    side = batch.image.shape[-1]
    timed = alternate(sides(batch), options.rounds, warm_up=sides(few), tell=options.tell)
    mine, other = timed.values()
    what = f"{IMAGES} images of {side} x {side}"
    yield Row(
        f"FMN-{WALK} once against PGD-{STEPS} at {len(RADII)} radii ({whose}), {what}",
        str(mine),
        str(other),
        f"{mine.median / other.median:.2f}x the time",
        "<= 0.25x",
    )
    areas = [torch.trapezoid(side.result, torch.tensor(RADII)).item() for side in (mine, other)]
    yield Row(
        f"area under the curve, beside PGD ({whose})",
        f"{areas[0]:.5f}",
        f"{areas[1]:.5f}",
        f"{100 * (areas[0] / areas[1] - 1):+.1f} %",
        "<= +2 %",
    )
