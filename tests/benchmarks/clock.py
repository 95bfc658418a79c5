"""How long the parts of a training epoch take, measured from inside pl.Trainer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch


def now() -> float:
    """Seconds, once the device has done what it was told to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


@dataclass
class Epoch:
    """Seconds of one epoch.

    Attributes:
        steps: from the epoch's start to the end of its last step: loading, callbacks, steps.
        validation: the validation loop.
        rest: everything else up to the next epoch: metrics, history, checkpoints.
    """

    steps: float = 0.0
    validation: float = 0.0
    rest: float = 0.0


class EpochClock(pl.Callback):
    """Fills ``epochs``.

    Args:
        between: called before each epoch with its number, off the clock.
    """

    def __init__(self, between: Callable[[int], None] | None = None) -> None:
        self.between = between
        self.epochs: list[Epoch] = []
        self._begun = self._last = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends the epoch before and begins a new one."""
        self._end()
        if self.between:
            self.between(trainer.current_epoch)
        self.epochs.append(Epoch())
        self._begun = now()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """The last of these counts."""
        if trainer.is_last_batch:
            self._last = now()
            self.epochs[-1].steps = self._last - self._begun

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation trains nothing: it has a clock of its own."""
        self.epochs[-1].validation = -now()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops that clock."""
        self.epochs[-1].validation += now()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends the last epoch."""
        self._end()

    def _end(self) -> None:
        if self.epochs:
            self.epochs[-1].rest = now() - self._last - self.epochs[-1].validation
