"""Clean and perturbed in one pass, under Lightning's own inference mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bcadv.callbacks.evaluate import Answers, RobustnessEvaluation, Trial
from bcadv.models.classifier import Classifier
from bcadv.perturb import FGSM, PGD, GaussianNoise, RandomNoise, ThreatModel
from bcadv.perturb.base import Sweep
from bcadv.results.condition import CLEAN, REPEATED
from bcadv.typing import Batch
from tests.metrics.tables import fgsm, gaussian, pgd

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


class Kept:
    """Keeps the answers by condition and image."""

    def __init__(self, done: Sequence[int] = ()) -> None:
        self.done = set(done)
        self.batches: dict[int, Sequence[Answers]] = {}

    def has(self, batch: int, piece: int) -> bool:
        return batch in self.done

    def write(self, batch: int, piece: int, answers: Sequence[Answers]) -> None:
        self.batches[batch] = [*self.batches.get(batch, ()), *answers]

    def keeper(self, batch: int, piece: int) -> None:
        """Nothing is kept of an attack under way."""

    def table(self) -> dict[tuple[str, int], tuple[int, int, float, float]]:
        """(condition, image) -> target, prediction, size and probability of class 1."""
        return {
            (a.condition.id, int(a.index[i])): (
                int(a.target[i]),
                int(a.prediction[i]),
                float(a.size[i]),
                float(a.probability[i, 1]),
            )
            for answers in self.batches.values()
            for a in answers
            for i in range(len(a.index))
        }


def trials() -> list[Trial]:
    attack = FGSM(ThreatModel(eps=0.0, norm=math.inf))
    return [
        Trial(attack, tuple(map(fgsm, EPS_PX))),
        Trial(GaussianNoise(0.1, seed=9), (gaussian(0.1),)),
    ]


def measured(
    size: int = 5, tried: Sequence[Trial] | None = None, *, done: Sequence[int] = (), **more: Any
) -> tuple[Counting, Kept]:
    model, kept = Counting(), Kept(done)
    tried = trials() if tried is None else tried
    evaluation = RobustnessEvaluation(model.task, tried, kept, **more)
    loader: Any = DataLoader(Images(size), batch_size=None)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[evaluation],
    )
    trainer.test(model, loader, verbose=False)
    return model, kept


def test_every_image_is_answered_clean_at_each_epsilon_and_under_noise() -> None:
    table = measured()[1].table()
    conditions = {CLEAN.id, gaussian(0.1).id, *(fgsm(px).id for px in EPS_PX)}
    assert set(table) == {(name, i) for name in conditions for i in range(100, 112)}
    assert all(prediction == (p > 0.5) for _, prediction, _, p in table.values())


def test_answers_are_those_of_an_independent_attack_image_by_image() -> None:
    model, kept = measured()
    table = kept.table()
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
            assert abs(table[fgsm(px).id, 100 + i][3] - expected) < 1e-4


def test_one_gradient_pass_serves_the_clean_logits_and_every_epsilon() -> None:
    model, _ = measured()
    # The gradient pass, three epsilons (0 is answered anew), the noise: nothing twice.
    assert model.images == 12 * (1 + 3 + 1)


def test_a_repeated_clean_pass_is_asked_for_where_no_trial_has_strength_zero() -> None:
    model, kept = measured(tried=[Trial(trials()[0].perturbation, (fgsm(2),))], repeat=True)
    assert model.images == 12 * (1 + 1 + 1)
    names = [a.condition for a in kept.batches[0]]
    assert names == [CLEAN, REPEATED, fgsm(2)]


def test_answers_do_not_depend_on_the_batch_size() -> None:
    small, large = measured(size=1)[1].table(), measured(size=12)[1].table()
    assert small.keys() == large.keys()
    for key, (_, _, size, p) in small.items():
        assert abs(p - large[key][3]) < 1e-4
        assert abs(size - large[key][2]) < 1e-6


def test_the_size_of_the_perturbation_is_measured_in_its_norm() -> None:
    tried = [
        Trial(FGSM(ThreatModel(0.0, math.inf)), (fgsm(8),)),
        Trial(PGD(ThreatModel(0.0, 2), steps=3), (pgd(0.5, "2"),)),
    ]
    table = measured(tried=tried)[1].table()
    for i in range(100, 112):
        assert table[CLEAN.id, i][2] == 0
        assert 0.99 * 8 / 255 <= table[fgsm(8).id, i][2] <= 8 / 255 + 1e-6
        assert table[pgd(0.5, "2").id, i][2] <= 0.5 + 1e-4


def test_a_batch_that_was_answered_before_is_not_attacked_again() -> None:
    model, kept = measured(done=[0, 2])
    assert list(kept.batches) == [1]
    assert model.images == 5 * (1 + 3 + 1)


class Watching:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []

    def begun(self, batch: int, trial: Trial | None) -> None:
        self.told.append((batch, "clean" if trial is None else trial.conditions[0].name))

    def ended(self, batch: int, *, measured: bool) -> None:
        self.told.append((batch, "measured" if measured else "known"))


def test_a_watcher_is_told_of_every_batch() -> None:
    watching = Watching()
    names = [trial.conditions[0].name for trial in trials()]
    measured(done=[1], watcher=watching)
    whole = [*names, "measured"]
    assert watching.told == [
        *((0, what) for what in whole),
        (1, "known"),
        *((2, what) for what in whole),
    ]


def test_nothing_to_try_still_answers_the_clean_images() -> None:
    kept = measured(tried=[], repeat=True)[1]
    assert [a.condition for a in kept.batches[0]] == [CLEAN, REPEATED]


class Random(Counting):
    """Answers differently each time."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image) + torch.randn(len(image), 2) * 5


