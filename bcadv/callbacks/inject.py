"""Perturbs training batches, and training batches only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from bcadv.errors import BcadvError
from bcadv.typing import Batch, Perturbation


class NoiseInjection(pl.Callback):
    """Puts a perturbation into training: noise augmentation (Li & Liu 2023) or any attack.

    Each image is perturbed with the given probability. Which images, and with what noise, depends
    on (seed, epoch, image) alone, so a resumed training sees what an uninterrupted one would have.

    Args:
        perturbation: what is done to an image.
        probability: share of images it is done to, from 0 to 1; the paper's is 1.
        seed: names the choice of images.

    Raises:
        BcadvError: for a probability outside [0, 1].
    """

    def __init__(self, perturbation: Perturbation, probability: float = 1.0, seed: int = 0) -> None:
        if not 0 <= probability <= 1:
            raise BcadvError(
                f"NoiseInjection: probability={probability}; give a share from 0 to 1."
            )
        self.perturbation, self.probability, self.seed = perturbation, probability, seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Replaces the batch's images before the training step sees them."""
        self.inject(pl_module, batch, trainer.current_epoch)

    def inject(self, model: pl.LightningModule, batch: Batch, epoch: int) -> Batch:
        """Replaces the images of a batch by perturbed ones; returns the same batch."""
        if not len(batch.index):  # fewer images than processes
            return batch
        if self.probability == 1:
            batch.image = self._perturb(model, batch, epoch)
            return batch
        index = batch.index.cpu().numpy()
        # One long row of draws per epoch: image i reads entry i, whatever batch it is in.
        draws = np.random.default_rng([self.seed, epoch, 1]).random(int(index.max()) + 1)
        chosen = torch.from_numpy(draws[index] < self.probability).to(batch.image.device)
        if chosen.any():
            part = Batch(batch.image[chosen], batch.target[chosen], batch.index[chosen])
            batch.image = batch.image.clone()
            batch.image[chosen] = self._perturb(model, part, epoch)
        return batch

    def _perturb(self, model: pl.LightningModule, batch: Batch, epoch: int) -> Any:
        return self.perturbation(model, batch.image, batch.target, index=batch.index, draw=epoch)
