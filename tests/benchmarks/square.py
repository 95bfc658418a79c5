"""Square with 1,000 queries, against auto-attack's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from bcadv.models.classifier import Classifier
from bcadv.perturb import Square, ThreatModel
from bcadv.typing import Batch
from tests.benchmarks.fgsm import painted
from tests.benchmarks.measure import Options, Row, alternate, faster, robust
from tests.benchmarks.pgd import trained
from tests.benchmarks.worst import MISSING

SIDE, IMAGES, QUERIES, PX = 64, 8, 1000, 8.0
TARGET = ">= 1.5x"


def _standing(model: nn.Module, image: Tensor, batch: Batch) -> Tensor:
    with torch.no_grad():
        right: Tensor = model(image).argmax(1) == batch.target
    return right


def ours(model: Classifier, batch: Batch, queries: int) -> Tensor:
    """Which images hold out, bool, shape (n,)."""
    attack = Square(ThreatModel(PX / 255), queries=queries)
    return _standing(model, attack(model, batch.image, batch.target, index=batch.index), batch)


def theirs(net: nn.Module, batch: Batch, queries: int) -> Tensor:
    """The same of auto-attack; images that are wrong when clean are not attacked there either."""
    module: Any = import_module("pyautoattack.square")
    attack = module.SquareAttack(
        net, norm="Linf", n_queries=queries, eps=PX / 255, seed=0, resc_schedule=False, device="cpu"
    )
    return _standing(net, attack.perturb(batch.image, batch.target), batch)


def run(options: Options) -> Iterator[Row]:
    """Time and robust accuracy at the same budget; the only row is "pyautoattack"."""
    queries = 100 if options.small else QUERIES
    batch = painted(4 if options.small else IMAGES, 32 if options.small else SIDE)
    side = batch.image.shape[-1]
    what = f"Square with {queries} queries on {len(batch.image)} images of {side} x {side}"
    if find_spec("pyautoattack") is None:
        yield Row(what, "-", MISSING, "not measured", TARGET)
        return
    options.tell("training a network" if options.checkpoint is None else "loading a network")
    model = trained(options.checkpoint, options.small, side)
    net = copy.deepcopy(model.net).to(memory_format=torch.contiguous_format)
    net.requires_grad_(False).eval()

    def sides(queries: int) -> dict[str, Callable[[], Any]]:
        return {
            "ours": partial(ours, model, batch, queries),
            "auto-attack": partial(theirs, net, batch, queries),
        }

    timed = alternate(sides(queries), options.rounds, warm_up=sides(5), tell=options.tell)
    mine, other = timed.values()
    yield faster(what, mine, other, TARGET)
    yield robust(f"{PX:g}/255", *(side.result.double().mean().item() for side in (mine, other)))
