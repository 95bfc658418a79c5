"""Auto-PGD against closed forms, a solver's distances, and constructed landscapes."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb import APGD, PGD, ThreatModel
from bcadv.perturb.pace import Halving, steepest
from bcadv.perturb.search import Search
from bcadv.perturb.starts import neighbour, output_diversified, random_point
from bcadv.task import Task
from tests.perturb.nets import CLASSES, batch, small_net
from tests.perturb.test_pgd import GRID, right, robust, trained
from tests.perturb.truth import digits, linear

pytestmark = pytest.mark.long

every_norm = pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])


def broken(attack: APGD, given: linear.Case) -> Tensor:
    found = attack(given.model, given.image, given.target)
    return ~right(given.model, found, given.target)


@every_norm
def test_on_a_linear_model_the_smallest_radius_is_the_exact_one_in_the_box(norm: float) -> None:
    for seed in range(2):
        given = linear.case(seed, n=6, shape=(3, 6, 6), dtype=torch.float32)
        exact = linear.distance(given.model, given.image, given.target, norm)
        for i, radius in enumerate(exact.tolist()):
            if norm == math.inf and radius > 0.9:
                continue
            one = linear.Case(given.model, given.image[i : i + 1], given.target[i : i + 1])
            for share, breaks in ((0.999, False), (1.002, True)):
                attack = APGD(ThreatModel(share * radius, norm), steps=40)
                assert bool(broken(attack, one)) == breaks, (seed, i, share)


@every_norm
def test_with_several_classes_each_is_aimed_at_and_the_nearest_found(norm: float) -> None:
    """Together, what grows fastest at first leads some images to a class that is farther off."""
    given = linear.case(0, n=24, classes=3, shape=(3, 8, 8), dtype=torch.float32)
    exact = linear.distance(given.model, given.image, given.target, norm)
    together = alone = 0
    for i, radius in enumerate(exact.tolist()):
        if norm == math.inf and radius > 0.9:
            continue
        one = linear.Case(given.model, given.image[i : i + 1], given.target[i : i + 1])
        threat = ThreatModel(1.002 * radius, norm)
        together += not bool(broken(APGD(threat, steps=20), one))
        alone += not bool(broken(APGD(threat, steps=20, targets=2), one))
    assert alone == 0
    assert together > 0


def test_on_a_relu_network_it_comes_near_the_distance_that_a_solver_proved() -> None:
    given = digits.load("two", torch.float32)
    low, high = math.log(0.98 * float(given.exact.min())), math.log(1.2 * float(given.exact.max()))
    radii = torch.linspace(low, high, 100).exp().tolist()
    attack = APGD(ThreatModel(0.0), steps=50)
    sweep = attack.sweep(given.model, given.image, given.target, radii)
    assert sweep.distance is not None
    ratio = sweep.distance / given.exact
    step = radii[1] / radii[0]
    assert bool((sweep.distance >= given.lower * (1 - 1e-6)).all())
    assert float(ratio.median()) < step
    assert float(ratio.quantile(0.8)) < 1.01 * step


@pytest.mark.parametrize("norm", [math.inf, 2.0])
def test_it_leaves_no_more_standing_than_pgd_with_as_many_gradients(norm: float) -> None:
    model, image, target = trained(2)
    sums = {}
    for attack in (
        APGD(ThreatModel(0.0, norm), steps=25, surrogate="cross_entropy"),
        PGD(ThreatModel(0.0, norm), steps=25),
    ):
        found = attack.sweep(model, image, target, GRID[norm]).images
        sums[attack.name] = sum(robust(model, found, target))
    # Both come near what there is to be found: one image at one radius may be luck.
    assert sums["apgd"] <= 1.005 * sums["pgd"], sums


@pytest.mark.parametrize("surrogate", ["margin", "cross_entropy"])
def test_with_two_classes_cross_entropy_and_the_margin_take_the_same_way(surrogate: Any) -> None:
    given = digits.load("two")
    attack = APGD(ThreatModel(0.05), steps=20, surrogate=surrogate)
    margin = APGD(ThreatModel(0.05), steps=20)
    one = attack(given.model, given.image, given.target)
    torch.testing.assert_close(one, margin(given.model, given.image, given.target))


def test_dlr_is_the_published_ratio() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.5, -1.0, 0.0]])
    target = torch.tensor([0])
    plain = APGD(ThreatModel(0.1), surrogate="dlr")
    assert plain._objective(logits, target).item() == pytest.approx(-(3 - 2.5) / (3 - 1))
    targeted = APGD(ThreatModel(0.1), surrogate="dlr", targeted=True)
    wanted = torch.tensor([1])
    expected = -(3 - 1) / (3 - (1.0 + 0.0) / 2)
    assert targeted._objective(logits, wanted).item() == pytest.approx(expected)
    assert plain._toward(wanted, logits, target).item() == pytest.approx(expected)
    level = torch.ones(1, 5)
    assert plain._objective(level, target).item() == 0


@pytest.mark.parametrize(
    ("classes", "options", "said"),
    [
        (2, {}, "2 classes; with fewer than 3 take surrogate='margin'"),
        (3, {"targeted": True}, "3 classes; with fewer than 4"),
    ],
)
def test_dlr_of_too_few_classes_is_refused(
    classes: int, options: dict[str, Any], said: str
) -> None:
    given = linear.case(0, n=2, classes=classes)
    attack = APGD(ThreatModel(0.1), surrogate="dlr", **options)
    with pytest.raises(BcadvError, match=said):
        attack(given.model, given.image, given.target)


class Plateau(nn.Module):
    """A plateau whose slope leads away from the cliff at its edge.

    In units of the radius from the image, with the mean of one half of the pixels as a and that of
    the other half as b, the lead of class 0 is 2 + 0.2 a - 30 relu(b - 0.85): it is lost only where
    b is nearly as large as the ball allows, and up to there its slope knows nothing of b. Both
    logits do: they rise by 5 b together.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        moved = ((x - 0.5) / self.eps).flatten(1)
        half = moved.shape[1] // 2
        one, other = moved[:, :half].mean(1), moved[:, half:].mean(1)
        lead = 2 + 0.2 * one - 30 * (other - 0.85).clamp(min=0)
        return torch.stack([lead + 5 * other, 5 * other], 1)


