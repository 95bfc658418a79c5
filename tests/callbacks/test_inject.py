"""Injection reaches training images, the chosen share of them, and nothing else."""

from __future__ import annotations

import math
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bcadv.callbacks.inject import NoiseInjection
from bcadv.errors import BcadvError
from bcadv.models.classifier import Classifier
from bcadv.perturb import FGSM, GaussianNoise, ThreatModel
from bcadv.typing import Batch


class Grey(Dataset[Batch]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, step: int) -> Batch:
        image = torch.full((4, 3, 32, 32), 0.3)
        return Batch(image, torch.tensor([0, 1, 0, 1]), torch.arange(4) + 4 * step)


class Spy(Classifier):
    """Remembers what each step was given."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(2, growth_rate=4, block_config=(2, 2), init_features=8)
        self.seen: dict[str, list[Tensor]] = {"train": [], "val": []}

    def _step(self, batch: Batch, part: str) -> Tensor:
        self.seen[part].append(batch.image.detach().clone())
        return super()._step(batch, part)


def train(callback: NoiseInjection, epochs: int = 1) -> Spy:
    model = Spy()
    fit(model, callback, epochs)
    return model


def fit(model: Classifier, callback: pl.Callback, epochs: int = 1) -> None:
    loader: Any = DataLoader(Grey(), batch_size=None)
    pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[callback],
    ).fit(model, loader, loader)


def test_training_images_get_the_noise_and_validation_images_none() -> None:
    noise = GaussianNoise(0.1, seed=3)
    model = train(NoiseInjection(noise))
    assert all(torch.equal(image, torch.full_like(image, 0.3)) for image in model.seen["val"])
    for step, image in enumerate(model.seen["train"]):
        batch = Grey()[step]
        expected = noise(model, batch.image, batch.target, index=batch.index, draw=0)
        assert torch.equal(image, expected)
        assert 0.09 < float((image - 0.3).std()) < 0.11


def test_each_epoch_draws_anew() -> None:
    seen = train(NoiseInjection(GaussianNoise(0.1)), epochs=2).seen["train"]
    assert not torch.equal(seen[0], seen[3])


def test_an_attack_can_be_injected_as_well() -> None:
    attack = FGSM(ThreatModel(eps=8 / 255, norm=math.inf))
    model = train(NoiseInjection(attack))
    for image in model.seen["train"]:
        moved = (image - 0.3).abs().amax((1, 2, 3))
        torch.testing.assert_close(moved, torch.full((4,), 8 / 255), atol=1e-6, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_the_share_of_images_is_the_probability(share: float) -> None:
    callback = NoiseInjection(GaussianNoise(0.1), share, seed=1)
    model = Spy()
    n = 2000
    batch = Batch(torch.zeros(n, 3, 2, 2), torch.zeros(n, dtype=torch.int64), torch.arange(n))
    given = batch.image
    callback.inject(model, batch, epoch=0)
    assert not given.any(), "the images of whoever made the batch stay as they are"
    touched = batch.image.abs().amax((1, 2, 3)) > 0
    assert abs(float(touched.float().mean()) - share) < 0.04


def test_the_choice_depends_on_seed_epoch_and_image_alone() -> None:
    callback = NoiseInjection(GaussianNoise(0.1), 0.5, seed=1)
    model = Spy()

    def injected(numbers: list[int], epoch: int) -> Tensor:
        target = torch.zeros(len(numbers), dtype=torch.int64)
        batch = Batch(torch.zeros(len(numbers), 3, 4, 4), target, torch.tensor(numbers))
        return callback.inject(model, batch, epoch).image

    whole = injected(list(range(40)), 5)
    torch.testing.assert_close(injected([7, 33, 2], 5), whole[[7, 33, 2]], rtol=0, atol=0)
    assert not torch.equal(injected(list(range(40)), 6), whole)


def test_a_probability_is_a_share() -> None:
    with pytest.raises(BcadvError, match=r"probability=1\.5"):
        NoiseInjection(GaussianNoise(0.1), 1.5)
