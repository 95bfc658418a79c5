"""Attacks that look for the nearest adversarial image, against exact distances and a library."""

from __future__ import annotations

import math
from typing import Any

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb import CW, FMN, DeepFool, ThreatModel, catalog
from bcadv.perturb.halfspace import smallest_change
from bcadv.perturb.nearest import MinimalNorm, Nearest
from bcadv.task import Task
from tests.perturb.nets import batch, small_net
from tests.perturb.truth import digits, linear

pytestmark = pytest.mark.long

NORMS = {
    "deepfool": (math.inf, 2.0),
    "superdeepfool": (2.0,),
    "ddn": (2.0,),
    "fmn": (math.inf, 2.0, 1.0, 0.0),
    "cw": (2.0,),
}
FEW: dict[str, dict[str, Any]] = {"ddn": {"steps": 20}, "fmn": {"steps": 20}, "cw": {"steps": 20}}
each = pytest.mark.parametrize(("name", "norm"), [(n, p) for n, ps in NORMS.items() for p in ps])


def made(name: str, norm: float, *, few: bool = True, **more: Any) -> MinimalNorm:
    options = FEW.get(name, {}) if few else {}
    attack = catalog.build(name, ThreatModel(0.0, norm), options=options, **more)
    assert isinstance(attack, MinimalNorm)
    return attack


def size(change: Tensor, norm: float) -> Tensor:
    return ThreatModel(0.0, norm).size(change).double()


@pytest.mark.parametrize("norm", linear.NORMS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_smallest_change_is_that_of_the_closed_form(norm: float, seed: int) -> None:
    case = linear.case(seed, n=8)
    weight, bias = case.model.weight.detach(), case.model.bias.detach()
    slope = (weight[1 - case.target] - weight[case.target]).detach()
    need = bias[case.target] - bias[1 - case.target] - (slope * case.image).flatten(1).sum(1)
    change = smallest_change(ThreatModel(0.0, norm), case.image, slope, need)
    exact = linear.distance(case.model, case.image, case.target, norm)
    torch.testing.assert_close(size(change, norm), exact, rtol=1e-6, atol=1e-9)
    assert bool(((case.image + change >= -1e-12) & (case.image + change <= 1 + 1e-12)).all())


@pytest.mark.parametrize("norm", linear.NORMS)
def test_out_of_reach_all_the_room_is_taken(norm: float) -> None:
    image, slope = torch.full((1, 1, 1, 2), 0.25), torch.tensor([1.0, -1.0]).reshape(1, 1, 1, 2)
    change = smallest_change(ThreatModel(0.0, norm), image, slope, torch.tensor([9.0]))
    assert change.flatten().tolist() == [0.75, -0.25]
    none = smallest_change(ThreatModel(0.0, norm), image, slope, torch.tensor([-1.0]))
    assert none.flatten().tolist() == [0.0, 0.0]


def checked(found: Nearest, case: Any, norm: float) -> None:
    """What it says is what its images are."""
    with torch.no_grad():
        lost = case.model(found.image).argmax(1) != case.target
    assert bool(lost.all())
    assert bool(((found.image >= 0) & (found.image <= 1)).all())
    torch.testing.assert_close(size(found.image - case.image, norm), found.distance)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_a_linear_model_of_two_classes_the_distance_is_exact(
    name: str, norm: float, dtype: torch.dtype
) -> None:
    case = linear.case(3, n=32, shape=(3, 8, 8), dtype=dtype)
    found = made(name, norm).nearest(case.model, case.image, case.target)
    checked(found, case, norm)
    ratio = found.distance / linear.distance(case.model, case.image, case.target, norm)
    assert float(ratio.min()) >= 1 - 1e-5
    assert float(ratio.max()) <= 1.002


@each
def test_on_a_linear_model_of_four_classes_the_median_is_exact(name: str, norm: float) -> None:
    case = linear.case(4, n=32, classes=4, shape=(3, 8, 8))
    found = made(name, norm).nearest(case.model, case.image, case.target)
    checked(found, case, norm)
    ratio = found.distance / linear.distance(case.model, case.image, case.target, norm)
    assert float(ratio.min()) >= 1 - 1e-9
    assert float(ratio.median()) <= 1.002
    assert float(ratio.mean()) <= 1.01


@pytest.mark.parametrize("net", digits.NETS)
@pytest.mark.parametrize(("name", "worst"), [("fmn", 1.002), ("deepfool", 1.03)])
def test_on_networks_with_proved_distances_the_median_is_near(
    net: str, name: str, worst: float
) -> None:
    case = digits.load(net, torch.float32)
    found = made(name, math.inf, few=False).nearest(case.model, case.image, case.target)
    checked(found, case, math.inf)
    ratio = found.distance / case.exact
    assert float(ratio.min()) >= 1 - 1e-5
    assert float(ratio.median()) <= worst


@pytest.mark.parametrize("norm", [math.inf, 2.0])
def test_deepfool_comes_as_near_as_foolboxs(norm: float) -> None:
    case = digits.load("two", torch.float32)
    attack: Any = (
        foolbox.attacks.L2DeepFoolAttack() if norm == 2 else foolbox.attacks.LinfDeepFoolAttack()
    )
    wrapped = foolbox.PyTorchModel(case.model, bounds=(0, 1), device="cpu")
    _, theirs, lost = attack(wrapped, case.image, case.target, epsilons=None)
    assert bool(lost.all())
    ours = made("deepfool", norm).nearest(case.model, case.image, case.target).distance
    assert float(ours.median()) <= 1.001 * float(size(theirs - case.image, norm).median())


def test_cw_comes_as_near_as_foolboxs() -> None:
    case = digits.load("two", torch.float32)
    attack: Any = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=6, steps=100)
    wrapped = foolbox.PyTorchModel(case.model, bounds=(0, 1), device="cpu")
    _, theirs, _ = attack(wrapped, case.image, case.target, epsilons=None)
    ours = made("cw", 2.0, few=False).nearest(case.model, case.image, case.target).distance
    assert float(ours.median()) <= 1.001 * float(size(theirs - case.image, 2.0).median())


