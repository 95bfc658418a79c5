"""The LightningModule: trains a classifier; knows no attack and no noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from bcadv import distributed
from bcadv.errors import BcadvError
from bcadv.models.catalog import build
from bcadv.task import LossOf, Task
from bcadv.typing import Batch, Logits

_ROUNDING = 1e-4
"""How far beyond [0, 1] a resized image may be by rounding."""


class Classifier(pl.LightningModule):
    """A network fine-tuned in all its layers with Adam (Li & Liu 2023: DenseNet121).

    Its hyperparameters are plain numbers, so that a checkpoint loads without executing code:
    ``Classifier.load_from_checkpoint(path)``.

    Args:
        classes: number of classes.
        network: a row of `bcadv.models.catalog`.
        lr: Adam's learning rate; the paper's is 0.001.
        weight_decay: Adam's L2 penalty.
        cosine_epochs: with a number, the learning rate falls to zero over so many epochs.
        options: of the network.

    Attributes:
        objective: what training minimises; ``None`` is the task's own loss.
    """

    def __init__(
        self,
        classes: int = 2,
        *,
        network: str = "densenet121",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        cosine_epochs: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        options = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
        self.save_hyperparameters()
        self.task = Task(classes=tuple(f"class {k}" for k in range(classes)))
        self.lr, self.weight_decay, self.cosine_epochs = lr, weight_decay, cosine_epochs
        self.objective: LossOf | None = None
        self._beyond_box = False
        self.net: Any = build(network, classes, **options)
        # Channels-last is the layout that convolutions are fastest in, on CPUs and GPUs alike.
        self.net = self.net.to(memory_format=torch.channels_last)
        # By default a loss that is not a number is left out, and the mean of the rest looks fine.
        # ("disable" of torchmetrics 1.9 leaves the weights of the batches out instead.)
        self.train_loss, self.val_loss = MeanMetric(math.nan), MeanMetric(math.nan)
        self.train_accuracy = MulticlassAccuracy(classes, average="micro")
        self.val_accuracy = MulticlassAccuracy(classes, average="micro")

    def forward(self, image: Tensor) -> Logits:
        """Images -> logits, shape (batch, classes).

        Args:
            image: RGB in [0, 1], shape (batch, 3, height, width).

        Raises:
            BcadvError: other images, such as grey levels up to 255 or images that were normalised
                already: their logits would look like any others. In training, where noise may
                leave [0, 1], and in `beyond_box` only their type and shape are looked at.
        """
        _check(image, box=not (self.training or self._beyond_box))
        logits: Tensor = self.net(image.contiguous(memory_format=torch.channels_last))
        return logits

    @contextmanager
    def beyond_box(self) -> Iterator[None]:
        """Within it, images that noise has moved out of [0, 1] are taken."""
        before, self._beyond_box = self._beyond_box, True
        try:
            yield
        finally:
            self._beyond_box = before

    def _step(self, batch: Batch, part: str) -> Tensor:
        # The mean of nothing is not a number; its sum is the 0 that it contributes.
        images = len(batch.target)
        reduction = "mean" if images else "sum"
        if part == "train" and self.objective is not None:
            loss, logits = self.objective(self, batch, self.task, reduction)
        else:
            logits = self(batch.image)
            loss = self.task.training_loss(logits, batch.target, reduction)
        mean, accuracy = getattr(self, f"{part}_loss"), getattr(self, f"{part}_accuracy")
        if images:
            mean.update(loss.detach(), weight=images)
            accuracy.update(logits.detach(), batch.target)
        for name, metric in ((f"{part}_loss", mean), (f"{part}_accuracy", accuracy)):
            self.log(name, metric, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch; of a share of one, weighted for DDP's average."""
        loss = self._step(batch, "train")
        if distributed.active():
            loss = loss * distributed.weight_of(len(batch.target), loss.device)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and accuracy on validation images; selection looks at nothing else."""
        self._step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> Logits | None:
        """Clean logits, unless a callback computes them anyway on the way to its attack."""
        callbacks: list[Any] = getattr(self.trainer, "callbacks", [])
        if any(getattr(callback, "computes_clean_logits", False) for callback in callbacks):
            return None
        logits: Tensor = self(batch.image)
        loss = self.task.training_loss(logits, batch.target, "mean")
        self.log("test_loss", loss, batch_size=len(batch.target))
        accuracy = (~self.task.wrong(logits, batch.target)).float().mean()
        self.log("test_accuracy", accuracy, batch_size=len(batch.target))
        return logits

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Class probabilities, shape (batch, classes)."""
        return self.task.probability(self(batch.image)).float()

    def configure_optimizers(self) -> Any:
        """Adam over all layers; a cosine schedule where asked for."""
        adam = torch.optim.Adam(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        if self.cosine_epochs is None:
            return adam
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, self.cosine_epochs)
        return {"optimizer": adam, "lr_scheduler": schedule}


def _check(image: object, *, box: bool) -> None:
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise BcadvError(
            f"Classifier: the images are {kind}; give a tensor of floats in [0, 1] (of uint8 it is "
            "image.float() / 255)."
        )
    if image.ndim != 4 or image.shape[1] != 3:
        raise BcadvError(
            f"Classifier: the images have shape {tuple(image.shape)}; give RGB images, shape "
            "(batch, 3, height, width)."
        )
    # On a GPU a look waits for all that is under way, in an attack at each of its steps; the
    # attack has looked at its images itself.
    if not box or not image.numel() or (image.is_cuda and image.requires_grad):
        return
    low, high = (float(end) for end in image.detach().aminmax())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise BcadvError(
            f"Classifier: pixels reach from {low:g} to {high:g}; give them in [0, 1]: grey levels "
            "are divided by 255, and nothing is normalised (the model does it itself)."
        )