def test_a_model_with_random_answers_gives_other_ones_at_strength_zero() -> None:
    model, kept = Random(), Kept()
    evaluation = RobustnessEvaluation(model.task, trials(), kept)
    batch = Images(12)[0]
    kept.write(0, 0, list(evaluation.measure(model, batch, evaluation.trials[0])))
    table = kept.table()
    clean, zero = (
        np.array([table[name, i][3] for i in range(100, 112)]) for name in (CLEAN.id, fgsm(0).id)
    )
    assert not np.allclose(clean, zero, atol=1e-2)


def test_attacks_of_several_steps_alone_look_in_low_precision() -> None:
    tried = [
        Trial(FGSM(ThreatModel(eps=0.0)), tuple(map(fgsm, EPS_PX))),
        Trial(PGD(ThreatModel(eps=0.0), steps=3), tuple(map(pgd, EPS_PX))),
    ]
    seen: list[set[bool]] = []

    class Watching(Kept):
        def write(self, batch: int, piece: int, answers: Sequence[Answers]) -> None:
            seen.append(set(model.reduced))
            model.reduced.clear()
            super().write(batch, piece, answers)

    class Model(Counting):
        reduced: list[bool]

        def forward(self, image: Tensor) -> Tensor:
            if image.requires_grad:
                self.reduced.append(torch.is_autocast_enabled("cpu"))
            return super().forward(image)

    for low in (False, True):
        model, kept = Model(), Watching()
        model.reduced = []
        evaluation = RobustnessEvaluation(model.task, tried, kept, low_precision=low)
        batch = Images(12)[0]
        for piece, trial in enumerate(tried):
            kept.write(0, piece, list(evaluation.measure(model, batch, trial)))
    assert seen == [{False}, {False}, {False}, {True}]


def test_the_queries_after_which_an_image_broke_are_handed_on() -> None:
    attack = RandomNoise(ThreatModel(eps=0.0, norm=math.inf), draws=4, seed=3)
    conditions = tuple(map(fgsm, (8.0, 0.0, 64.0)))
    model, kept = measured(size=12, tried=[Trial(attack, conditions)])
    images = Images(12)
    sweep = attack.sweep(
        model,
        images.image,
        images.target,
        [c.size for c in conditions],
        index=torch.arange(12) + 100,
    )
    assert sweep.broken_after is not None
    found = [a for a in kept.batches[0] if a.condition in conditions]
    for number, of in enumerate(found):
        assert of.cost.broken_after is not None
        assert of.cost.broken_after.tolist() == sweep.broken_after[:, number].tolist()
        assert np.array_equal(of.cost.broken_after > 0, of.prediction != of.target)
    assert 0 < int((sweep.broken_after > 0).sum()) < sweep.broken_after.numel()
    clean = next(a for a in kept.batches[0] if a.condition == CLEAN)
    assert clean.cost.broken_after is None


def test_of_an_aimed_attack_images_it_is_not_after_were_never_broken() -> None:
    attack = RandomNoise(ThreatModel(eps=0.0, norm=math.inf), targeted=True, draws=4)
    conditions = tuple(map(fgsm, (8.0, 64.0)))
    model, kept = measured(size=12, tried=[Trial(attack, conditions, wanted=0)])
    images = Images(12)
    rows = (images.target != 0).nonzero()[:, 0]
    wanted = torch.zeros(len(rows), dtype=torch.int64)
    sizes = [c.size for c in conditions]
    sweep = attack.sweep(model, images.image[rows], wanted, sizes, index=rows + 100)
    assert sweep.broken_after is not None
    expected = torch.full((12, 2), -1)
    expected[rows] = sweep.broken_after
    found = [a.cost.broken_after for a in kept.batches[0] if a.condition in conditions]
    assert [of.tolist() for of in found if of is not None] == expected.T.tolist()
    assert bool((expected > 0).any())


@pytest.mark.parametrize(("steps", "kept"), [(20, True), (None, True), (1, False)])
def test_what_breaks_an_image_at_one_strength_counts_at_larger_ones(
    steps: int | None, kept: bool
) -> None:
    """Whether it was found by the attack or by chance; a single step has no such promise."""

    class Dark(GaussianNoise):
        """Breaks images at 2/255 alone."""

        def _sweep(self, model: Any, image: Tensor, *others: Any, **more: Any) -> Sweep:
            black = torch.zeros_like(image)
            return Sweep([image, black, image])

        def _verify(self, *args: Any) -> None:
            """Black images lie in no small ball."""

    class Bright(Counting):
        def forward(self, image: Tensor) -> Tensor:
            dark = (image.flatten(1).sum(1) == 0).float()
            right = torch.zeros(len(image), 2)
            right[:, 0] = dark
            right[:, 1] = 1 - dark
            return right

    conditions = tuple(pgd(eps).model_copy(update={"steps": steps}) for eps in (0.0, 2.0, 8.0))
    trial = Trial(Dark(0.1), conditions)
    model, kept_by = Bright(), Kept()
    evaluation = RobustnessEvaluation(model.task, [trial], kept_by)
    batch = Images(12)[0]
    answers = list(evaluation.measure(model.eval(), batch, trial, None))[-3:]
    assert [a.condition.strength for a in answers] == [0.0, 2.0, 8.0]
    sick = batch.target.numpy() == 1
    wrong = [a.prediction[sick] != 1 for a in answers]
    assert not wrong[0].any()
    assert wrong[1].all()
    assert wrong[2].all() == kept
    assert wrong[2].any() == kept
