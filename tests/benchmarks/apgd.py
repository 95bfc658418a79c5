"""A curve of Auto-PGD over eight strengths, against adv-lib doing the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import nn

from bcadv.models.classifier import Classifier
from bcadv.perturb import APGD, ThreatModel
from bcadv.typing import Batch
from tests.benchmarks.fgsm import Predictions, painted
from tests.benchmarks.measure import Options, Row, Timed, alternate, faster, robust
from tests.benchmarks.pgd import IMAGES, SIDE, STRENGTHS_PX, WARM_UP, classes, trained

STEPS = 100
TARGET = ">= 2x"
MISSING = (
    "adv-lib is not installed: pip install --no-deps adv-lib, with an empty visdom.py beside it"
)
"""Its dependency visdom, which the attacks do not use, does not build everywhere."""


def ours(model: Classifier, batch: Batch) -> tuple[Predictions, float]:
    """One sweep, then the predictions; and the gradients an image took."""
    radii = [px / 255 for px in STRENGTHS_PX]
    sweep = APGD(ThreatModel(0.0), steps=STEPS).sweep(
        model, batch.image, batch.target, radii, index=batch.index
    )
    assert sweep.gradients is not None
    gradients = sweep.gradients.double().mean().item()
    return np.stack([classes(model, images) for images in sweep.images]), gradients


def theirs(net: nn.Module, batch: Batch) -> Predictions:
    """One attack per strength, on cross entropy: its own loss needs three classes."""
    apgd: Any = import_module("adv_lib.attacks").apgd
    torch.manual_seed(0)
    found = []
    for px in STRENGTHS_PX:
        settings = {"eps": px / 255, "norm": float("inf"), "n_iter": STEPS, "loss_function": "ce"}
        found.append(classes(net, apgd(net, batch.image, batch.target, **settings)))
    return np.stack(found)


def run(options: Options) -> Iterator[Row]:
    """Speed against adv-lib, and the robust accuracies side by side."""
    what = f"APGD-{STEPS} at {len(STRENGTHS_PX)} strengths, against adv-lib"
    if find_spec("adv_lib") is None:
        yield Row(what, "-", MISSING, "not measured", TARGET)
        return
    side = 32 if options.small else SIDE
    batch = painted(IMAGES, side)
    options.tell("training a network" if options.checkpoint is None else "loading a network")
    model = trained(options.checkpoint, options.small, side)
    net = copy.deepcopy(model.net).to(memory_format=torch.contiguous_format).eval()
    few = Batch(batch.image[:WARM_UP], batch.target[:WARM_UP], batch.index[:WARM_UP])
    sides: list[dict[str, Callable[[], Any]]] = [
        {"ours": partial(ours, model, part), "adv-lib": partial(theirs, net, part)}
        for part in (batch, few)
    ]
    timed = alternate(sides[0], options.rounds, warm_up=sides[1], tell=options.tell)
    yield from _rows(what, timed["ours"], timed["adv-lib"], batch)


def _rows(what: str, mine: Timed, other: Timed, batch: Batch) -> Iterator[Row]:
    predictions, gradients = mine.result
    target = batch.target.numpy()
    side = batch.image.shape[-1]
    yield faster(f"{what}, {len(target)} images of {side} x {side}", mine, other, TARGET)
    left, reference = (predictions == target).mean(1), (other.result == target).mean(1)
    for px, a, b in zip(STRENGTHS_PX, left, reference, strict=True):
        yield robust(f"{px:g}/255, against adv-lib", a, b)
    gradients_there = f"{len(STRENGTHS_PX) * (STEPS + 1)}"
    yield Row("gradients an image, against adv-lib", f"{gradients:.1f}", gradients_there, "-")
