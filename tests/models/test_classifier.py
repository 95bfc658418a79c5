"""The LightningModule by itself: trains, tests, and its checkpoint loads without running code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from bcadv.errors import BcadvError
from bcadv.models.classifier import Classifier
from bcadv.typing import Batch


class Blobs(Dataset[Batch]):
    """Dark images are class 0, bright ones class 1."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, step: int) -> Batch:
        target = torch.tensor([0, 1] * 4)
        generator = torch.Generator().manual_seed(step)
        image = torch.rand(8, 3, 32, 32, generator=generator) * 0.5
        return Batch(image + 0.5 * target.view(-1, 1, 1, 1), target, torch.arange(8) + 8 * step)


def loader() -> DataLoader[Batch]:
    return DataLoader(Blobs(), batch_size=None)


def small(lr: float = 1e-3) -> Classifier:
    torch.manual_seed(0)
    return Classifier(2, lr=lr, growth_rate=4, block_config=(2, 2), init_features=8)


def trainer(folder: Path, epochs: int = 6) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def test_it_learns_what_can_be_learnt(tmp_path: Path) -> None:
    model = small(lr=0.01)
    fit = trainer(tmp_path)
    fit.fit(model, loader(), loader())
    assert float(fit.callback_metrics["train_accuracy"]) > 0.9
    metrics = fit.test(model, loader(), verbose=False)[0]
    assert metrics["test_accuracy"] > 0.9


def test_a_checkpoint_loads_without_executing_code(tmp_path: Path) -> None:
    model = small()
    fit = trainer(tmp_path, 1)
    fit.fit(model, loader())
    path = tmp_path / "it.ckpt"
    fit.save_checkpoint(path)
    torch.load(path, weights_only=True)
    again = Classifier.load_from_checkpoint(path, weights_only=True).eval()
    image = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(image), model.eval()(image))


def test_a_schedule_only_where_asked_for() -> None:
    assert isinstance(small().configure_optimizers(), torch.optim.Adam)
    options = Classifier(2, cosine_epochs=3, block_config=(1,)).configure_optimizers()
    assert isinstance(options["lr_scheduler"], torch.optim.lr_scheduler.CosineAnnealingLR)


def test_predictions_are_probabilities() -> None:
    batch = Blobs()[0]
    found = small().eval().predict_step(batch, 0)
    torch.testing.assert_close(found.sum(1), torch.ones(8))


GREY = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (GREY.byte(), r"are torch.uint8; .* image\.float\(\) / 255"),
        (GREY.long(), "are torch.int64"),
        (GREY.numpy(), "are ndarray"),
        (GREY, "reach from 0.0.* to 25.*divided by 255"),
        (GREY / 255 - 0.5, "reach from -0.* nothing is normalised"),
        (GREY / 100, "give them in .0, 1."),
        (GREY * torch.nan, "reach from nan to nan"),
        (GREY[0] / 255, r"have shape \(3, 32, 32\)"),
        (GREY[:, :1] / 255, r"have shape \(2, 1, 32, 32\)"),
    ],
)
def test_images_in_another_unit_are_refused(image: Any, words: str) -> None:
    model = small().eval()
    with pytest.raises(BcadvError, match=words):
        model(image)


def test_noise_may_leave_the_box_in_training_and_where_it_is_said() -> None:
    noisy = GREY / 255 + 0.3
    model = small()
    with pytest.raises(BcadvError, match="uint8"):
        model.train()(GREY.byte())
    model.train()(noisy)
    model.eval()
    with model.beyond_box():
        assert torch.isfinite(model(noisy)).all()
        with pytest.raises(BcadvError, match="uint8"):
            model(GREY.byte())
    with pytest.raises(BcadvError, match="reach from"):
        model(noisy)
