"""A training that diverges ends with the reason, and leaves no model that looks trained."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from bcadv.callbacks.finite import FiniteWeights
from bcadv.callbacks.record import History
from bcadv.errors import BcadvError
from bcadv.models.classifier import Classifier
from tests.callbacks.test_inject import fit
from tests.jobs import tiny_overrides
from tests.processes import fork


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    return Classifier(2, growth_rate=4, block_config=(2, 2), init_features=8)


def test_a_healthy_training_is_left_alone(model: Classifier) -> None:
    fit(model, FiniteWeights("try again"), epochs=2)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["weight", "running_var"])
def test_one_number_lost_is_enough(model: Classifier, name: str, value: float) -> None:
    class Lose(FiniteWeights):
        def on_train_epoch_end(self, trainer: object, pl_module: object) -> None:
            getattr(model.net.net.features.norm0, name).data[3] = value
            super().on_train_epoch_end(trainer, pl_module)  # type: ignore[arg-type]

    where = rf"epoch 1 of 2: net\.net\.features\.norm0\.{name} "
    with pytest.raises(BcadvError, match=rf"{where}.*; try more\."):
        fit(model, Lose("try more"), epochs=2)


def test_an_epochs_loss_hides_no_batch_that_was_lost(model: Classifier, tmp_path: Path) -> None:
    model.lr = 1e25  # the first batch is sound
    history = History(tmp_path / "history.csv")
    fit(model, history)
    assert math.isnan(history.rows[0]["train_loss"])
    assert math.isnan(history.rows[0]["val_loss"])


@pytest.mark.long
def test_a_diverged_model_is_not_stored_as_trained(tmp_path: Path) -> None:
    command = tiny_overrides(Path("outputs"), "tracking.enabled=false", "optimizer.lr=1e25")
    for _ in range(2):  # nor does the next job find one
        job = fork(tmp_path, command)
        assert job.wait() == 2
        assert "The training diverged in epoch 1 of 2" in job.said
        assert "lower optimizer.lr=1e+25." in job.said
        assert "Traceback" not in job.said
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("trained.json"))