def test_an_output_diversified_start_finds_what_random_ones_do_not() -> None:
    image, target = torch.full((16, 3, 8, 8), 0.5), torch.zeros(16, dtype=torch.int64)
    model = Plateau(0.1).eval()
    left = {
        start: int(
            right(
                model,
                APGD(ThreatModel(0.1), steps=10, restarts=4, start=start)(model, image, target),
                target,
            ).sum()
        )
        for start in ("random", "output", "diverse")
    }
    # Half of all random combinations go the wrong way.
    assert left["random"] == 16
    assert left["output"] <= 4
    assert left["diverse"] < 16


def test_diverse_restarts_break_no_fewer_and_some_more() -> None:
    model, image, target = trained(3)
    stands = []
    for restarts in (1, 5):
        attack = APGD(ThreatModel(0.0), steps=5, restarts=restarts)
        stands.append(
            robust(model, attack.sweep(model, image, target, GRID[math.inf]).images, target)
        )
    assert sum(stands[1]) < sum(stands[0]), stands


@pytest.mark.parametrize("options", [{"restarts": 7}, {"restarts": 2, "targets": 2}])
def test_attempts_side_by_side_are_those_of_the_image_alone(options: dict[str, Any]) -> None:
    model, image, target = trained(3)
    model, image = copy.deepcopy(model).double(), image.double()
    radii, attack = GRID[math.inf], APGD(ThreatModel(0.0), steps=5, **options)
    index = torch.arange(len(image))
    whole = attack.sweep(model, image, target, radii, index=index)
    assert whole.gradients is not None
    some = whole.gradients.argsort()[[0, 11, 23, 35, -1]]
    for row in some:
        one = row[None]
        alone = attack.sweep(model, image[one], target[one], radii, index=one)
        assert alone.gradients is not None
        assert int(alone.gradients) == int(whole.gradients[row])
        for mine, together in zip(alone.images, whole.images, strict=True):
            torch.testing.assert_close(mine, together[one], rtol=0, atol=1e-9)


def searched(norm: float) -> tuple[APGD, Search, Tensor, Tensor]:
    model, image, target = trained(1)
    attack = APGD(ThreatModel(0.0, norm))
    search = Search(attack, model, image, target, torch.arange(48), 0, [0.01, 0.02, 0.03])
    search.answer_clean()
    rows = search.standing
    return attack, search, rows, search.radii[torch.ones_like(rows)]


