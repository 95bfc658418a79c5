"""Attacks that look in bfloat16 find what the exact model confirms, and no less than is needed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bcadv.perturb import APGD, FGSM, FMN, PGD, ThreatModel
from bcadv.perturb.attack import AdversarialAttack
from bcadv.perturb.attacks.square import Square
from bcadv.perturb.precision import LowPrecision
from tests.perturb.nets import batch, small_net
from tests.perturb.truth import digits, linear

RADII = [n / 255 for n in (4, 8, 12, 16, 24, 32)]
EVERY = [
    PGD(ThreatModel(0.0)),
    APGD(ThreatModel(0.0), steps=30, restarts=2),
    FMN(ThreatModel(0.0), steps=100),
    Square(ThreatModel(0.0), queries=200),
]
every = pytest.mark.parametrize("attack", EVERY, ids=lambda attack: attack.name)


class Liar(LowPrecision):
    """Says of every image that it is of the other class."""

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.exact(image)
        return logits.flip(1)


def right(model: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    with torch.no_grad():
        answer: Tensor = model(image).argmax(1)
    return answer == target


def test_only_the_layers_between_the_first_and_the_last_are_in_bfloat16() -> None:
    net, kinds = small_net().eval(), []
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda _, __, out: kinds.append(out.dtype))
    image, _ = batch(4)
    low = LowPrecision(net)
    answer = low(image)
    assert isinstance(answer, Tensor)
    assert kinds == [torch.float32, torch.bfloat16, torch.float32]
    assert answer.dtype == torch.float32
    assert not answer.equal(net(image))
    torch.testing.assert_close(answer, net(image), rtol=0.05, atol=0.05)
    kinds.clear()
    net(image)
    assert set(kinds) == {torch.float32}, "the model itself is as it was"


def test_maps_between_the_ends_are_in_bfloat16_and_those_before_the_first_layer_exact() -> None:
    """A map in float32 would turn all that it is joined with into float32."""
    net = nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4, affine=False),
        nn.Flatten(),
        nn.Linear(64, 2),
    ).eval()
    kinds = []
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(lambda _, __, out: kinds.append(out.dtype))
    image, _ = batch(4)
    with torch.inference_mode():
        low = LowPrecision(net)
    with torch.inference_mode(False):
        point = image.clone().requires_grad_()
        answer = low(point)
        assert isinstance(answer, Tensor)
        [gradient] = torch.autograd.grad(answer.sum(), point)
    assert kinds == [torch.float32, torch.bfloat16, torch.bfloat16]
    torch.testing.assert_close(answer, net(image), rtol=0.05, atol=0.05)
    exact = image.clone().requires_grad_()
    [slope] = torch.autograd.grad(net(exact).sum(), exact)
    assert float((gradient - slope).norm() / slope.norm()) < 0.1
    net.train()
    net(image)
    before = [layer.running_mean.clone() for layer in net if isinstance(layer, nn.BatchNorm2d)]  # type: ignore[union-attr]
    LowPrecision(net.eval())(image)
    after = [layer.running_mean for layer in net if isinstance(layer, nn.BatchNorm2d)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True) if b is not None)


def test_a_layer_with_a_forward_of_its_own_keeps_it() -> None:
    net, asked = small_net().eval(), []
    plain = [layer.forward for layer in net]
    for number, layer in enumerate(net):

        def forward(value: Tensor, number: int = number) -> object:
            asked.append(number)
            return plain[number](value)

        layer.forward = forward
    image, _ = batch(2)
    low = LowPrecision(net)
    low(image)
    assert asked == list(range(len(net)))
    net(image)
    assert asked == 2 * list(range(len(net)))


@every
@pytest.mark.parametrize("net", ["two"])
def test_what_is_broken_is_broken_in_full_and_not_nearer_than_was_proved(
    attack: AdversarialAttack, net: str
) -> None:
    case = digits.load(net, torch.float32)
    found = attack.sweep(LowPrecision(case.model), case.image, case.target, RADII)
    assert found.distance is not None
    assert bool((found.distance >= case.lower - 1e-6).all())
    for eps, image in zip(RADII, found.images, strict=True):
        broken = found.distance <= eps * (1 + 1e-5)
        assert not bool(right(case.model, image[broken], case.target[broken]).any())


@every
def test_robust_accuracy_is_that_of_an_attack_in_full_or_little_above(
    attack: AdversarialAttack,
) -> None:
    case = digits.load("two", torch.float32)
    left = []
    for model in (case.model, LowPrecision(case.model)):
        images = attack.sweep(model, case.image, case.target, RADII).images
        left.append([right(case.model, image, case.target).double().mean() for image in images])
    gap = [low - full for full, low in zip(*left, strict=True)]
    assert max(gap) <= 2 / len(case.image)
    assert len({float(share) for share in left[1]}) > 2, "the strengths tell images apart"


@pytest.mark.parametrize("attack", [EVERY[0], EVERY[2], EVERY[3]], ids=["pgd", "fmn", "square"])
def test_what_only_the_low_precision_claims_does_not_count(attack: AdversarialAttack) -> None:
    case = linear.case(0, dtype=torch.float32)
    found = attack.sweep(Liar(case.model), case.image, case.target, [1e-4, 2e-4])
    exact = linear.distance(case.model, case.image, case.target, torch.inf)
    assert bool((exact > 2e-4).all())
    assert found.distance is not None
    assert not bool((found.distance <= 2e-4).any())
    assert found.clean_logits is not None
    assert found.clean_logits.equal(case.model(case.image))


def test_where_an_attack_fails_in_low_precision_its_best_point_is_tried_in_full() -> None:
    case = linear.case(0, dtype=torch.float32)
    own = case.target == 0  # the class that is denied stays the same on the way

    class Denies(LowPrecision):
        def forward(self, image: Tensor) -> Tensor:
            logits: Tensor = self.exact(image)
            return logits - torch.tensor([0.0, 1e4])

    exact = linear.distance(case.model, case.image, case.target, torch.inf)[own]
    eps = 1.1 * exact.max().item()
    found = PGD(ThreatModel(0.0)).sweep(
        Denies(case.model), case.image[own], case.target[own], [eps]
    )
    assert not bool(right(case.model, found.images[0], case.target[own]).any())
    assert found.distance is not None
    assert bool(found.distance.isfinite().all())


def test_the_answers_to_the_clean_images_are_exact() -> None:
    net = small_net().eval()
    image, target = batch(8)
    found = PGD(ThreatModel(0.0)).sweep(LowPrecision(net), image, target, [1e-3])
    assert found.clean_logits is not None
    torch.testing.assert_close(found.clean_logits, net(image), rtol=0, atol=1e-6)
    one = FGSM(ThreatModel(0.0)).sweep(net, image, target, [1e-3])
    assert one.clean_logits is not None
    assert one.clean_logits.argmax(1).equal(found.clean_logits.argmax(1))
