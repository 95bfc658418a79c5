from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from bcadv.errors import BcadvError
from bcadv.perturb import FGSM, ThreatModel
from bcadv.perturb.loop import step
from tests.perturb.nets import CLASSES, LinearNet, batch, small_net

NORMS = [math.inf, 2.0]
RADIUS = {math.inf: 8 / 255, 2.0: 0.5}
every_norm = pytest.mark.parametrize("norm", NORMS)


def ours(
    model: nn.Module, image: Tensor, target: Tensor, norm: float, *, targeted: bool = False
) -> Tensor:
    return FGSM(ThreatModel(RADIUS[norm], norm), targeted=targeted)(model, image, target)


def clear_gradient(model: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    """Where a gradient is too far from zero for rounding to turn its sign."""
    point = image.clone().requires_grad_()
    functional.cross_entropy(model.eval()(point), target, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert point.grad is not None
    size = point.grad.abs()
    clear = size > 1e-5 * size.flatten(1).amax(1).reshape(-1, 1, 1, 1)
    assert clear.float().mean() > 0.99
    return clear


def linear_pair(seed: int, size: int = 3) -> tuple[LinearNet, Tensor, Tensor, Tensor]:
    """A two-class linear model, mid-grey images, targets, and the slope of each true margin."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    image = 0.3 + 0.4 * torch.rand(size, 3, 4, 4, generator=generator, dtype=torch.float64)
    target = torch.randint(2, (size,), generator=generator)
    return LinearNet(weight), image, target, weight[target] - weight[1 - target]


def margin(model: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    logits: Tensor = model(image).detach()
    row = torch.arange(len(image))
    return logits[row, target] - logits[row, 1 - target]


@pytest.mark.parametrize("targeted", [False, True])
def test_agrees_with_torchattacks(targeted: bool) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    model, (image, target) = small_net().eval(), batch(6)
    attack = torchattacks.FGSM(model, eps=RADIUS[math.inf])
    if targeted:
        attack.set_mode_targeted_by_function(lambda _, labels: labels)
    theirs = attack(image, target)
    clear = clear_gradient(model, image, target)
    mine = ours(model, image, target, math.inf, targeted=targeted)
    torch.testing.assert_close(mine[clear], theirs[clear], rtol=0, atol=1e-6)


@every_norm
def test_agrees_with_foolbox(norm: float) -> None:
    foolbox = pytest.importorskip("foolbox")
    model, (image, target) = small_net().eval(), batch(6)
    attacks = foolbox.attacks
    attack = {math.inf: attacks.LinfFastGradientAttack, 2.0: attacks.L2FastGradientAttack}[norm](
        random_start=False
    )
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    # As a criterion, or foolbox keeps images that are wrong already as they are.
    theirs = attack.run(
        wrapped, image, foolbox.criteria.Misclassification(target), epsilon=RADIUS[norm]
    )
    clear = clear_gradient(model, image, target)
    mine = ours(model, image, target, norm)
    torch.testing.assert_close(mine[clear], theirs[clear], rtol=0, atol=1e-6)


@every_norm
@pytest.mark.parametrize("targeted", [False, True])
def test_agrees_with_art(norm: float, targeted: bool) -> None:
    evasion = pytest.importorskip("art.attacks.evasion")
    estimators = pytest.importorskip("art.estimators.classification")
    model, (image, target) = small_net().eval(), batch(6)
    wrapped = estimators.PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(reduction="sum"),
        input_shape=(3, 8, 8),
        nb_classes=CLASSES,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = evasion.FastGradientMethod(
        wrapped, norm=norm, eps=RADIUS[norm], targeted=targeted, batch_size=6
    )
    labels = functional.one_hot(target, CLASSES).numpy()
    theirs = torch.from_numpy(attack.generate(image.numpy(), labels))
    clear = clear_gradient(model, image, target)
    mine = ours(model, image, target, norm, targeted=targeted)
    # ART adds 1e-7 to the length of the gradient.
    torch.testing.assert_close(mine[clear], theirs[clear], rtol=0, atol=2e-6)


@pytest.mark.parametrize(("norm", "dual"), [(math.inf, 1), (2.0, 2)])
@pytest.mark.parametrize("targeted", [False, True])
@given(seed=st.integers(0, 2**32 - 1), eps=st.floats(0.0, 0.25))
@settings(max_examples=20)
def test_a_linear_margin_moves_by_eps_times_the_dual_norm(
    norm: float, dual: int, targeted: bool, seed: int, eps: float
) -> None:
    model, image, target, slope = linear_pair(seed)
    attack = FGSM(ThreatModel(eps, norm), targeted=targeted)
    gained = margin(model, attack(model, image, target), target) - margin(model, image, target)
    sign = 1 if targeted else -1
    expected = [sign * eps * np.linalg.norm(one.numpy().ravel(), ord=dual) for one in slope]
    np.testing.assert_allclose(gained.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_the_step_is_cut_at_black_and_white() -> None:
    model, image, target, slope = linear_pair(0)
    image[0], image[1] = 0.0, 1.0
    found = FGSM(ThreatModel(0.05))(model, image, target)
    expected = np.clip(image.numpy() - 0.05 * np.sign(slope.numpy()), 0, 1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-15)
    assert (found[0] == 0).any()
    assert (found[1] == 1).any()


def test_other_bounds_are_kept() -> None:
    model, image, target, _ = linear_pair(0)
    image = image * 255
    found = FGSM(ThreatModel(200.0, bounds=(0.0, 255.0)))(model, image, target)
    assert found.min() == 0
    assert found.max() == 255


@every_norm
@given(seed=st.integers(0, 2**32 - 1), eps=st.floats(0.0, 1.0), size=st.integers(1, 4))
@settings(max_examples=15)
def test_each_image_stays_in_its_own_ball_and_in_the_box(
    norm: float, seed: int, eps: float, size: int
) -> None:
    image, target = batch(size, seed)
    found = FGSM(ThreatModel(eps, norm))(small_net(seed), image, target)
    assert found.min() >= 0
    assert found.max() <= 1
    moved = (found - image).double().flatten(1).numpy()
    for one in moved:
        assert np.linalg.norm(one, ord=norm) <= eps * (1 + 1e-5) + 2e-6


@every_norm
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(max_examples=15)
def test_an_image_does_not_see_its_neighbours(norm: float, seed: int, data: st.DataObject) -> None:
    model = small_net(seed, torch.float64)
    image, target = batch(5, seed, torch.float64)
    together = ours(model, image, target, norm)
    order = data.draw(st.permutations(range(5)))
    shuffled = ours(model, image[order], target[order], norm)
    # float64 and a smooth network: no pixel's gradient is near enough to zero to change its sign.
    torch.testing.assert_close(shuffled, together[order], rtol=0, atol=1e-12)
    for i in order[:2]:
        alone = ours(model, image[i : i + 1], target[i : i + 1], norm)
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-12)


def test_a_later_step_is_held_by_the_ball_around_the_origin() -> None:
    origin = torch.full((1, 3, 4, 4), 0.5)
    up = torch.ones_like(origin)
    found = step(ThreatModel(0.1), origin + 0.08, origin, up, 0.05)
    torch.testing.assert_close(found, origin + 0.1)
    torch.testing.assert_close(step(ThreatModel(0.2), origin + 0.08, origin, up, 0.05), up * 0.63)


def test_the_gradient_itself_does_not_shrink_with_the_batch() -> None:
    model, (image, target) = small_net(dtype=torch.float64).eval(), batch(4, dtype=torch.float64)
    attack = FGSM(ThreatModel(0.1))
    together, _ = attack._gradient(model, image, target)
    alone, _ = attack._gradient(model, image[:1], target[:1])
    torch.testing.assert_close(alone[0], together[0])


def test_the_euclidean_step_is_as_long_for_a_weak_gradient_as_for_a_strong_one() -> None:
    model, _, _, _ = linear_pair(0)
    image = torch.full((2, 3, 4, 4), 0.5, dtype=torch.float64)
    # The second image is classified with such confidence that its gradient is tiny.
    slope = (model.weight[0] - model.weight[1]).detach()
    image[1] += 0.45 * slope.sign()
    found = FGSM(ThreatModel(0.02, norm=2))(model, image, torch.zeros(2, dtype=torch.int64))
    lengths = (found - image).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((2,), 0.02, dtype=torch.float64))


@every_norm
@pytest.mark.parametrize("targeted", [False, True])
def test_a_sweep_equals_separate_calls_bit_for_bit_at_the_cost_of_one(
    norm: float, targeted: bool
) -> None:
    model, (image, target) = small_net().train(), batch(4)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    radii = [0.0, 0.25 / 255, 1 / 255, 8 / 255, 1.0]
    swept = FGSM(ThreatModel(0.5, norm), targeted=targeted).sweep(model, image, target, radii)
    assert len(calls) == 1
    for eps, found in zip(radii, swept.images, strict=True):
        alone = FGSM(ThreatModel(eps, norm), targeted=targeted)(model, image, target)
        assert torch.equal(found, alone)
    assert torch.equal(swept.images[0], image)
    assert swept.clean_logits is not None
    assert not swept.clean_logits.requires_grad
    torch.testing.assert_close(swept.clean_logits, model.eval()(image).detach())


def test_a_sweep_over_nothing_still_gives_the_clean_logits() -> None:
    swept = FGSM(ThreatModel(0.1)).sweep(small_net(), *batch(2), [])
    assert swept.images == []
    assert swept.clean_logits is not None


@every_norm
def test_a_vanished_gradient_leaves_the_image_alone(norm: float) -> None:
    model = LinearNet(torch.zeros(2, 3, 8, 8))
    image, target = batch(2)
    assert torch.equal(ours(model, image, target % 2, norm), image)


def test_another_loss_is_followed_instead() -> None:
    model, image, target, _ = linear_pair(0)

    def missing_logit(logits: Tensor, target: Tensor) -> Tensor:
        return -logits.gather(1, target[:, None])[:, 0]

    found = FGSM(ThreatModel(0.1), loss=missing_logit)(model, image, target)
    expected = image - 0.1 * model.weight.detach()[target].sign()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_default_loss_is_the_cross_entropy() -> None:
    image, target = batch(3)
    spelt_out = FGSM(ThreatModel(0.1), loss=partial(functional.cross_entropy, reduction="none"))
    assert torch.equal(
        spelt_out(small_net(), image, target), FGSM(ThreatModel(0.1))(small_net(), image, target)
    )


class Spoilt(nn.Module):
    """A model whose output is changed by the given function."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = small_net()
        self.change = change

    def forward(self, image: Tensor) -> Tensor:
        return self.change(self.net(image))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda logits: logits.detach(), "no gradient"),
        (lambda logits: logits[:, 0], r"one logit .*TwoClasses"),
        (lambda logits: logits[:, :1], r"one logit .*TwoClasses"),
        (lambda logits: logits[:1], r"shape \(1, 3\) for 2 images"),
        (lambda logits: logits[:, :2], "class 2 .* knows 2 classes"),
        (
            lambda logits: logits * torch.tensor([[1.0], [math.nan]]),
            "gradient of image 1 .* not finite .*nan",
        ),
    ],
)
def test_a_model_that_cannot_be_attacked_is_named(
    change: Callable[[Tensor], Tensor], named: str
) -> None:
    image, _ = batch(2)
    with pytest.raises(BcadvError, match=f"fgsm: .*{named}"):
        FGSM(ThreatModel(0.1))(Spoilt(change), image, torch.tensor([2, 0]))


def test_a_loss_averaged_over_the_batch_is_refused() -> None:
    averaging: Any = functional.cross_entropy
    with pytest.raises(BcadvError, match=r"shape \(\).*each image"):
        FGSM(ThreatModel(0.1), loss=averaging)(small_net(), *batch(2))
