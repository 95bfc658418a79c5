"""The whole training is what counts, also where it goes on or ends early."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bcadv.callbacks.progress import TrainingProgress
from bcadv.progress import Meter


class Line(pl.LightningModule):
    """One weight, six batches of training and three of validation."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = self.net(batch).square().mean()
        self.log("train_loss", loss.detach() * 0 + 0.5, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val_loss", torch.tensor(0.25))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Shares(Callback):
    """What a meter says is done after each batch."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.seen: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.seen.append(self.meter.pace.share)

    def on_validation_batch_end(self, *_: Any) -> None:
        self.seen.append(self.meter.pace.share)


def fit(
    folder: Path, epochs: int, *more: Callback, checkpoint: Path | None = None
) -> tuple[list[float], pl.Trainer]:
    """Trains; returns what the bar showed."""
    with Meter() as meter:
        shares = Shares(meter)
        trainer = pl.Trainer(
            max_epochs=epochs,
            callbacks=[TrainingProgress(meter), shares, *more],
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder,
        )
        images = torch.ones(6, 1)
        trainer.fit(
            Line(),
            DataLoader(images, batch_size=1),  # type: ignore[arg-type]
            DataLoader(images[:3], batch_size=1),  # type: ignore[arg-type]
            ckpt_path=checkpoint,
            weights_only=True,
        )
    return shares.seen, trainer


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("bcadv.")]


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bcadv")


def test_the_bar_is_full_when_all_epochs_are_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen, _ = fit(tmp_path, 4)
    assert seen == sorted(seen)
    assert len(seen) == 4 * (6 + 3)
    # Seven units an epoch: a validation batch is a third of one.
    assert seen[0] == pytest.approx(1 / 28)
    assert seen[8] == pytest.approx(7 / 28)
    assert seen[-1] == 1
    first, *_, last, end = told(caplog)
    assert first.startswith("epoch 1 of 4: train_loss 0.500, val_loss 0.250; ")
    assert first.endswith("left")
    assert last.startswith("epoch 4 of 4: ")
    assert end.startswith("Training ended after epoch 4 of 4; ")


def test_a_training_that_goes_on_begins_where_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, trainer = fit(tmp_path, 3)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    caplog.clear()
    seen, _ = fit(tmp_path, 4, checkpoint=tmp_path / "last.ckpt")
    assert seen[0] == pytest.approx((3 * 7 + 1) / 28)
    assert [line.split(":")[0] for line in told(caplog)][:1] == ["epoch 4 of 4"]


def test_a_training_that_ends_early_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tmp_path, 40, EarlyStopping("val_loss", patience=2))
    assert told(caplog)[-1].startswith(
        "Training ended early, for the validation loss fell no more, after epoch 3 of 40; "
    )
