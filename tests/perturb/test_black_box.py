"""Attacks that ask for answers: exact truths, budgets, and what two libraries find."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import foolbox
import pytest
import torch
import torchattacks
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb import PGD, SPSA, HopSkipJump, RandomNoise, Square, ThreatModel, Transfer
from bcadv.perturb.attacks import square
from bcadv.perturb.attacks.square import _hump, _window
from bcadv.perturb.base import Sweep
from tests.perturb.nets import LinearNet, batch, small_net
from tests.perturb.test_pgd import linear, right, trained

pytestmark = pytest.mark.long

BUDGET = 150
LIMITED: Mapping[str, tuple[type[Any], dict[str, int]]] = {
    "square": (Square, {"queries": BUDGET}),
    "spsa": (SPSA, {"queries": BUDGET, "samples": 4}),
    "hopskipjump": (HopSkipJump, {"queries": BUDGET, "samples": 10}),
    "random": (RandomNoise, {"draws": BUDGET}),
}
every_attack = pytest.mark.parametrize("name", LIMITED)
every_norm = pytest.mark.parametrize("norm", [math.inf, 2.0])


class Counted(nn.Module):
    """Counts the images that a model is asked about, and how often it is asked."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.count, self.calls = model, 0, 0

    def forward(self, image: Tensor) -> Tensor:
        self.count += len(image)
        self.calls += 1
        answer: Tensor = self.model(image)
        return answer


class Decisions(nn.Module):
    """Says which class alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.model(image)
        return nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(image)


def exact(model: LinearNet, lead: Tensor, norm: float) -> Tensor:
    """Distance of each image from a linear model's boundary."""
    slope = (model.weight[0] - model.weight[1]).detach().flatten()
    dual: Tensor = torch.linalg.vector_norm(slope, 1 if norm == math.inf else 2)
    return lead / dual


@every_attack
@every_norm
def test_no_image_costs_more_than_its_budget_and_every_query_is_counted(
    name: str, norm: float
) -> None:
    kind, options = LIMITED[name]
    model, (image, target) = small_net().eval(), batch(6)
    for eps in (0.01, 0.2):
        counted = Counted(model)
        sweep = kind(ThreatModel(eps, norm), **options).sweep(counted, image, target, [eps])
        # What Square asked ahead and did not need is no query.
        assert counted.count == int(sweep.queries.sum()) or kind is Square
        assert counted.count >= int(sweep.queries.sum())
        assert int(sweep.queries.max()) <= BUDGET + 1
        broken = sweep.broken_after[:, 0] > 0
        assert torch.equal(broken, ~right(model, sweep.images[0], target))
        assert bool((sweep.broken_after <= sweep.queries[:, None]).all())
        # What is broken by the clean image costs nothing more.
        assert torch.equal(sweep.queries == 1, ~right(model, image, target))


@every_attack
@every_norm
def test_below_the_exact_distance_of_a_linear_model_nothing_breaks(name: str, norm: float) -> None:
    kind, options = LIMITED[name]
    model, image, target, lead = linear(1, n=6)
    eps = 0.98 * float(exact(model, lead, norm).min())
    found = kind(ThreatModel(eps, norm), **options)(model, image, target)
    assert bool(right(model, found, target).all())


@pytest.mark.parametrize(
    ("attack", "norm", "share"),
    [
        (Square, math.inf, 1.15),
        (Square, 2.0, 1.5),
        (SPSA, math.inf, 1.3),
        (SPSA, 2.0, 1.3),
    ],
)
def test_a_little_above_it_all_of_them_break(attack: Any, norm: float, share: float) -> None:
    model, image, target, lead = linear(1, n=8)
    for i, radius in enumerate((share * exact(model, lead, norm)).tolist()):
        # Further off the box would cut in.
        if radius < 0.4:
            one, its = image[i : i + 1], target[i : i + 1]
            more = {"tile": 1} if attack is SPSA else {}
            found = attack(ThreatModel(radius, norm), queries=1000, **more)(model, one, its)
            assert not right(model, found, its)[0]


