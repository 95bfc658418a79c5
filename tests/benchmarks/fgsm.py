"""An FGSM curve, against three libraries used as their users use them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import foolbox
import numpy as np
import numpy.typing as npt
import torch
import torchattacks
from art.attacks.evasion import FastGradientMethod
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from bcadv.callbacks.evaluate import Answers, RobustnessEvaluation, Trial
from bcadv.data.sources import tissue
from bcadv.models.batchnorm import reestimate
from bcadv.models.classifier import Classifier
from bcadv.perturb import FGSM, ThreatModel
from bcadv.typing import Batch
from tests.benchmarks.measure import Options, Row, Timed, alternate, faster
from tests.metrics.tables import fgsm

EPS_PX = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
TARGETS = {"torchattacks": ">= 3.3x", "art": ">= 3.3x", "foolbox": ">= 4.4x"}
"""Row -> target; the keys are the libraries' names."""
IMAGES, WARM_UP = 8, 2
"""A machine that classifies 6 images/s takes a minute for foolbox's curve of these 8 images."""

Predictions = npt.NDArray[np.int64]
"""Predicted classes, shape (strengths, images)."""


def painted(n: int, side: int) -> Batch:
    """Painted tissue, every other image malignant."""
    rng = np.random.default_rng(0)
    subtypes = ("F", "DC")
    pixels = np.stack(
        [
            tissue.paint(
                rng,
                subtype=subtypes[i % 2],
                stain=tissue.Stain.draw(rng),
                height=side,
                width=side,
            )
            for i in range(n)
        ]
    )
    image = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return Batch(image.contiguous(), torch.arange(n) % 2, torch.arange(n))


def classifier(checkpoint: Path | None, small: bool, batch: Batch) -> Classifier:
    """A trained model, or a random one whose BatchNorm layers have seen the images."""
    if checkpoint is not None:
        model = Classifier.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
        return model.eval()
    torch.manual_seed(0)
    model = Classifier(2, block_config=(2, 2), growth_rate=8) if small else Classifier(2)
    # Without this the running statistics are 0 and 1, and the logits of all images alike.
    reestimate(model, [batch])
    return model.eval()


def ours(model: Classifier, batch: Batch) -> Predictions:
    """What the evaluation callback does with a batch, tables included."""
    attack = Trial(FGSM(ThreatModel(0.0)), tuple(map(fgsm, EPS_PX)))
    evaluation = RobustnessEvaluation(model.task, [attack], _Nothing())
    found = evaluation.measure(model, batch, attack)
    answers = {a.condition.strength: a for a in found if not a.condition.clean}
    return np.stack([answers[px].prediction for px in EPS_PX])


class _Nothing:
    """Takes answers and keeps none."""

    def has(self, batch: int, piece: int) -> bool:
        return False

    def keeper(self, batch: int, piece: int) -> None:
        """Keeps nothing of an attack under way."""

    def write(self, batch: int, piece: int, answers: Sequence[Answers]) -> None:
        pass


def _classes(net: nn.Module, images: Tensor) -> Predictions:
    with torch.no_grad():
        return net(images).argmax(1).numpy()  # type: ignore[no-any-return]


def with_torchattacks(net: nn.Module, batch: Batch) -> Predictions:
    """An attack object per strength, then the prediction."""
    found = []
    for px in EPS_PX:
        attack = torchattacks.FGSM(net, eps=px / 255)
        found.append(_classes(net, attack(batch.image, batch.target)))
    return np.stack(found)


def with_art(net: nn.Module, batch: Batch, classes: int) -> Predictions:
    """The same in numpy arrays, predicted by ART's own wrapper."""
    wrapped = PyTorchClassifier(
        model=net,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(batch.image.shape[1:]),
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    images, targets = batch.image.numpy(), batch.target.numpy()
    found = []
    for px in EPS_PX:
        attack = FastGradientMethod(wrapped, eps=px / 255, batch_size=len(images))
        adversarial = attack.generate(images, targets)
        found.append(wrapped.predict(adversarial, batch_size=len(images)).argmax(1))
    return np.stack(found)


def with_foolbox(net: nn.Module, batch: Batch) -> Predictions:
    """All strengths in one call, then the predictions."""
    wrapped = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    attack: Callable[..., Any] = foolbox.attacks.FGSM()
    epsilons = [px / 255 for px in EPS_PX]
    _, clipped, _ = attack(wrapped, batch.image, batch.target, epsilons=epsilons)
    return np.stack([_classes(net, images) for images in clipped])


def run(options: Options) -> Iterator[Row]:
    """Speed against each library, and how many predictions agree."""
    batch = painted(4, 32) if options.small else painted(IMAGES, 224)
    model = classifier(options.checkpoint, options.small, batch)
    classes = int(model.hparams["classes"])
    # The network as a user of those libraries has it: torch's own layout, no wrapper around it.
    net = copy.deepcopy(model.net).to(memory_format=torch.contiguous_format).eval()
    libraries: dict[str, Callable[[Batch], Predictions]] = {
        "torchattacks": partial(with_torchattacks, net),
        "art": partial(with_art, net, classes=classes),
        "foolbox": partial(with_foolbox, net),
    }
    kind = "trained" if options.checkpoint else "untrained"
    for library, curve in libraries.items():
        if not options.wants(library):
            continue

        def sides(
            batch: Batch, library: str = library, curve: Callable[[Batch], Predictions] = curve
        ) -> dict[str, Callable[[], Predictions]]:
            # Ours is given images in the layout in which its loaders deliver them.
            image = batch.image.contiguous(memory_format=torch.channels_last)
            delivered = Batch(image, batch.target, batch.index)
            return {
                f"ours against {library}": partial(ours, model, delivered),
                library: partial(curve, batch),
            }

        few = Batch(batch.image[:WARM_UP], batch.target[:WARM_UP], batch.index[:WARM_UP])
        timed = alternate(sides(batch), options.rounds, warm_up=sides(few), tell=options.tell)
        mine, other = timed.values()
        yield from _rows(library, mine, other, kind)


def _rows(library: str, mine: Timed, other: Timed, kind: str) -> Iterator[Row]:
    strengths, images = mine.result.shape
    yield faster(
        f"FGSM at {strengths} strengths, {images} images, {kind} network, against {library}",
        mine,
        other,
        TARGETS[library],
    )
    equal = float((mine.result == other.result).mean())
    flipped = float((mine.result != mine.result[0]).mean())
    yield Row(
        f"equal ones of its {mine.result.size} predictions, of which the attack changed "
        f"{100 * flipped:.0f} %",
        "-",
        "-",
        f"{100 * equal:.2f} %",
        ">= 99.9 %",
    )
