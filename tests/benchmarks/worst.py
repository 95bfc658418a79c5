"""The preset `standard` against the ensembles that the field judges by."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from bcadv.models.classifier import Classifier
from bcadv.perturb import PGD, ThreatModel, WorstCase
from bcadv.typing import Batch
from tests.benchmarks.fgsm import painted
from tests.benchmarks.measure import Options, Row, Tell, alternate, faster, robust
from tests.benchmarks.pgd import trained

SIDE, IMAGES = 64, 8
PX = {"two": 2.0, "many": 2.0}
"""Row -> radius in grey levels, at which some of its images break and some hold out."""
CLASSES = 10
"""Of the row "many": as many as AutoAttack asks for."""
TARGETS = {"two": ">= 3x", "many": ">= 4x"}
MISSING = "pyautoattack is not installed: pip install --no-deps pyautoattack"


def of_ten(small: bool) -> tuple[Classifier, Batch]:
    """A network that reads handwritten digits, and new ones that it reads rightly."""
    data = load_digits()
    side, n = (32, 4) if small else (SIDE, IMAGES)
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(0))
    target = torch.from_numpy(data.target).long()[order]
    grey = torch.from_numpy(data.images).float()[order, None] / 16
    # Neither black nor white, so that the box takes nothing from the ball.
    image = functional.interpolate(grey, size=(side, side), mode="bilinear").repeat(1, 3, 1, 1)
    image = 0.1 + 0.8 * image
    torch.manual_seed(0)
    model = (
        Classifier(CLASSES, block_config=(2, 2), growth_rate=8) if small else Classifier(CLASSES)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for step in range(60):
        part = slice(step % 30 * 32, step % 30 * 32 + 32)
        optimizer.zero_grad()
        functional.cross_entropy(model(image[part]), target[part]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()
    new = Batch(image[1000:1100], target[1000:1100], torch.arange(100))
    some = _right(model, new.image, new).nonzero()[:n, 0]
    if len(some) < n:
        raise RuntimeError("the network has learned nothing that could be attacked")
    return model, Batch(new.image[some], new.target[some], some)


def ours(model: Classifier, batch: Batch, eps: float) -> Tensor:
    """Which images hold out, bool, shape (n,)."""
    attack = WorstCase(ThreatModel(eps), preset="standard")
    return _right(model, attack(model, batch.image, batch.target, index=batch.index), batch)


def of_two(net: nn.Module, batch: Batch, eps: float) -> Tensor:
    """APGD on cross entropy, APGD on the margin, and FAB, five starts each, one after another."""
    module: Any = import_module("pyautoattack.autopgd_base")
    fab: Any = import_module("pyautoattack.fab_pt")
    settings = {"n_restarts": 5, "n_iter": 100, "norm": "Linf", "seed": 0, "device": "cpu"}
    margin = module.APGDAttack(net, eps=eps, loss="dlr", **settings)
    margin.dlr_loss = _margin  # its own needs three classes
    attacks = [
        module.APGDAttack(net, eps=eps, loss="ce", **settings).perturb,
        margin.perturb,
        fab.FABAttack_PT(net, eps=eps, verbose=False, **settings).perturb,
    ]
    left = _right(net, batch.image, batch)
    for attack in attacks:
        rows = left.nonzero()[:, 0]
        if not len(rows):
            break
        image = attack(batch.image[rows], batch.target[rows])
        left[rows] = _right(net, image, Batch(image, batch.target[rows], rows))
    return left


def of_many(net: nn.Module, batch: Batch, eps: float) -> Tensor:
    """AutoAttack as its authors packaged it: standard."""
    package: Any = import_module("pyautoattack")
    attack = package.AutoAttack(net, norm="Linf", eps=eps, seed=0, device="cpu")
    attack.verbose = False
    image, _ = attack.run_standard_evaluation(
        batch.image, batch.target, batch_size=len(batch.image)
    )
    return _right(net, image, batch)


def _margin(logits: Tensor, target: Tensor) -> Tensor:
    own = logits.gather(1, target[:, None])[:, 0]
    hidden = functional.one_hot(target, logits.shape[1]).bool()
    return logits.masked_fill(hidden, -torch.inf).amax(1) - own


def _right(model: nn.Module, image: Tensor, batch: Batch) -> Tensor:
    with torch.no_grad():
        right: Tensor = model(image).argmax(1) == batch.target
    return right


THEIRS: dict[str, tuple[str, Callable[[nn.Module, Batch, float], Tensor]]] = {
    "two": ("APGD-CE, APGD-CW and FAB of auto-attack", of_two),
    "many": ("AutoAttack standard of pyautoattack", of_many),
}
"""Row -> the other side's name, and which images hold out there."""


def run(options: Options) -> Iterator[Row]:
    """Time and robust accuracy on one network, one radius."""
    for row, (name, theirs) in THEIRS.items():
        if not options.wants(row):
            continue
        if find_spec("pyautoattack") is None:
            yield Row(f"standard, against {name}", "-", MISSING, "not measured", TARGETS[row])
            continue
        options.tell("training a network")
        if row == "many":
            model, batch = of_ten(options.small)
        else:
            batch = painted(4 if options.small else IMAGES, 32 if options.small else SIDE)
            model = trained(options.checkpoint, options.small, batch.image.shape[-1])
        yield from _rows(row, name, theirs, model, batch, options.rounds, options.tell)


def _rows(
    row: str,
    name: str,
    theirs: Callable[[nn.Module, Batch, float], Tensor],
    model: Classifier,
    batch: Batch,
    rounds: int,
    tell: Tell,
) -> Iterator[Row]:
    net = copy.deepcopy(model.net).to(memory_format=torch.contiguous_format)
    net.requires_grad_(False).eval()
    eps = PX[row] / 255

    def start() -> dict[str, Callable[[], Any]]:
        few = PGD(ThreatModel(eps), steps=2)
        return {
            "ours": lambda: few(model, batch.image, batch.target),
            name: lambda: few(net, batch.image, batch.target),
        }

    sides = {"ours": partial(ours, model, batch, eps), name: partial(theirs, net, batch, eps)}
    mine, other = alternate(sides, rounds, warm_up=start(), tell=tell).values()
    n, side = len(batch.image), batch.image.shape[-1]
    yield faster(
        f"standard, {n} images of {side} x {side}, against {name}", mine, other, TARGETS[row]
    )
    left = [side.result.double().mean().item() for side in (mine, other)]
    yield robust(f"{PX[row]:g}/255, against {name}", *left)
