"""The test images that a job keeps pictures of, attacked once more when the numbers are there.

``examples.npz`` holds the first test images of each class (of the first classes, where there are
more of them than `evaluation.examples`) under every strength of the pictured attack,
``gallery.npz`` those that it turns first and those that hold out longest. What each array means
stands in `bcadv.study.photographs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bcadv.build import build_noise
from bcadv.callbacks.evaluate import Trial
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.evaluate.predictions import first_to_fall
from bcadv.models.classifier import Classifier
from bcadv.results.files import EXAMPLES, GALLERY, PREDICTIONS
from bcadv.task import Task
from bcadv.typing import Batch


def save_pictures(
    folder: Path,
    config: Config,
    variant: str,
    trial: Trial,
    model: Classifier,
    data: ImageDataModule,
) -> None:
    """Keeps the images behind a job's figures.

    Args:
        folder: of the job; holds its predictions, gets the two files.
        config: of the job.
        variant: the BatchNorm statistics that the model has now.
        trial: the attack to show.
        model: as it was evaluated.
        data: prepared.
    """
    task = model.task
    _save_examples(folder / EXAMPLES, config, trial, model, data, task)
    _save_gallery(folder, variant, trial, model, data, task)


def example_images(config: Config, data: ImageDataModule) -> list[int]:
    """Test images for the figures: as many of each class as fit, the first ones by name.

    Where there are more classes than examples, the last classes have none.
    """
    per_class = max(1, config.evaluation.examples // len(data.classes))
    chosen: list[int] = []
    for k in range(len(data.classes)):
        members = [i for i in data.split.test if data.targets[i] == k]
        chosen += members[:per_class]
    return sorted(chosen[: config.evaluation.examples])


def _save_examples(
    path: Path,
    config: Config,
    trial: Trial,
    model: Classifier,
    data: ImageDataModule,
    task: Task,
) -> None:
    batch = _batch(model, data, example_images(config, data))
    sizes = [c.size for c in trial.conditions]
    attacked = _attacked(trial, model, batch, sizes)
    noisy = build_noise(config, config.seed + 1)(
        model, batch.image, batch.target, index=batch.index
    )
    clean = _answered(model, batch.image, task)
    after = [_answered(model, image, task) for image in attacked]
    np.savez_compressed(
        path,
        image=_bytes(batch.image),
        noisy=_array(noisy),
        sigma=np.float64(config.sigma),
        adversarial=np.stack([_array(image) for image in attacked]),
        condition=np.array([c.id for c in trial.conditions], dtype=str),
        target=batch.target.cpu().numpy(),
        index=batch.index.cpu().numpy(),
        prediction=clean[0],
        prob_clean=clean[1],
        prediction_adversarial=np.stack([found[0] for found in after]),
        prob_adversarial=np.stack([found[1] for found in after]),
    )


def _save_gallery(
    folder: Path,
    variant: str,
    trial: Trial,
    model: Classifier,
    data: ImageDataModule,
    task: Task,
) -> None:
    chosen, first = first_to_fall(folder / PREDICTIONS, variant, trial.conditions)
    numbers = [int(i) for i in chosen["index"]]
    batch = _batch(model, data, numbers)
    by_id = {condition.id: condition for condition in trial.conditions}
    shown = [by_id[name] for name in chosen["condition"]]
    adversarial = torch.empty_like(batch.image)
    for condition in set(shown):
        same = torch.tensor([c == condition for c in shown], device=batch.image.device)
        part = Batch(batch.image[same], batch.target[same], batch.index[same])
        [adversarial[same]] = _attacked(trial, model, part, [condition.size])
    before, after = (_answered(model, x, task) for x in (batch.image, adversarial))
    np.savez_compressed(
        folder / GALLERY,
        image=_bytes(batch.image),
        adversarial=_array(adversarial),
        condition=np.array([c.id for c in shown], dtype=str),
        flipped=chosen["flipped"].to_numpy(bool),
        first=np.arange(len(chosen)) < first,
        target=batch.target.cpu().numpy(),
        index=batch.index.cpu().numpy(),
        image_id=np.array([data.records[i].image_id for i in numbers], dtype=str),
        prediction=before[0],
        prob_clean=before[1],
        prediction_adversarial=after[0],
        prob_adversarial=after[1],
    )


def _batch(model: Classifier, data: ImageDataModule, numbers: Sequence[int]) -> Batch:
    batch: Batch = data.transfer_batch_to_device(data.centre_crops(numbers), model.device, 0)
    return batch


def _attacked(
    trial: Trial, model: Classifier, batch: Batch, sizes: Sequence[float]
) -> list[Tensor]:
    return trial.perturbation.sweep(
        model, batch.image, batch.target, sizes, index=batch.index
    ).images


def _answered(model: Classifier, image: Tensor, task: Task) -> tuple[Any, Any]:
    """Predicted classes (k,) and probabilities (k, classes)."""
    if not len(image):
        return np.zeros(0, np.int64), np.zeros((0, len(task.classes)), np.float32)
    model.eval()
    with torch.no_grad():
        logits = model(image)
    return task.decide(logits).cpu().numpy(), task.probability(logits).float().cpu().numpy()


def _bytes(image: Tensor) -> Any:
    return (image * 255).round().byte().cpu().numpy()


def _array(image: Tensor) -> Any:
    return image.float().cpu().numpy()