@each
def test_a_target_and_an_aim_are_reached(name: str, norm: float) -> None:
    case = linear.case(5, n=16, classes=4, shape=(3, 8, 8))
    target = (case.target + 1) % 4
    found = made(name, norm, targeted=True).nearest(case.model, case.image, target)
    with torch.no_grad():
        assert torch.equal(case.model(found.image).argmax(1), target)
    task = Task(classes=("a", "b", "c", "d"), positive=(2, 3))
    hidden = made(name, norm, aim="hide", task=task).nearest(case.model, case.image, case.target)
    sick = case.target >= 2
    assert bool(sick.any())
    assert not bool(sick.all())
    with torch.no_grad():
        assert bool((case.model(hidden.image[sick]).argmax(1) < 2).all())
    assert torch.equal(hidden.image[~sick], case.image[~sick])
    plain = made(name, norm).nearest(case.model, case.image, case.target)
    assert bool((hidden.distance[sick] >= plain.distance[sick] * (1 - 1e-3)).all()) or norm == 0


@each
def test_what_is_wrong_already_is_at_hand_and_what_nothing_moves_is_infinitely_far(
    name: str, norm: float
) -> None:
    weight = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    model = linear.LinearModel(weight, torch.tensor([0.0, -2.0]))
    image = torch.full((2, 1, 1, 1), 0.5)
    found = made(name, norm).nearest(model, image, torch.tensor([0, 1]))
    assert found.distance.tolist() == [math.inf, 0.0]
    assert found.gradients.tolist()[1] == 0
    assert found.queries.tolist()[1] == 1


@pytest.mark.parametrize("norm", [math.inf, 2.0])
def test_what_the_slope_does_not_lead_to_is_found_at_the_end_of_the_box_and_on_the_way(
    norm: float,
) -> None:
    class Misleading(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            value, kind = image[:, 0, 0].unbind(1)
            at_the_end, in_a_band = value >= 0.999, (value > 0.6) & (value < 0.7)
            wrong = torch.where(kind < 0.5, at_the_end, in_a_band)
            lead = wrong * 2.0 - 1 + 100 * (value - value.detach())
            return torch.stack([torch.zeros_like(lead), lead], 1)

    image = torch.tensor([[0.5, 0.0], [0.5, 1.0]]).reshape(2, 1, 1, 2)
    attack = DeepFool(ThreatModel(0.0, norm), steps=1)
    found = attack.nearest(Misleading(), image, torch.zeros(2, dtype=torch.int64))
    assert found.distance[0] == pytest.approx(0.499, abs=1e-3)
    assert 0.1 < found.distance[1] <= 0.125


@each
def test_images_that_are_settled_leave_the_batch(name: str, norm: float) -> None:
    asked = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_net().eval()

        def forward(self, image: Tensor) -> Tensor:
            asked.append(len(image))
            out: Tensor = self.net(image)
            return out

    image, target = batch(8)
    model = Counting()
    found = made(name, norm).nearest(model, image, target)
    assert sum(asked) == int(found.queries.sum())
    assert min(asked) < max(asked)


def test_confidence_is_the_lead_that_is_reached() -> None:
    case = linear.case(6, n=16)
    attack = CW(ThreatModel(0.0, 2.0), steps=20, confidence=0.5)
    found = attack.nearest(case.model, case.image, case.target)
    with torch.no_grad():
        lead = Task().margin(case.model(found.image), case.target)
    assert bool((lead >= 0.5).all())
    assert float(lead.max()) < 0.51


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda t: FMN(t, steps=0), "steps is 0"),
        (lambda t: DeepFool(t, overshoot=2.0), "overshoot is 2.0"),
        (lambda t: DeepFool(t, candidates=0), "candidates is 0"),
        (lambda t: CW(t, lr=0.0), "lr is 0.0"),
        (lambda t: CW(t, confidence=-1.0), "confidence is -1.0"),
        (lambda t: CW(t, search_steps=True), "search_steps is True"),
        (lambda t: FMN(t, loss=lambda z, y: z[:, 0]), "take pgd"),
    ],
)
def test_an_option_out_of_its_range_is_named(make: Any, said: str) -> None:
    with pytest.raises(BcadvError, match=said):
        make(ThreatModel(0.0, 2.0))


def test_one_run_gives_the_curve_of_every_radius() -> None:
    case = linear.case(7, n=32, shape=(3, 8, 8))
    exact = linear.distance(case.model, case.image, case.target, math.inf)
    radii = torch.linspace(float(exact.min()), float(exact.max()), 7).tolist()
    sweep = made("fmn", math.inf).sweep(case.model, case.image, case.target, radii)
    for eps, found in zip(radii, sweep.images, strict=True):
        with torch.no_grad():
            lost = case.model(found).argmax(1) != case.target
        clear = (exact - eps).abs() > 1e-3 * exact
        assert torch.equal(lost[clear], (exact < eps)[clear])
