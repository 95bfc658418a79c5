"""A PGD-20 curve over eight strengths, against two libraries doing the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import foolbox
import numpy as np
import torch
import torchattacks
from torch import nn
from torch.nn import functional

from bcadv.models.classifier import Classifier
from bcadv.perturb import PGD, ThreatModel
from bcadv.typing import Batch
from tests.benchmarks.fgsm import EPS_PX, Predictions, painted
from tests.benchmarks.measure import Options, Row, Timed, alternate, faster, robust

STRENGTHS_PX = (0.125, *EPS_PX[1:])
STEPS = 20
STEP = 2.5 / STEPS
TARGET = ">= 5x"
SIDE, IMAGES, WARM_UP = 64, 8, 1
"""A curve is 160 gradients an image, at 224 pixels over a minute each on a slow processor."""


def trained(checkpoint: Path | None, small: bool, side: int) -> Classifier:
    """A model that tells painted tissue apart; an untrained one has nothing to lose.

    Without a checkpoint the network is trained for a few steps on painted images of its own.
    """
    if checkpoint is not None:
        model = Classifier.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
        return model.eval()
    torch.manual_seed(0)
    model = Classifier(2, block_config=(2, 2), growth_rate=8) if small else Classifier(2)
    # Fewer pixels than are attacked: enough to learn from, and quicker.
    batch = painted(32, min(side, 64))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for step in range(30):
        part = slice(step % 2 * 16, step % 2 * 16 + 16)
        optimizer.zero_grad()
        functional.cross_entropy(model(batch.image[part]), batch.target[part]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def classes(net: nn.Module, images: torch.Tensor) -> Predictions:
    """What a network calls some images."""
    with torch.no_grad():
        return net(images).argmax(1).numpy()  # type: ignore[no-any-return]


def ours(model: Classifier, batch: Batch) -> tuple[Predictions, float]:
    """One sweep, then the predictions; and the gradients an image took."""
    radii = [px / 255 for px in STRENGTHS_PX]
    sweep = PGD(ThreatModel(0.0), steps=STEPS).sweep(
        model, batch.image, batch.target, radii, index=batch.index
    )
    assert sweep.gradients is not None
    gradients = sweep.gradients.double().mean().item()
    return np.stack([classes(model, images) for images in sweep.images]), gradients


def with_torchattacks(net: nn.Module, batch: Batch) -> Predictions:
    """An attack object per strength with the same relative step, then the prediction."""
    torch.manual_seed(0)
    found = []
    for px in STRENGTHS_PX:
        eps = px / 255
        attack = torchattacks.PGD(net, eps=eps, alpha=STEP * eps, steps=STEPS, random_start=True)
        found.append(classes(net, attack(batch.image, batch.target)))
    return np.stack(found)


def with_foolbox(net: nn.Module, batch: Batch) -> Predictions:
    """All strengths in one call, then the predictions."""
    torch.manual_seed(0)
    wrapped = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    attack: Callable[..., Any] = foolbox.attacks.LinfPGD(rel_stepsize=STEP, steps=STEPS)
    epsilons = [px / 255 for px in STRENGTHS_PX]
    _, clipped, _ = attack(wrapped, batch.image, batch.target, epsilons=epsilons)
    return np.stack([classes(net, images) for images in clipped])


def run(options: Options) -> Iterator[Row]:
    """Speed against each library, and the robust accuracies side by side."""
    side = 32 if options.small else SIDE
    batch = painted(IMAGES, side)
    options.tell("training a network" if options.checkpoint is None else "loading a network")
    model = trained(options.checkpoint, options.small, side)
    # The network as a user of those libraries has it: torch's own layout, no wrapper around it.
    net = copy.deepcopy(model.net).to(memory_format=torch.contiguous_format).eval()
    for library, curve in LIBRARIES.items():
        if not options.wants(library):
            continue

        def sides(
            batch: Batch,
            library: str = library,
            curve: Callable[[nn.Module, Batch], Predictions] = curve,
        ) -> dict[str, Callable[[], Any]]:
            # Ours is given images in the layout in which its loaders deliver them.
            image = batch.image.contiguous(memory_format=torch.channels_last)
            delivered = Batch(image, batch.target, batch.index)
            return {
                f"ours against {library}": partial(ours, model, delivered),
                library: partial(curve, net, batch),
            }

        few = Batch(batch.image[:WARM_UP], batch.target[:WARM_UP], batch.index[:WARM_UP])
        timed = alternate(sides(batch), options.rounds, warm_up=sides(few), tell=options.tell)
        mine, other = timed.values()
        yield from _rows(library, mine, other, batch)


def _rows(library: str, mine: Timed, other: Timed, batch: Batch) -> Iterator[Row]:
    target = batch.target.numpy()
    predictions, gradients = mine.result
    images, _, side, _ = batch.image.shape
    yield faster(
        f"PGD-{STEPS} at {len(STRENGTHS_PX)} strengths, {images} images of {side} x {side}, "
        f"against {library}",
        mine,
        other,
        TARGET,
    )
    left, theirs = (predictions == target).mean(1), (other.result == target).mean(1)
    for px, a, b in zip(STRENGTHS_PX, left, theirs, strict=True):
        yield robust(f"{px:g}/255, against {library}", a, b)
    yield Row(
        f"gradients an image, against {library}",
        f"{gradients:.1f}",
        f"{len(STRENGTHS_PX) * STEPS}",
        "-",
    )


LIBRARIES: dict[str, Callable[[nn.Module, Batch], Predictions]] = {
    "torchattacks": with_torchattacks,
    "foolbox": with_foolbox,
}
"""Row -> the library's curve."""
