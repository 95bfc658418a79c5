"""The test images that an attack turns first, and those that hold out longest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bcadv.callbacks.evaluate import RobustnessEvaluation
from bcadv.data.datamodule import ImageDataModule
from bcadv.metrics.fall import ends, order_of_fall
from bcadv.models.classifier import Classifier


def save_gallery(
    path: Path, evaluation: RobustnessEvaluation, model: Classifier, data: ImageDataModule
) -> None:
    """Keeps the first and the last images to fall, attacked once more at the epsilon shown.

    The arrays, k images: ``image`` (k, 3, h, w) uint8, ``adversarial`` (k, 3, h, w) float32,
    ``eps_px``, ``flipped``, ``first`` (whether among the first to fall), ``target``, ``index``,
    ``image_id``, ``prob_clean`` and ``prob_adversarial`` (k, classes). k may be 0.

    Args:
        path: of the ``.npz``.
        evaluation: after its pass over the test images; its first trial is the attack.
        model: as it was evaluated.
        data: prepared.
    """
    trial = evaluation.trials[0]
    fallen = order_of_fall(evaluation.predictions(), trial.perturbation.name)
    first, last = ends(len(fallen))
    chosen = pd.concat([fallen.iloc[:first], fallen.iloc[len(fallen) - last :]])
    numbers = [int(i) for i in chosen["index"]]
    batch = data.centre_crops(numbers)
    batch = data.transfer_batch_to_device(batch, model.device, 0)
    adversarial = torch.empty_like(batch.image)
    shown = chosen["eps_px"].to_numpy(float)
    for eps_px in np.unique(shown):
        same = torch.from_numpy(np.flatnonzero(shown == eps_px)).to(batch.image.device)
        adversarial[same] = trial.perturbation.sweep(
            model, batch.image[same], batch.target[same], [eps_px / 255], index=batch.index[same]
        ).images[0]
    before = after = np.zeros((0, len(data.classes)), np.float32)
    if numbers:
        model.eval()
        with torch.no_grad():
            before, after = (
                model(x).double().softmax(1).cpu().numpy().astype(np.float32)
                for x in (batch.image, adversarial)
            )
    np.savez_compressed(
        path,
        image=(batch.image * 255).round().byte().cpu().numpy(),
        adversarial=adversarial.float().cpu().numpy(),
        eps_px=shown,
        flipped=chosen["flipped"].to_numpy(bool),
        first=np.arange(len(chosen)) < first,
        target=batch.target.cpu().numpy(),
        index=batch.index.cpu().numpy(),
        image_id=np.array([data.records[i].image_id for i in numbers], dtype=str),
        prob_clean=before,
        prob_adversarial=after,
    )
