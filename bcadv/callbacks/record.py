"""Keeps the training history, in a file and in every checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl

COLUMNS = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


class History(pl.Callback):
    """Writes loss and accuracy of each epoch to a CSV file.

    The rows travel in the checkpoint, so that a resumed training has the whole history and no
    epoch twice.

    Args:
        path: the CSV file, with the columns of `COLUMNS`.
        on_epoch: called with each new row, for instance to show it elsewhere.

    Attributes:
        rows: a row per epoch.
        seconds: that the epochs took, interruptions left out.
    """

    def __init__(
        self, path: Path, on_epoch: Callable[[dict[str, float]], None] | None = None
    ) -> None:
        self.path, self.on_epoch = path, on_epoch
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self._begun = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._begun = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds the epoch's row; checkpoints are written after it."""
        metrics = trainer.callback_metrics
        row: dict[str, float] = {"epoch": trainer.current_epoch}
        row |= {name: float(metrics[name]) for name in COLUMNS[1:] if name in metrics}
        self.rows.append(row)
        self.seconds += time.monotonic() - self._begun
        if not trainer.is_global_zero:
            return
        # Written beside and moved into place: a kill never leaves half a file.
        part = self.path.with_suffix(".part")
        pd.DataFrame(self.rows, columns=pd.Index(COLUMNS)).to_csv(part, index=False)
        part.replace(self.path)
        if self.on_epoch:
            self.on_epoch(row)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the rows of a checkpoint."""
        self.rows = list(state_dict["rows"])
        self.seconds = float(state_dict["seconds"])
