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
from tests.benchmarks.measure import Options, Row, alternate, robust
from tests.benchmarks.pgd import STRENGTHS_PX, trained

SIDE, IMAGES, STEPS = 112, 64, 20
RADII = [px / 255 for px in STRENGTHS_PX]
TARGET = ">= 2x"


def _standing(low: bool, model: Classifier, batch: Batch, steps: int) -> Tensor:
    sees = LowPrecision(model) if low else model
    attack = APGD(ThreatModel(0.0), steps=steps)
    images = attack.sweep(sees, batch.image, batch.target, RADII, index=batch.index).images
    with torch.no_grad():
        right = [model(image).argmax(1) == batch.target for image in images]
    return torch.stack(right).double().mean(1)


def run(options: Options) -> Iterator[Row]:
    """Time of a curve, and what is left at each strength; the only row is "bf16"."""
    side = 32 if options.small else SIDE
    batch = painted(4 if options.small else IMAGES, side)
    what = f"APGD-{STEPS} at {len(RADII)} strengths, {len(batch.image)} images of {side} x {side}"
    if not has_native_bf16(gpu=False):
        yield Row(what, "-", "-", "no bfloat16 in this hardware", TARGET)
        return
    options.tell("training a network" if options.checkpoint is None else "loading a network")
    model = trained(options.checkpoint, options.small, side)

    def sides(steps: int) -> dict[str, Callable[[], Any]]:
        return {
            "bfloat16": partial(_standing, True, model, batch, steps),
            "float32": partial(_standing, False, model, batch, steps),
        }

    timed = alternate(sides(STEPS), options.rounds, warm_up=sides(2), tell=options.tell)
    low, full = timed.values()
    yield Row(what, str(low), str(full), f"{full.median / low.median:.2f}x faster", TARGET)
    for px, a, b in zip(STRENGTHS_PX, low.result.tolist(), full.result.tolist(), strict=True):
        yield robust(f"{px:g}/255", a, b, "-")