@every_norm
def test_starts_lie_in_ball_and_box(norm: float) -> None:
    attack, search, rows, eps = searched(norm)
    origin = search.image[rows]
    start = random_point(attack.threat, search, rows, eps, 1)
    apart = output_diversified(attack, search, rows, eps, start, attack._direction, 2)
    threat = attack.threat.with_eps(0.02)
    for point in (start, apart):
        assert bool(threat.contains(point, origin).all())
        assert bool((threat.size(point - origin) > 0.001).all())
    with torch.no_grad():
        clean, there, near = (search.model(x) for x in (origin, apart, start))
    assert (there - clean).norm(dim=1).mean() > 2 * (near - clean).norm(dim=1).mean()


def test_a_neighbouring_radius_gives_what_breaks_there_or_came_closest() -> None:
    attack, search, rows, eps = searched(math.inf)
    one, two = rows[:1], rows[1:2]
    search.distance[one], search.found[one] = 0.03, (search.image[one] + 0.03).clamp(0, 1)
    search.failed(two, torch.tensor([0]), (search.image[two] - 0.01).clamp(0, 1), -eps[:1])
    point, known = neighbour(attack.threat, search, rows[:3], eps[:3])
    assert known.tolist() == [True, True, False]
    expected = [search.image[one] + 0.02, search.image[two] - 0.02, search.image[rows[2:3]]]
    torch.testing.assert_close(point, torch.cat(expected).clamp(0, 1))


def test_the_step_is_halved_where_it_stops_to_help_and_each_image_alone() -> None:
    """Two images: one keeps rising, the other swings to and fro."""
    threat, origin = ThreatModel(1.0), torch.full((2, 1, 2, 2), 0.5, dtype=torch.float64)
    pace = Halving(threat, origin, torch.ones(2, dtype=torch.float64), 100, origin)
    sizes, point = [], origin
    for number in range(40):
        value = torch.tensor([float(number), float(number % 2)], dtype=torch.float64)
        point = pace.step(number, point, torch.ones_like(point), value)
        sizes.append(pace.size.tolist())
    # Looks at 22, then 19 % of the steps later.
    assert [size[0] for size in sizes] == [2.0] * 40
    assert [size[1] for size in sizes] == [2.0] * 22 + [1.0] * 18


def test_a_sparse_step_has_length_one_in_the_steepest_values() -> None:
    gradient = torch.tensor([[[[3.0, -4.0], [0.5, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    step = steepest(gradient, torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert step[0].flatten().tolist() == [0.5, -0.5, 0.0, 0.0]
    assert not bool(step[1].any())


@pytest.mark.parametrize("aim", ["hide", "invent"])
def test_an_aim_is_followed(aim: Any) -> None:
    model, image, target = trained(2)
    attack = APGD(ThreatModel(0.2), steps=20, aim=aim, targets=2, task=Task(positive=(1,)))
    found = attack(model, image, target)
    with torch.no_grad():
        called = model(found).argmax(1)
    concerned = (target == 1) if aim == "hide" else (target != 1)
    reached = (called != 1) if aim == "hide" else (called == 1)
    assert bool(reached[concerned].all())
    assert torch.equal(found[~concerned], image[~concerned])


def test_targeted_it_goes_where_it_is_told() -> None:
    model, image, target = trained()
    wanted = (target + 1) % CLASSES
    found = APGD(ThreatModel(64 / 255), steps=30, targeted=True)(model, image, wanted)
    assert right(model, found, wanted).float().mean() > 0.9


@every_norm
def test_an_image_that_stands_was_attacked_with_all_steps_of_all_restarts(norm: float) -> None:
    model, (image, target) = small_net().eval(), batch(6)
    attack = APGD(ThreatModel(1e-5, norm), steps=12, restarts=2, start="random")
    target = model(image).argmax(1)
    sweep = attack.sweep(model, image, target, [attack.strength])
    assert sweep.gradients is not None
    assert sweep.gradients.tolist() == [1 + 2 * 12] * 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"restarts": 1.5}, "restarts is 1.5"),
        ({"targets": -1}, "targets is -1"),
        ({"surrogate": "ce"}, "surrogate is 'ce'; give one of margin"),
        ({"start": "image"}, "start is 'image'; give one of diverse"),
        ({"threat": ThreatModel(3, 0)}, "norm is 0"),
        ({"loss": nn.functional.cross_entropy, "surrogate": "dlr"}, "exclude each other"),
    ],
)
def test_impossible_options_are_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BcadvError, match=said):
        APGD(**({"threat": ThreatModel(0.1)} | options))
