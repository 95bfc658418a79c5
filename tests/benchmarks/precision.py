"""Attacks that look in bfloat16, against the same in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bcadv.hardware import has_native_bf16
from bcadv.models.classifier import Classifier
from bcadv.perturb import APGD, LowPrecision, ThreatModel
from bcadv.typing import Batch
from tests.benchmarks.fgsm import painted
from tests.benchmarks.measure import Options, Row, alternate, faster, robust
from tests.benchmarks.pgd import STRENGTHS_PX, trained

SIDE, IMAGES = 112, 64
STEPS = {"loop": 50, "curve": 20}
RADII = {"loop": [1 / 32 / 255], "curve": [px / 255 for px in STRENGTHS_PX]}
"""Row -> the radii: one at which nearly all images stand, so that every pass holds all of them, and
a curve, whose passes hold fewer and fewer."""
TARGET = ">= 2x"


def right(model: Classifier, side: int, n: int) -> Batch:
    """Images that the model calls rightly."""
    batch = painted(3 * n, side)
    with torch.no_grad():
        parts = [model(image) for image in batch.image.split(n)]  # type: ignore[no-untyped-call]
    some = (torch.cat(parts).argmax(1) == batch.target).nonzero()[:n, 0]
    return Batch(batch.image[some], batch.target[some], batch.index[some])


def _standing(low: bool, model: Classifier, batch: Batch, radii: list[float], steps: int) -> Tensor:
    sees = LowPrecision(model) if low else model
    attack = APGD(ThreatModel(0.0), steps=steps)
    images = attack.sweep(sees, batch.image, batch.target, radii, index=batch.index).images
    with torch.no_grad():
        right = [model(image).argmax(1) == batch.target for image in images]
    return torch.stack(right).double().mean(1)


def run(options: Options) -> Iterator[Row]:
    """Time, and what is left at each strength."""
    if not has_native_bf16(gpu=False):
        yield Row("attacks in bfloat16", "-", "-", "no bfloat16 in this hardware", TARGET)
        return
    side = 32 if options.small else SIDE
    options.tell("training a network" if options.checkpoint is None else "loading a network")
    model = trained(options.checkpoint, options.small, side)
    batch = right(model, side, 4 if options.small else IMAGES)
    for row, radii in RADII.items():
        if options.wants(row):
            yield from _rows(model, batch, radii, STEPS[row], options)


def _rows(
    model: Classifier, batch: Batch, radii: list[float], steps: int, options: Options
) -> Iterator[Row]:
    def sides(taken: int) -> dict[str, Callable[[], Any]]:
        return {
            "bfloat16": partial(_standing, True, model, batch, radii, taken),
            "float32": partial(_standing, False, model, batch, radii, taken),
        }

    timed = alternate(sides(steps), options.rounds, warm_up=sides(2), tell=options.tell)
    low, full = timed.values()
    n, side = len(batch.image), batch.image.shape[-1]
    yield faster(
        f"APGD-{steps} at {len(radii)} strength(s), {n} images of {side} x {side}",
        low,
        full,
        TARGET,
    )
    for eps, a, b in zip(radii, low.result.tolist(), full.result.tolist(), strict=True):
        yield robust(f"{eps * 255:g}/255", a, b, "-")