def test_more_random_points_break_what_fewer_did_and_more() -> None:
    model, image, target = trained()
    image, target, broken = image[:24], target[:24], []
    for draws in (1, 10, 100):
        attack = RandomNoise(ThreatModel(60 / 255), draws=draws)
        sweep = attack.sweep(model, image, target, [60 / 255])
        assert sweep.broken_after is not None
        after = sweep.broken_after[:, 0]
        broken.append(after > 0)
    assert bool((broken[0] <= broken[1]).all())
    assert bool((broken[1] <= broken[2]).all())
    # The same points come first, whatever the budget: success against queries is one curve.
    assert torch.equal((after > 0) & (after <= 11), broken[1])


def test_queries_when_broken_stand_in_the_callers_order() -> None:
    model, image, target = trained()
    radii = [0.0, 48 / 255, 4 / 255, 16 / 255]
    attack = Square(ThreatModel(0.1), queries=100)
    sweep = attack.sweep(model, image, target, radii)
    assert sweep.broken_after is not None
    assert sweep.broken_after.shape == (len(image), 4)
    for column, found in zip(sweep.broken_after.T, sweep.images, strict=True):
        assert torch.equal(column > 0, ~right(model, found, target))
    wrong = ~right(model, image, target)
    assert bool((sweep.broken_after[wrong] == 1).all())
    # The largest radius comes first, so a smaller one is never broken before.
    large, small = sweep.broken_after[:, 1], sweep.broken_after[:, 3]
    assert bool((large[small > 0] <= small[small > 0]).all())
    assert bool((small > 0).any())


def test_an_image_that_stands_costs_one_budget_at_however_many_radii() -> None:
    model = LinearNet(torch.stack([torch.ones(3, 4, 4), torch.zeros(3, 4, 4)]))
    image, target = torch.full((2, 3, 4, 4), 0.9), torch.zeros(2, dtype=torch.int64)
    attack = Square(ThreatModel(0.1), queries=50)
    sweep = attack.sweep(model, image, target, [0.01, 0.02, 0.05, 0.1])
    assert sweep.queries is not None
    assert sweep.queries.tolist() == [51, 51]


@pytest.mark.parametrize("name", ["square", "spsa", "random"])
@every_norm
def test_an_image_that_stands_is_returned_as_close_to_breaking_as_it_came(
    name: str, norm: float
) -> None:
    kind, options = LIMITED[name]
    model, image, target, lead = linear(3, n=6)
    radius = 0.9 * float(exact(model, lead, norm).min())
    moved = kind(ThreatModel(radius, norm), **options)(model, image, target)
    assert right(model, moved, target).all()
    after = model(moved).gather(1, target[:, None]) - model(moved).gather(1, 1 - target[:, None])
    assert bool((after[:, 0] < lead - 1e-6).all())


@every_norm
def test_hopskipjump_looks_at_decisions_alone(norm: float) -> None:
    model, image, target = trained()
    # In float32 a lead of a few roundings counts as none, which is seen of scores alone.
    model, image = copy.deepcopy(model).double(), image[:20].double()
    target = target[:20]
    attack = HopSkipJump(ThreatModel(0.1, norm), queries=120, samples=10)
    mine = attack.nearest(model, image, target)
    other = attack.nearest(Decisions(model), image, target)
    assert torch.equal(mine.image, other.image)
    assert torch.equal(mine.queries, other.queries)
    assert bool(mine.distance.isfinite().any())


@pytest.mark.parametrize(("norm", "within"), [(2.0, 1.05), (math.inf, 1.2)])
def test_hopskipjump_comes_close_to_the_exact_distance(norm: float, within: float) -> None:
    model, image, target, lead = linear(2, n=8)
    truth = exact(model, lead, norm)
    found = HopSkipJump(ThreatModel(0.1, norm), queries=3000).nearest(model, image, target)
    ratio = found.distance / truth
    assert bool((ratio >= 1 - 1e-9).all())
    assert float(ratio.median()) < within


