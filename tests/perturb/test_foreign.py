"""Attacks of other libraries, run under the threat model, the counting and the aims of this one."""

from __future__ import annotations

import math
import random
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb import ART, PGD, Foolbox, ThreatModel, catalog
from bcadv.perturb.catalog import ATTACKS
from bcadv.perturb.foreign import Asked, ForeignAttack
from bcadv.perturb.row import Option
from bcadv.task import Task
from tests.perturb.nets import small_net
from tests.perturb.truth.linear import Case, case, distance

HUGE = {math.inf: 1.0, 2.0: 6.0, 1.0: 36.0, 0.0: 36.0}


class Counting(nn.Module):
    """Counts the images that it is asked about."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.seen, self.lowest, self.highest = model, 0, 1.0, 0.0

    def forward(self, image: Tensor) -> Any:
        self.seen += len(image)
        self.lowest = min(self.lowest, float(image.min()))
        self.highest = max(self.highest, float(image.max()))
        return self.model(image)


def grey(n: int = 4, classes: int = 2) -> Case:
    return case(n=n, classes=classes, grey=True, depth=0.03, dtype=torch.float32)


@pytest.mark.parametrize(
    ("kind", "method", "norm", "options", "share"),
    [
        (Foolbox, "L2DeepFoolAttack", 2.0, {}, 0.03),
        (Foolbox, "LinfDeepFoolAttack", math.inf, {}, 0.03),
        (ART, "DeepFool", 2.0, {"epsilon": 0.02}, 0.03),
        pytest.param(Foolbox, "DDNAttack", 2.0, {"steps": 100}, 0.03, marks=pytest.mark.long),
        pytest.param(Foolbox, "FMNAttack", math.inf, {"steps": 100}, 0.05, marks=pytest.mark.long),
        pytest.param(
            ART,
            "CarliniL2Method",
            2.0,
            {"max_iter": 60, "learning_rate": 0.02, "initial_const": 1.0},
            0.05,
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_is_nearest_is_found_and_nothing_nearer(
    kind: Any, method: str, norm: float, options: dict[str, Any], share: float
) -> None:
    one = grey()
    exact = distance(one.model, one.image, one.target, norm)
    attack = kind(ThreatModel(HUGE[norm], norm), method=method, options=options)
    found = attack.nearest(one.model, one.image, one.target)
    assert bool((found.distance >= exact * (1 - 1e-4)).all())
    assert bool((found.distance <= exact * (1 + share)).all())
    assert bool((one.model(found.image).argmax(1) != one.target).all())


@pytest.mark.parametrize(
    ("kind", "options"),
    [(ART, {"max_iter": 20}), (Foolbox, {"steps": 20, "rel_stepsize": 0.2})],
)
@pytest.mark.parametrize("norm", [math.inf, 2.0])
def test_projected_steps_break_what_ours_break(
    kind: Any, options: dict[str, Any], norm: float
) -> None:
    one = grey(6)
    exact = distance(one.model, one.image, one.target, norm)
    radii = [float(exact.min()) * 0.97, float(exact.median()) * 1.01, float(exact.max()) * 1.03]
    sweeps = [
        attack.sweep(one.model, one.image, one.target, radii)
        for attack in (
            kind(ThreatModel(0.0, norm), options=options),
            PGD(ThreatModel(0.0, norm), random_start=False),
        )
    ]
    for theirs, ours in zip(*(sweep.images for sweep in sweeps), strict=True):
        wrong = [one.model(image).argmax(1) != one.target for image in (theirs, ours)]
        assert torch.equal(*wrong)
    counted = sweeps[0].broken_after
    assert counted is not None
    assert [int((column >= 0).sum()) for column in counted.T] == [0, 3, 6]


@pytest.mark.parametrize(
    ("kind", "method", "norm", "options"),
    [
        (ART, "ProjectedGradientDescent", math.inf, {"max_iter": 5, "num_random_init": 2}),
        (ART, "DeepFool", 2.0, {"max_iter": 5}),
        (ART, "SquareAttack", math.inf, {"max_iter": 10}),
        (ART, "NewtonFool", 2.0, {"max_iter": 3}),
        (ART, "SimBA", 2.0, {"max_iter": 10}),
        (ART, "AutoProjectedGradientDescent", math.inf, {"max_iter": 3, "nb_random_init": 1}),
        (Foolbox, "PGD", math.inf, {"steps": 5}),
        (Foolbox, "FGSM", math.inf, {}),
        (Foolbox, "L2CarliniWagnerAttack", 2.0, {"steps": 4, "binary_search_steps": 2}),
    ],
)
def test_every_pass_is_counted_and_every_point_lies_in_the_box(
    kind: Any, method: str, norm: float, options: dict[str, Any]
) -> None:
    one = case(n=3, classes=3, dtype=torch.float32)
    model = Counting(one.model)
    attack = kind(ThreatModel(0.0, norm), method=method, options=options)
    radii = [0.0, 0.02 * HUGE[norm], 0.05 * HUGE[norm]]
    sweep = attack.sweep(model, one.image, one.target, radii)
    assert int(sweep.queries.sum()) == model.seen
    assert (model.lowest, model.highest) == (0.0, 1.0)
    gradients = int(sweep.gradients.sum())
    row = ATTACKS[attack.name]
    white = row.access_of({"method": method}) == "white box"
    assert (gradients > 0) == white


def test_steps_are_counted_one_by_one() -> None:
    one = grey(1)
    attack = Foolbox(ThreatModel(1e-4), method="LinfPGD", options={"steps": 7})
    sweep = attack.sweep(one.model, one.image, one.target, [1e-4])
    assert sweep.gradients is not None
    assert sweep.queries is not None
    # The clean image, seven steps, and the last point.
    assert (int(sweep.gradients), int(sweep.queries)) == (7, 9)


def test_a_point_on_the_way_counts_whatever_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    from foolbox.attacks import L2DeepFoolAttack

    one = grey(2)
    exact = distance(one.model, one.image, one.target, 2.0)

    def lost(self: Any, model: Any, inputs: Any, criterion: Any, **_: Any) -> Any:
        model(inputs + 0.001)
        slope = one.model.weight[1] - one.model.weight[0]
        sign = 1 - 2 * float(criterion.labels.raw)
        for share in (1.1, 3.0):
            step = sign * slope / slope.norm() * exact.max() * share
            model((inputs + step).float())
        return inputs

    monkeypatch.setattr(L2DeepFoolAttack, "run", lost)
    attack = Foolbox(ThreatModel(6.0, 2.0), method="L2DeepFoolAttack")
    found = attack.nearest(one.model, one.image, one.target)
    torch.testing.assert_close(found.distance, (exact.max() * 1.1).expand(2), rtol=1e-3, atol=0)
    assert found.queries.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("kind", "method", "norm"),
    [
        (ART, "ProjectedGradientDescent", math.inf),
        (ART, "DeepFool", 2.0),
        (ART, "SaliencyMapMethod", 0.0),
        (Foolbox, "LinfPGD", math.inf),
        (Foolbox, "L2DeepFoolAttack", 2.0),
        (Foolbox, "GenAttack", math.inf),
    ],
)
@pytest.mark.parametrize("aim", ["any", "hide", "invent", "class"])
def test_each_method_follows_each_aim(kind: Any, method: str, norm: float, aim: Any) -> None:
    one = case(n=8, classes=4, dtype=torch.float32, depth=0.02, grey=True)
    task = Task(classes=("a", "b", "c", "d"), positive=(2, 3))
    said: dict[str, Any] = {"targeted": True} if aim == "class" else {"aim": aim}
    if (kind, method) == (ART, "DeepFool"):
        said["options"] = {"epsilon": 0.02}  # by default it ends on the boundary itself
    attack = kind(ThreatModel(HUGE[norm] * 0.5, norm), method=method, task=task, **said)
    target = (one.target + 1) % 4 if aim == "class" else one.target
    found = attack(one.model, one.image, target)
    answer = one.model(found).argmax(1)
    sick, moved = one.target >= 2, (found != one.image).flatten(1).any(1)
    if aim == "class":
        assert torch.equal(answer, target)
    elif aim == "any":
        assert bool((answer != one.target).all())
    else:
        concerned = sick if aim == "hide" else ~sick
        assert 0 < int(concerned.sum()) < 8
        assert torch.equal(moved, concerned)
        assert torch.equal(answer[concerned] >= 2, ~sick[concerned])


@pytest.mark.parametrize(("kind", "method"), [(ART, "SquareAttack"), (Foolbox, "LinfPGD")])
def test_random_numbers_belong_to_the_image_and_global_states_stay(kind: Any, method: str) -> None:
    model, image = small_net().eval(), torch.rand(2, 3, 8, 8)
    target = model(image).argmax(1)

    def states() -> list[Any]:
        numpy: Any = np.random.get_state()
        numbers = [numpy[1].tolist(), *numpy[2:]]
        return [torch.random.get_rng_state().tolist(), numbers, random.getstate()]

    before = states()
    attacks = [kind(ThreatModel(0.01), method=method, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (attack(model, image, target) for attack in attacks)
    assert states() == before
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    np.random.random()
    random.random()
    torch.rand(())
    assert torch.equal(attacks[0](model, image, target), first)
    elsewhere = attacks[0](model, image, target, index=torch.tensor([5, 1]))
    assert not torch.equal(elsewhere[0], first[0])
    assert torch.equal(elsewhere[1], first[1])


@pytest.mark.parametrize(
    ("kind", "norm", "more", "said"),
    [
        (ART, math.inf, {"method": "Elasticnet"}, "Elasticnet is unknown: did you mean ElasticNet"),
        (ART, math.inf, {"method": "AdversarialPatch"}, "AdversarialPatch is not for an image"),
        (ART, math.inf, {"method": "EvasionAttack"}, "EvasionAttack is unknown"),
        (ART, math.inf, {"method": "DPatch"}, "There are .*CarliniL2Method, .*ZooAttack"),
        (ART, math.inf, {"options": {"max_iters": 5}}, "max_iters: did you mean max_iter"),
        (ART, math.inf, {"options": {"beta": 5}}, "no option beta: it has .*num_random_init"),
        (ART, math.inf, {"options": {"eps": 0.1}}, "eps follows the threat model"),
        (ART, math.inf, {"options": {"max_iter": -5}}, "norm inf.*max_iter.*the library says: The"),
        (ART, math.inf, {"options": [5]}, r"options=\[5\] cannot be used: give a mapping"),
        (ART, 2.0, {"method": "CarliniLInfMethod"}, "belongs to norm inf, not to norm 2"),
        (ART, 1.0, {"method": "HopSkipJump"}, "HopSkipJump in norm 1: the library says: Norm"),
        (Foolbox, math.inf, {"method": "LinfPDG"}, "LinfPDG is unknown: did you mean LinfPGD"),
        (Foolbox, math.inf, {"method": "DatasetAttack"}, "DatasetAttack is not for an image"),
        (Foolbox, math.inf, {"options": {"step": 5}}, "no option step: did you mean steps"),
        (Foolbox, math.inf, {"method": "L2CarliniWagnerAttack"}, "norm 2, not to norm inf.*norm=2"),
        (Foolbox, 0.0, {"method": "PGD"}, "PGD belongs to norm inf and 2 and 1, not to norm 0"),
        (Foolbox, 2.0, {"method": "VirtualAdversarialAttack"}, "the library says: .*'steps'"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_told_when_it_is_asked_for(
    kind: Any, norm: float, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(BcadvError, match=said):
        kind(ThreatModel(0.1, norm), **more)


def test_what_a_library_raises_in_the_middle_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from foolbox.attacks import LinfPGD

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such\nthing")

    monkeypatch.setattr(LinfPGD, "run", broken)
    one = grey(1)
    said = r"foolbox\.method=LinfPGD in norm inf: the library says: no such thing"
    with pytest.raises(BcadvError, match=said):
        Foolbox(ThreatModel(0.01), method="LinfPGD")(one.model, one.image, one.target)


def test_an_image_that_is_found_no_start_holds_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from foolbox.attacks import HopSkipJumpAttack

    def without(*_: Any, **__: Any) -> None:
        raise ValueError("init_attack failed for 1 of 1 inputs")

    monkeypatch.setattr(HopSkipJumpAttack, "run", without)
    one = grey(2)
    attack = Foolbox(ThreatModel(0.01), method="HopSkipJumpAttack")
    assert torch.equal(attack(one.model, one.image, one.target), one.image)


@pytest.mark.parametrize(("name", "module"), [("art", "art.attacks"), ("foolbox", "foolbox")])
def test_without_the_library_it_is_told_how_to_get_it(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in [known for known in sys.modules if known.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BcadvError, match=rf"pip install 'bcadv\[{name}\]'"):
        catalog.build(name, ThreatModel(0.1))


def test_an_option_may_be_a_mapping() -> None:
    option = Option("options", None, "settings", "Of it.", optional=True)
    assert option.checked({"b": 1, "a": None}, "here") == {"a": None, "b": 1}
    assert list(option.checked({"b": 1, "a": 0.5}, "here") or {}) == ["a", "b"]  # type: ignore[arg-type]
    assert option.checked({}, "here") is None
    for bad in ({"a": [1]}, {1: 2}, {"a": math.inf}, "a", 3, {"a": {"b": 1}}):
        with pytest.raises(ValueError, match=r"here=.* cannot be used: give names .* or null"):
            option.checked(bad, "here")


def test_what_is_known_of_the_model_is_that_of_the_method() -> None:
    art, foolbox = ATTACKS["art"], ATTACKS["foolbox"]
    assert art.access_of({"method": "SquareAttack"}) == "black box, scores"
    assert art.access_of({"method": "HopSkipJump"}) == "black box, decisions"
    assert art.access_of(art.settings({})) == "white box"
    assert foolbox.access_of({"method": "LinearSearchBlendedUniformNoiseAttack"}) == (
        "black box, decisions"
    )
    assert foolbox.access_of({"method": "L2PGD"}) == "white box"
    assert "black box, scores" in art.how_of({"method": "SimBA"})
    attack = ART(ThreatModel(0.01), method="SquareAttack", options={"max_iter": 5})
    detached = Counting(Detached())
    assert isinstance(attack, ForeignAttack)
    attack(detached, torch.rand(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64))


class Detached(nn.Module):
    """A model without a gradient."""

    def forward(self, image: Tensor) -> Tensor:
        mean = image.detach().mean((1, 2, 3))
        return torch.stack([mean, -mean], 1)


def test_a_point_that_a_library_asks_about_beyond_the_box_is_brought_into_it() -> None:
    class Beyond(Foolbox):
        def _run(self, model: Asked, image: Tensor, eps: float) -> Tensor:
            with torch.no_grad():
                model(image - 5.0)
                model(image + 5.0)
            return image

    given = case(0, dtype=torch.float32)
    found = Beyond(ThreatModel(0.0)).sweep(given.model, given.image, given.target, [1.0])
    assert bool((found.images[0] >= 0).all())
    assert bool((found.images[0] <= 1).all())
    assert found.distance is not None
    near = found.distance[found.distance.isfinite()]
    assert len(near), "black or white is of the other class"
    assert bool((near <= 1).all())
