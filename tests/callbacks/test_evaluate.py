"""Clean and perturbed in one pass, under Lightning's own inference mode."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bcadv.callbacks.evaluate import RobustnessEvaluation, Trial
from bcadv.models.classifier import Classifier
from bcadv.perturb import FGSM, GaussianNoise, ThreatModel
from bcadv.typing import Batch

EPS_PX = (0.0, 2.0, 8.0)


class Images(Dataset[Batch]):
    """Twelve images, served in batches of the given size."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.image = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(5))
        self.target = torch.arange(12) % 2

    def __len__(self) -> int:
        return math.ceil(12 / self.size)

    def __getitem__(self, step: int) -> Batch:
        part = slice(step * self.size, (step + 1) * self.size)
        return Batch(self.image[part].clone(), self.target[part], torch.arange(12)[part] + 100)


class Counting(Classifier):
    """Counts the images that go through the network."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(2, growth_rate=4, block_config=(2, 2), init_features=8)
        # An untrained network's logits are huge, and a saturated softmax has no gradient.
        with torch.no_grad():
            self.net.net.classifier.weight.mul_(1e-3)
        self.images = 0

    def forward(self, image: Tensor) -> Tensor:
        self.images += len(image)
        return super().forward(image)


def trials() -> list[Trial]:
    attack = FGSM(ThreatModel(eps=0.0, norm=math.inf))
    noise = GaussianNoise(0.1, seed=9)
    return [
        Trial(attack, tuple(px / 255 for px in EPS_PX), math.inf, EPS_PX),
        Trial(noise, (0.1,), math.inf, (25.5,)),
    ]


def measured(size: int = 5, keep: tuple[int, ...] = ()) -> tuple[Counting, RobustnessEvaluation]:
    model = Counting()
    evaluation = RobustnessEvaluation(trials(), keep)
    run_test(model, evaluation, size)
    return model, evaluation


def run_test(model: Counting, evaluation: RobustnessEvaluation, size: int) -> None:
    loader: Any = DataLoader(Images(size), batch_size=None)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[evaluation],
    )
    trainer.test(model, loader, verbose=False)


def by_image(table: pd.DataFrame) -> pd.DataFrame:
    keys = ["perturbation", "eps_px", "index"]
    return table.sort_values(keys).reset_index(drop=True)


def test_every_image_has_a_row_for_clean_each_epsilon_and_noise() -> None:
    table = measured()[1].predictions()
    assert len(table) == 12 * (1 + len(EPS_PX) + 1)
    assert set(table["perturbation"]) == {"none", "fgsm", "gaussian"}
    assert sorted(table.loc[table["perturbation"] == "none", "index"]) == list(range(100, 112))
    np.testing.assert_allclose(table["p_0"] + table["p_1"], 1)
    assert (table["prediction"] == (table["p_1"] > table["p_0"]).astype(int)).all()


def test_predictions_are_those_of_an_independent_attack_image_by_image() -> None:
    model, evaluation = measured()
    table = evaluation.predictions().set_index(["perturbation", "eps_px", "index"])
    model.eval()
    source = Images(1)
    for i in range(12):
        image = source.image[i : i + 1].clone().requires_grad_()
        target = source.target[i : i + 1]
        loss = torch.nn.functional.cross_entropy(model.net(image), target)
        gradient = torch.autograd.grad(loss, image)[0]
        for px in EPS_PX:
            moved = (image + px / 255 * gradient.sign()).clamp(0, 1)
            expected = model.net(moved).softmax(1)[0, 1].item()
            found = table["p_1"].to_dict()["fgsm", px, 100 + i]
            assert abs(found - expected) < 1e-4


def test_one_gradient_pass_serves_the_clean_logits_and_every_epsilon() -> None:
    model, _ = measured()
    # The gradient pass, two epsilons above zero, the noise: nothing twice.
    assert model.images == 12 * (1 + 2 + 1)


def test_results_do_not_depend_on_the_batch_size() -> None:
    small = by_image(measured(size=1)[1].predictions())
    large = by_image(measured(size=12)[1].predictions())
    np.testing.assert_allclose(small["p_1"], large["p_1"], atol=1e-4)
    np.testing.assert_allclose(small["size"], large["size"], atol=1e-6)


def test_the_size_of_the_perturbation_is_measured() -> None:
    table = measured()[1].predictions()
    attacked = table[table["perturbation"] == "fgsm"]
    assert (attacked["size"] <= attacked["eps"] + 1e-6).all()
    assert (attacked["size"] >= attacked["eps"] * 0.99).all()
    assert (table.loc[table["perturbation"] == "none", "size"] == 0).all()


def test_strength_zero_is_the_clean_image() -> None:
    table = measured()[1].predictions()
    clean = table[table["perturbation"] == "none"].set_index("index")["p_1"]
    zero = table[(table["perturbation"] == "fgsm") & (table["eps"] == 0)].set_index("index")["p_1"]
    assert (clean == zero).all()


def test_a_second_pass_starts_anew() -> None:
    model, evaluation = measured()
    first = len(evaluation.predictions())
    run_test(model, evaluation, 4)
    assert len(evaluation.predictions()) == first


def test_examples_are_the_images_asked_for() -> None:
    examples = measured(keep=(103, 101))[1].examples()
    assert examples.index.tolist() == [101, 103]
    assert examples.target.tolist() == [1, 1]
    np.testing.assert_array_equal(examples.image, Images(1).image[[1, 3]].numpy())
    moved = examples.perturbed["fgsm", 8.0] - examples.image
    assert np.abs(moved).max() <= 8 / 255 + 1e-6
    assert examples.probability["none", 0.0].shape == (2, 2)
