"""Ends a training that has diverged, before anything takes its model for a trained one."""

from __future__ import annotations

from itertools import chain

import pytorch_lightning as pl

from bcadv.errors import BcadvError


class FiniteWeights(pl.Callback):
    """Looks at every weight and statistic after each epoch, before its checkpoint is written.

    The loss is no substitute: that of the epoch in which the weights are lost may look fine.

    Args:
        remedy: what the user can do about it, as the end of a sentence.
    """

    def __init__(self, remedy: str) -> None:
        self.remedy = remedy

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks at the weights.

        Raises:
            BcadvError: one of them is infinite or not a number.
        """
        state = chain(pl_module.named_parameters(), pl_module.named_buffers())
        broken = next((name for name, value in state if not value.isfinite().all()), None)
        if broken is not None:
            raise BcadvError(
                f"The training diverged in epoch {trainer.current_epoch + 1} of "
                f"{trainer.max_epochs}: {broken} is no longer finite; {self.remedy}."
            )
