"""The one-step and momentum attacks against torchattacks and against closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn
from torch.nn import functional

from bcadv.errors import BcadvError
from bcadv.perturb import BIM, DIFGSM, FGSM, MIFGSM, NIFGSM, RFGSM, TIFGSM, ThreatModel
from bcadv.perturb.attacks.difgsm import resized
from bcadv.perturb.loop import GradientAttack
from tests.perturb.nets import LinearNet, batch, small_net
from tests.perturb.test_pgd import right, robust, trained

pytestmark = pytest.mark.long

EPS, STEPS = 2 / 255, 7
ALPHA = EPS / STEPS
MOMENTUM = {"eps": EPS, "alpha": ALPHA, "steps": STEPS, "decay": 0.9}


def standing() -> tuple[nn.Module, Tensor, Tensor]:
    """A float64 model and images that so small a radius does not break."""
    model, image, target = trained(2)
    model, image = model.double(), image.double()
    found = MIFGSM(ThreatModel(EPS), steps=STEPS)(model, image, target)
    stands = right(model, found, target)
    assert int(stands.sum()) > 30
    return model, image[stands], target[stands]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (MIFGSM(ThreatModel(EPS), steps=STEPS, momentum=0.9), (torchattacks.MIFGSM, {})),
        (NIFGSM(ThreatModel(EPS), steps=STEPS, momentum=0.9), (torchattacks.NIFGSM, {})),
        (
            TIFGSM(ThreatModel(EPS), steps=STEPS, momentum=0.9, kernel=5),
            (torchattacks.TIFGSM, {"len_kernel": 5, "diversity_prob": 0.0}),
        ),
        (BIM(ThreatModel(EPS), steps=STEPS), (torchattacks.BIM, {"decay": None})),
    ],
    ids=["mi", "ni", "ti", "bim"],
)
def test_where_nothing_breaks_they_end_where_torchattacks_does(
    ours: GradientAttack, theirs: tuple[Any, dict[str, Any]]
) -> None:
    model, image, target = standing()
    kind, more = theirs
    settings = {key: value for key, value in (MOMENTUM | more).items() if value is not None}
    other = kind(model, **settings)
    if "len_kernel" in more:
        other.stacked_kernel = other.stacked_kernel.double()
    expected = other(image.clone(), target)
    found = ours(model, image, target)
    same = ((found - expected).abs() < 1e-9).flatten(1)
    # The best point counts, and an image's last step need not be its best.
    assert float(same.all(1).double().mean()) > 0.9, same.double().mean(1)


def test_in_scale_invariance_the_copies_are_weighted_by_the_chain_rule() -> None:
    """On a linear model every copy has the same slope, so the mean is half of what it was."""
    generator = torch.Generator().manual_seed(0)
    model = LinearNet(torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)).eval()
    image, _ = batch(4, dtype=torch.float64)
    target = model(image).argmax(1)
    one = NIFGSM(ThreatModel(0.001), steps=3)(model, image, target)
    many = NIFGSM(ThreatModel(0.001), steps=3, scales=4)(model, image, target)
    torch.testing.assert_close(many, one)
    sweep = NIFGSM(ThreatModel(0.0), steps=3, scales=4).sweep(model, image, target, [1e-6])
    assert sweep.gradients is not None
    assert sweep.gradients.tolist() == [1 + 3 * 4] * 4


@pytest.mark.parametrize(("size", "place"), [(8, 0), (7, 1), (6, 0), (5, 2)])
def test_a_resized_line_is_what_interpolation_and_padding_make(size: int, place: int) -> None:
    image = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    small = functional.interpolate(image, size=(size, size), mode="bilinear", align_corners=False)
    rest = 8 - size - place
    expected = functional.pad(small, (place, rest, place, rest))
    kind = resized(8, size, place)
    torch.testing.assert_close(kind @ image @ kind.T, expected)


def test_input_diversity_takes_the_gradient_of_the_copy() -> None:
    """What the attack follows is the derivative of the model after its own resizing."""
    model, image, target = standing()
    attack = DIFGSM(ThreatModel(EPS), steps=1, probability=1.0, smallest=0.5, seed=3)
    maps = attack._places([(3, 0, number, 0) for number in range(len(image))], image)
    across, down = maps
    point = image.clone().requires_grad_()
    functional.cross_entropy(model(down @ point @ across.mT), target, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert point.grad is not None
    expected = (image + EPS * point.grad.sign()).clamp(0, 1)
    found = attack(model, image, target)
    # An image that the step leads astray comes back as it was.
    moved = (found != image).flatten(1).any(1)
    assert int(moved.sum()) > 10
    torch.testing.assert_close(found[moved], expected[moved])
    assert len({tuple(kind.flatten().tolist()) for kind in across}) > 3
    none = DIFGSM(ThreatModel(EPS), steps=STEPS, probability=0.0)(model, image, target)
    assert torch.equal(none, MIFGSM(ThreatModel(EPS), steps=STEPS)(model, image, target))


def test_a_step_from_a_random_point_is_shared_between_signs_and_gradient() -> None:
    """On a linear model each value moves by eps where both agree, else by eps less twice alpha."""
    generator = torch.Generator().manual_seed(0)
    model = LinearNet(torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)).eval()
    image = 0.4 + 0.2 * batch(16, dtype=torch.float64)[0]
    target = model(image).argmax(1)
    eps, share = 0.08, 0.375
    found = RFGSM(ThreatModel(eps), share=share)(model, image, target)
    ahead = FGSM(ThreatModel(eps))(model, image, target) - image
    moved = (found - image) * ahead.sign()
    agrees = (moved - eps).abs() < 1e-9
    assert bool((agrees | ((moved - (1 - 2 * share) * eps).abs() < 1e-9)).all())
    assert abs(float(agrees.double().mean()) - 0.5) < 0.05
    assert len({tuple(row.flatten().tolist()) for row in agrees}) == len(image)


def test_a_random_step_gets_past_the_edge_that_blinds_the_gradient_at_the_image() -> None:
    """A slope the wrong way within a hundredth of the image, the right one beyond."""

    class Rim(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            away = x - 0.5
            rise = torch.where(away.abs() < 0.01, -away, away)
            lead = 8 * 8 * 3 * 0.02 - rise.sum((1, 2, 3))
            return torch.stack([lead, torch.zeros_like(lead)], 1)

    image, target = torch.full((4, 3, 8, 8), 0.5), torch.zeros(4, dtype=torch.int64)
    blind, seeing = FGSM(ThreatModel(0.06)), RFGSM(ThreatModel(0.06))
    assert right(Rim(), blind(Rim(), image, target), target).all()
    moved = seeing(Rim(), image, target)
    assert not bool(right(Rim(), moved, target).any())


@pytest.mark.parametrize("norm", [math.inf, 2.0])
@pytest.mark.parametrize("kind", [MIFGSM, NIFGSM, BIM])
def test_they_leave_fewer_standing_than_one_step(kind: Any, norm: float) -> None:
    model, image, target = trained(2)
    grid = [px / 255 for px in (8, 12, 16, 20)] if norm == math.inf else [0.3, 0.4, 0.5, 0.6]
    attack, one = kind(ThreatModel(0.0, norm)), FGSM(ThreatModel(0.0, norm))
    many = robust(model, attack.sweep(model, image, target, grid).images, target)
    single = robust(model, one.sweep(model, image, target, grid).images, target)
    assert sum(many) < sum(single), (many, single)


def test_with_input_diversity_it_leaves_no_more_standing_than_torchattacks() -> None:
    model, image, target = trained(1)
    grid = [px / 255 for px in (8, 12, 16, 20, 24)]
    found = DIFGSM(ThreatModel(0.0)).sweep(model, image, target, grid).images
    torch.manual_seed(0)
    other = [
        torchattacks.DIFGSM(model, eps=eps, alpha=eps / 10, steps=10, decay=1.0)(image, target)
        for eps in grid
    ]
    ours, theirs = robust(model, found, target), robust(model, other, target)
    assert 48 > ours[-1] < theirs[0]
    assert sum(ours) <= sum(theirs) + 5, (ours, theirs)


def test_what_is_random_depends_on_seed_draw_and_number_alone() -> None:
    model, (image, target) = small_net().eval(), batch(4)
    for kind in (RFGSM, DIFGSM):

        def found(seed: int = 0, draw: int = 0, first: int = 5, kind: Any = kind) -> Tensor:
            attack = kind(ThreatModel(0.01), seed=seed)
            index = torch.arange(first, first + 4)
            result: Tensor = attack(model, image, target, index=index, draw=draw)
            return result

        same = found()
        assert torch.equal(found(), same)
        for other in (found(seed=1), found(draw=1), found(first=15)):
            assert not torch.equal(other, same)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (BIM, {"steps": 0}, "bim: steps is 0"),
        (MIFGSM, {"steps": 1.5}, "mifgsm: steps is 1.5"),
        (MIFGSM, {"momentum": -1}, "mifgsm: momentum is -1"),
        (NIFGSM, {"scales": 0}, "nifgsm: scales is 0"),
        (DIFGSM, {"probability": 1.5}, "difgsm: probability is 1.5"),
        (DIFGSM, {"smallest": 0}, "difgsm: smallest is 0"),
        (TIFGSM, {"kernel": 4}, "tifgsm: kernel is 4; give an odd"),
        (RFGSM, {"share": 1}, "rfgsm: share is 1"),
        (RFGSM, {"threat": ThreatModel(0.1, 2)}, "rfgsm: norm is 2"),
    ],
)
def test_impossible_options_are_refused_by_name(
    kind: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BcadvError, match=said):
        kind(**({"threat": ThreatModel(0.1)} | options))