@every_norm
def test_hopskipjump_comes_closer_than_foolbox_with_as_many_queries(norm: float) -> None:
    model, image, target, _ = linear(4, n=8)
    model, image = model.float(), image.float()
    counted = Counted(model)
    wrapped = foolbox.PyTorchModel(counted.eval(), bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.Misclassification(target)
    torch.manual_seed(0)
    begin = foolbox.attacks.LinearSearchBlendedUniformNoiseAttack().run(wrapped, image, criterion)
    counted.count = 0
    constraint: Any = "l2" if norm == 2 else "linf"
    theirs = foolbox.attacks.HopSkipJumpAttack(
        steps=6, initial_gradient_eval_steps=50, constraint=constraint
    ).run(wrapped, image, criterion, starting_points=begin)
    threat = ThreatModel(0.1, norm)
    queries = counted.count // len(image)
    mine = HopSkipJump(threat, queries=queries).nearest(model, image, target)
    ours, other = mine.distance, threat.size(theirs - image).double()
    assert float((ours / other).median()) < 1.0


@every_norm
@pytest.mark.parametrize("frugal", [False, True])
@pytest.mark.parametrize("queries", [1, 2, 7, 300])
def test_square_asks_ahead_and_finds_what_it_finds_one_query_after_another(
    monkeypatch: pytest.MonkeyPatch, norm: float, queries: int, frugal: bool
) -> None:
    model, (image, _) = small_net(dtype=torch.float64).eval(), batch(6, dtype=torch.float64)
    target = model(image).argmax(1)
    radii = [0.1, 0.2, 0.3] if norm == math.inf else [3.0, 6.0, 9.0]

    def found() -> tuple[Sweep, int]:
        counted = Counted(model)
        attack = Square(ThreatModel(0.1, norm), queries=queries, frugal=frugal)
        return attack.sweep(counted, image, target, radii), counted.calls

    ahead, calls = found()
    monkeypatch.setattr(square, "_TOGETHER", 1)
    plain, of_plain = found()
    assert ahead.queries is not None
    assert plain.queries is not None
    assert torch.equal(ahead.queries, plain.queries)
    assert int(ahead.queries.min()) > (queries // 5 if frugal else queries)
    assert int(ahead.queries.max()) > queries + 1 or queries < 300
    assert ahead.broken_after is not None
    assert plain.broken_after is not None
    assert torch.equal(ahead.broken_after, plain.broken_after)
    for mine, other in zip(ahead.images, plain.images, strict=True):
        assert torch.equal(mine, other)
    assert calls < of_plain / 2 or queries < 300


@every_norm
def test_a_frugal_square_breaks_what_a_whole_budget_does_for_fewer_queries(norm: float) -> None:
    model, image, target = trained()
    radius = 0.065 if norm == math.inf else 0.9
    broken, cost = [], []
    for frugal in (False, True):
        attack = Square(ThreatModel(radius, norm), queries=500, frugal=frugal)
        found = attack.sweep(model, image, target, [radius])
        assert found.queries is not None
        broken.append(~right(model, found.images[0], target))
        cost.append(found.queries)
    assert 0 < int(broken[0].sum()) < len(image)
    assert torch.equal(*broken)
    stands = ~broken[0]
    assert int(cost[1][stands].sum()) < 0.9 * int(cost[0][stands].sum())
    assert int(cost[1][stands].min()) > 500 / 5


def test_a_frugal_square_goes_on_where_its_pace_says_nothing() -> None:
    """A model that answers in steps gains nothing for long, and breaks all at once."""
    image, target = torch.rand(3, 3, 8, 8), torch.zeros(3, dtype=torch.int64)
    flat = LinearNet(torch.zeros(2, 3, 8, 8))

    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = flat(x) + torch.tensor([5.0, 0.0])
            return answer

    found = Square(ThreatModel(0.1), queries=100, frugal=True).sweep(Flat(), image, target, [0.1])
    assert found.queries is not None
    assert found.queries.tolist() == [101] * 3


def test_a_frugal_square_gives_every_image_a_fifth_of_the_budget() -> None:
    """Whatever the pace at first: large squares may gain little, and smaller ones much."""

    class Late(nn.Module):
        asked = 0

        def forward(self, x: Tensor) -> Tensor:
            lead = []
            for _ in range(len(x)):
                self.asked += 1
                lead.append(-10 + 1e-3 * self.asked + 0.1 * max(0, self.asked - 50))
            return torch.tensor([[0.0, value] for value in lead]).to(x)

    image, target = torch.rand(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64)
    attack = Square(ThreatModel(0.1), queries=200, frugal=True)
    found = attack.sweep(Late(), image, target, [0.1]).distance
    assert found is not None
    assert found.tolist() == pytest.approx([0.1])


def test_square_breaks_as_many_images_as_torchattacks() -> None:
    model, image, target = trained()
    eps = 20 / 255
    mine = Square(ThreatModel(eps), queries=100)(model, image, target)
    theirs = torchattacks.Square(model, eps=eps, n_queries=100, seed=0)(image, target)
    ours, other = (~right(model, each, target) for each in (mine, theirs))
    assert int(other.sum()) > int((~right(model, image, target)).sum())
    assert int(ours.sum()) >= int(other.sum()) - len(image) // 20


def test_a_window_reaches_every_corner_and_is_square() -> None:
    image = torch.zeros(2, 1, 6, 9)
    image[_window(image, torch.tensor([[0.0, 0.999999], [0.999999, 0.0]]), 2)] = 1
    assert image.sum((1, 2, 3)).tolist() == [4, 4]
    assert image[0, 0, 0, 8] == 1
    assert image[1, 0, 5, 0] == 1


@pytest.mark.parametrize("side", [1, 2, 3, 8])
def test_a_hump_has_length_1_and_two_signs(side: int) -> None:
    hump = _hump(side)
    assert float(hump.square().sum()) == pytest.approx(1)
    assert bool((hump[: side // 2] >= 0).all())
    assert bool((hump[side // 2 :] <= 0).all())


@every_norm
def test_what_breaks_a_linear_model_breaks_it_by_way_of_itself(norm: float) -> None:
    model, image, target, lead = linear(5, n=6)
    radius = 1.05 * float(exact(model, lead, norm).max())
    surrogate = LinearNet(model.weight.detach() * 3)
    sweep = Transfer(ThreatModel(0.1, norm), surrogate=surrogate).sweep(
        model, image, target, [radius]
    )
    assert not right(model, sweep.images[0], target).any()
    assert sweep.queries is not None
    assert sweep.queries.tolist() == [2] * 6


def test_transfer_goes_as_far_as_the_radius_beyond_what_fools_the_surrogate() -> None:
    model, image, target, lead = linear(6, n=6)
    eps = float(3 * exact(model, lead, math.inf).max())
    surrogate = LinearNet(model.weight.detach())
    inner = PGD(ThreatModel(eps), steps=40, step_size=0.05, random_start=False)
    rested = inner(surrogate, image, target)
    attack = Transfer(ThreatModel(eps), surrogate=surrogate, attack=inner)
    threat, found = ThreatModel(eps), attack(model, image, target)
    assert bool((threat.size(rested - image) < 0.5 * eps).all())
    assert bool((threat.size(found - image) > 0.99 * eps).all())


def test_transfer_leaves_the_surrogate_as_it_was() -> None:
    model, (image, target) = small_net(), batch(4)
    surrogate = small_net(1).train()
    before = {key: value.clone() for key, value in surrogate.state_dict().items()}
    Transfer(ThreatModel(0.05), surrogate=surrogate)(model, image, target)
    assert surrogate.training
    assert all(parameter.requires_grad for parameter in surrogate.parameters())
    assert all(torch.equal(value, before[key]) for key, value in surrogate.state_dict().items())


def test_transfer_without_a_fitting_surrogate_is_refused() -> None:
    with pytest.raises(BcadvError, match="transfer: surrogate is None"):
        Transfer(ThreatModel(0.1))
    other = LinearNet(torch.rand(2, 3, 8, 8))
    attack, (image, target) = Transfer(ThreatModel(0.1), surrogate=other), batch(4)
    with pytest.raises(BcadvError, match="knows 2 classes and the model 3"):
        attack(small_net(), image, target.clamp(max=1))


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (Square, {"queries": 0}, "square: queries is 0"),
        (Square, {"p_init": 0}, "square: p_init is 0"),
        (SPSA, {"sigma": 2}, "spsa: sigma is 2"),
        (SPSA, {"tile": 0}, "spsa: tile is 0"),
        (HopSkipJump, {"samples": 1}, "hopskipjump: samples is 1"),
        (RandomNoise, {"draws": True}, "random: draws is True"),
        (RandomNoise, {"seed": -1}, "random: seed is -1"),
    ],
)
def test_impossible_options_are_refused_by_name(
    kind: type[Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BcadvError, match=said):
        kind(ThreatModel(0.1), **options)
