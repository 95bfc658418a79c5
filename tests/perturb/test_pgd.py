"""PGD against closed forms, against two independent libraries, and at several strengths."""

from __future__ import annotations

import math
from typing import Any

import foolbox
import pytest
import torch
import torchattacks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb import FGSM, PGD, ThreatModel
from tests.perturb.nets import CLASSES, LinearNet, batch, small_net

NORMS = [math.inf, 2.0]
GRID = {
    math.inf: [px / 255 for px in (0, 2, 4, 8, 12, 16, 20, 24, 48)],
    2.0: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8],
}
every_norm = pytest.mark.parametrize("norm", NORMS)


def right(model: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    """Which images a model has right."""
    with torch.no_grad():
        found: Tensor = model(image).argmax(1) == target
    return found


def linear(seed: int, n: int = 12) -> tuple[LinearNet, Tensor, Tensor, Tensor]:
    """A two-class linear model, mid-grey images, what it calls them, and each one's lead."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    image = 0.4 + 0.2 * torch.rand(n, 3, 4, 4, generator=generator, dtype=torch.float64)
    model = LinearNet(weight)
    with torch.no_grad():
        logits = model(image)
    target = logits.argmax(1)
    return model, image, target, (logits[:, 0] - logits[:, 1]).abs()


@pytest.mark.parametrize(("norm", "dual"), [(math.inf, 1), (2.0, 2)])
@given(seed=st.integers(0, 2**32 - 1), random_start=st.booleans())
@settings(max_examples=15)
def test_on_a_linear_model_the_smallest_radius_is_lead_over_dual_norm(
    norm: float, dual: int, seed: int, random_start: bool
) -> None:
    model, image, target, lead = linear(seed)
    slope = (model.weight[0] - model.weight[1]).detach().flatten()
    for i in range(len(image)):
        exact = float(lead[i] / torch.linalg.vector_norm(slope, dual))
        if exact > 0.3:  # the box would cut in
            continue
        one, its = image[i : i + 1], target[i : i + 1]
        for share, stands in ((0.98, True), (1.04, False)):
            attack = PGD(ThreatModel(share * exact, norm), steps=40, random_start=random_start)
            assert bool(right(model, attack(model, one, its), its)) == stands


@every_norm
def test_a_sweep_on_a_linear_model_finds_the_closed_form_at_each_radius(norm: float) -> None:
    model, image, target, lead = linear(3, n=40)
    dual = 1 if norm == math.inf else 2
    slope = (model.weight[0] - model.weight[1]).detach().flatten()
    exact = lead / torch.linalg.vector_norm(slope, dual)
    radii = [0.0, *torch.linspace(float(exact.min()), float(exact.max()), 7).tolist()[1:-1]]
    attack = PGD(ThreatModel(0.0, norm), steps=40)
    sweep = attack.sweep(model, image, target, radii[::-1])
    for eps, found in zip(radii[::-1], sweep.images, strict=True):
        clear = (exact - eps).abs() > 0.04 * exact
        assert torch.equal(right(model, found, target)[clear], (exact > eps)[clear])


def trained(seed: int = 1) -> tuple[nn.Module, Tensor, Tensor]:
    """A small smooth network that has learnt some images, which then can be lost.

    Trained in float64, so that it is the same network on every processor.
    """
    image, target = batch(48, seed)
    model = small_net(seed, torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model.train()(image.double()), target).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    model.float().eval()
    assert right(model, image, target).float().mean() > 0.9
    return model, image, target


def robust(model: nn.Module, images: list[Tensor], target: Tensor) -> list[int]:
    return [int(right(model, image, target).sum()) for image in images]


SEEDS = (1, 2, 3)


def no_weaker(found: list[list[int]], other: list[list[int]]) -> None:
    """One image at one radius may be luck of the starting point; whole curves are not."""
    assert sum(map(sum, found)) <= 1.005 * sum(map(sum, other)), (found, other)
    for one, two in zip(found, other, strict=True):
        assert all(a <= b + 1 for a, b in zip(one, two, strict=True)), (found, other)


def curves(norm: float) -> tuple[list[list[int]], list[tuple[nn.Module, Tensor, Tensor]]]:
    """Images that our attack leaves standing at each radius, and the models."""
    models = [trained(seed) for seed in SEEDS]
    attack = PGD(ThreatModel(0.0, norm), steps=20)
    found = [robust(m, attack.sweep(m, x, y, GRID[norm]).images, y) for m, x, y in models]
    assert all(curve[0] > 40 and curve[-1] < 10 for curve in found)
    return found, models


@every_norm
def test_it_leaves_no_more_standing_than_foolbox(norm: float) -> None:
    found, models = curves(norm)
    kind = {math.inf: foolbox.attacks.LinfPGD, 2.0: foolbox.attacks.L2PGD}[norm]
    attack = kind(steps=20, rel_stepsize=2.5 / 20, random_start=True)
    other = []
    for model, image, target in models:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        torch.manual_seed(0)
        other.append(robust(model, attack(wrapped, image, target, epsilons=GRID[norm])[1], target))
    no_weaker(found, other)


@every_norm
def test_it_leaves_no_more_standing_than_torchattacks(norm: float) -> None:
    found, models = curves(norm)
    kind = {math.inf: torchattacks.PGD, 2.0: torchattacks.PGDL2}[norm]
    other = []
    for model, image, target in models:
        torch.manual_seed(0)
        attacks = [kind(model, eps=e, alpha=2.5 * e / 20, steps=20) for e in GRID[norm][1:]]
        moved = [image, *(attack(image, target) for attack in attacks)]
        other.append(robust(model, moved, target))
    no_weaker(found, other)


@every_norm
def test_a_sweep_leaves_no_more_standing_than_attacks_one_by_one(norm: float) -> None:
    model, image, target = trained(2)
    attack = PGD(ThreatModel(0.0, norm), steps=20, seed=3)
    together = robust(model, attack.sweep(model, image, target, GRID[norm]).images, target)
    alone = robust(
        model, [attack.with_strength(e)(model, image, target) for e in GRID[norm]], target
    )
    # An image that resists at a larger radius counts as standing at a smaller one.
    assert all(a <= b + 1 for a, b in zip(together, alone, strict=True)), (together, alone)
    assert sum(together) <= sum(alone)
    assert together == sorted(together, reverse=True)


@every_norm
def test_it_beats_one_step_and_costs_less_than_an_attack_per_radius(norm: float) -> None:
    model, image, target = trained(2)
    sweep = PGD(ThreatModel(0.0, norm), steps=20).sweep(model, image, target, GRID[norm])
    one_step = FGSM(ThreatModel(0.0, norm)).sweep(model, image, target, GRID[norm])
    many, single = robust(model, sweep.images, target), robust(model, one_step.images, target)
    assert all(a <= b for a, b in zip(many, single, strict=True))
    assert sum(many) < sum(single)
    assert sweep.gradients is not None
    radii = len(GRID[norm]) - 1
    assert float(sweep.gradients.double().mean()) < 20 * radii / 5
    assert int(sweep.gradients.min()) >= 1


@every_norm
def test_an_image_that_stands_was_attacked_with_all_steps_of_all_restarts(norm: float) -> None:
    model, image, target = trained()
    attack = PGD(ThreatModel(GRID[norm][1] / 10, norm), steps=7, restarts=3)
    sweep = attack.sweep(model, image, target, [attack.strength])
    stands = right(model, sweep.images[0], target)
    assert sweep.gradients is not None
    assert bool((sweep.gradients[stands] == 1 + 3 * 7).all())
    assert stands.sum() > 40


def test_more_restarts_break_no_fewer() -> None:
    model, image, target = trained()
    broken = []
    for restarts in (1, 5):
        attack = PGD(ThreatModel(2 / 255), steps=4, restarts=restarts)
        broken.append(~right(model, attack(model, image, target), target))
    assert bool((broken[0] <= broken[1]).all())


def test_a_lead_that_blinds_cross_entropy_does_not_blind_it() -> None:
    """Logits a thousand times as large have the same decisions and no gradient of cross entropy."""
    model, image, target = trained()

    class Sharp(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = model(x) * 1000
            return logits

    attack = PGD(ThreatModel(0.0), steps=20)
    plain = robust(model, attack.sweep(model, image, target, GRID[math.inf]).images, target)
    sharp = robust(
        Sharp().eval(), attack.sweep(Sharp(), image, target, GRID[math.inf]).images, target
    )
    assert max(abs(a - b) for a, b in zip(plain, sharp, strict=True)) <= 1


def test_the_best_point_is_returned_and_not_the_last() -> None:
    """A valley that a long step jumps over: right on both sides, wrong in between."""

    class Valley(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            away = (x.mean((1, 2, 3)) - 0.5).abs() * 100 - 1
            return torch.stack([away, torch.zeros_like(away)], 1)

    image = torch.full((1, 3, 4, 4), 0.45)
    target = torch.zeros(1, dtype=torch.int64)
    attack = PGD(ThreatModel(0.2), steps=9, step_size=0.25, random_start=False)
    found = attack(Valley(), image, target)
    assert not right(Valley(), found, target)[0]
    assert abs(float(found.mean()) - 0.5) < 0.01


def test_targeted_it_goes_where_it_is_told() -> None:
    model, image, target = trained()
    aim = (target + 1) % CLASSES
    found = PGD(ThreatModel(64 / 255), steps=30, targeted=True)(model, image, aim)
    with torch.no_grad():
        assert (model(found).argmax(1) == aim).float().mean() > 0.9


def test_where_an_image_starts_depends_on_seed_draw_and_number_alone() -> None:
    model, (image, target) = small_net().eval(), batch(4)
    threat = ThreatModel(0.01)

    def found(seed: int = 0, draw: int = 0, index: tuple[int, ...] = (5, 6, 7, 8)) -> Tensor:
        attack = PGD(threat, steps=1, step_size=1e-6, seed=seed)
        return attack(model, image, target, index=torch.tensor(index), draw=draw)

    same = found()
    assert torch.equal(found(), same)
    for other in (found(seed=1), found(draw=1), found(index=(15, 16, 17, 18))):
        assert not torch.allclose(other, same, atol=1e-4)
    torch.testing.assert_close(found(index=(9, 6, 9, 9))[1], same[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"steps": True}, "steps is True"),
        ({"restarts": 0}, "restarts is 0"),
        ({"step_size": 0}, "step_size is 0"),
        ({"step_size": math.nan}, "step_size is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"loss": "cross_entropy"}, "loss is 'cross_entropy'"),
        ({"threat": 8 / 255}, "ThreatModel.eps=8 / 255"),
    ],
)
def test_impossible_options_are_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BcadvError, match=said):
        PGD(**({"threat": ThreatModel(0.1)} | options))
