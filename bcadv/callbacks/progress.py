"""How far a training is, all epochs together."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl

from bcadv.callbacks.record import COLUMNS
from bcadv.progress import Meter, duration

log = logging.getLogger(__name__)

_VALIDATION = 1 / 3
"""Work of a validation batch, which has no backward pass, as a share of a training batch."""


class TrainingProgress(pl.Callback):
    """Shows the epoch, the batch, the latest losses and the time left of the whole training.

    A training that goes on from a checkpoint counts from the epoch it goes on with.

    Args:
        meter: shows it; entered and left by the caller, whatever ends the training.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self._epochs = self._batches = self._validation = 0
        self._latest = ""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts the batches; starts the clock."""
        self._epochs = int(trainer.max_epochs or 0)
        self._batches = int(trainer.num_training_batches)
        self._validation = int(sum(trainer.num_val_batches))
        self.meter.begin(
            self._epochs * self._epoch_units, done=trainer.current_epoch * self._epoch_units
        )
        self._show(trainer, 0)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Counts a training batch."""
        self._reach(trainer, batch_idx + 1)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts a validation batch."""
        self._reach(trainer, self._batches, batch_idx + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the numbers of the epoch."""
        found = trainer.callback_metrics
        self._latest = ", ".join(f"{n} {float(found[n]):.3f}" for n in COLUMNS[1:] if n in found)
        self.meter.pace.reach((trainer.current_epoch + 1) * self._epoch_units)
        self.meter.show(f"epoch {trainer.current_epoch + 1} of {self._epochs}", self._latest)
        self.meter.tell(step=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says how long it took, and whether it ended early."""
        ended = trainer.current_epoch
        early = " early, for the validation loss fell no more," if ended < self._epochs else ""
        log.info(
            "Training ended%s after epoch %d of %d; it took %s.",
            *(early, ended, self._epochs, duration(self.meter.pace.seconds)),
        )

    @property
    def _epoch_units(self) -> float:
        return self._batches + _VALIDATION * self._validation

    def _reach(self, trainer: pl.Trainer, batches: int, validation: int = 0) -> None:
        within = batches + _VALIDATION * validation
        self.meter.pace.reach(trainer.current_epoch * self._epoch_units + within)
        self._show(trainer, batches, validation)
        self.meter.tell()

    def _show(self, trainer: pl.Trainer, batches: int, validation: int = 0) -> None:
        at = f"batch {batches} of {self._batches}" if batches else "first batch"
        if validation:
            at = f"validation batch {validation} of {self._validation}"
        self.meter.show(
            f"epoch {trainer.current_epoch + 1} of {self._epochs}",
            f"{at}; last epoch: {self._latest}" if self._latest else at,
        )
