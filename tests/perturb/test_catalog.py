"""Every attack of the catalog keeps every attack's promises."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bcadv import perturb
from bcadv.perturb import catalog
from bcadv.perturb.base import CheckedPerturbation
from bcadv.perturb.catalog import ATTACKS
from bcadv.perturb.threat import ThreatModel
from tests.perturb.nets import CLASSES, batch, small_net

RADII = {
    "inf": [0.0, 4 / 255, 16 / 255],
    "2": [0.0, 0.2, 0.7],
    "1": [0.0, 1.0, 6.0],
    "0": [0.0, 2.0, 8.0],
}
EVERY = [(name, norm) for name, row in ATTACKS.items() for norm in row.norms]
CORE = ("fgsm", "pgd", "worst")
"""Attacks whose promises are looked at each time; the others' with the long tests."""
every_attack = pytest.mark.parametrize(
    ("name", "norm"),
    [
        pytest.param(name, norm, marks=[] if name in CORE else [pytest.mark.long])
        for name, norm in EVERY
    ],
)


FEW: dict[str, dict[str, Any]] = {
    "square": {"queries": 40},
    "spsa": {"queries": 60, "samples": 3},
    "hopskipjump": {"queries": 200, "samples": 10},
    "random": {"draws": 5},
    "transfer": {"steps": 5},
    "worst": {"preset": "quick"},
    "fab": {"steps": 20, "restarts": 2},
    "sigma_zero": {"steps": 30},
    "lbfgs": {"steps": 10, "search_steps": 4},
    "art": {"options": {"max_iter": 10}},
    "art 0": {"method": "SaliencyMapMethod", "options": {"theta": 0.5}},
    "foolbox": {"options": {"steps": 10}},
    "foolbox 0": {"method": "FMNAttack", "options": {"steps": 30}},
}
"""Options with which the slower attacks are quick enough for tests; by name, or name and norm."""


class InDouble(nn.Module):
    """Another model than the one under attack, for images of either precision."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_net(seed=1, dtype=torch.float64)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.net(image.double())
        return logits


def made(
    name: str, norm: str, eps: float = 0.0, model: nn.Module | None = None, **more: Any
) -> CheckedPerturbation:
    """An attack of the catalog; one that needs another model has `model`, or some other."""
    if ATTACKS[name].model_option is not None:
        more["model"] = InDouble() if model is None else model
    few = FEW.get(f"{name} {norm}", FEW.get(name, {}))
    return catalog.build(name, ThreatModel(eps, float(norm)), options=few, **more)


def world(model: nn.Module) -> list[Any]:
    """All that a caller would notice if it had changed."""
    return [
        {key: value.clone() for key, value in model.state_dict().items()},
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [parameter.grad for parameter in model.parameters()],
        torch.random.get_rng_state(),
    ]


@pytest.mark.parametrize("name", ATTACKS)
def test_a_rows_options_are_the_fields_of_its_class(name: str) -> None:
    row = ATTACKS[name]
    assert row.name == name
    other = None if row.model_option is None else InDouble()
    made_up = catalog.build(name, ThreatModel(0.0, float(row.norms[0])), model=other)
    fields = {field.name: field.default for field in dataclasses.fields(made_up)}  # type: ignore[arg-type]
    # ``members`` and ``attack`` are attacks, which no text on a command line names.
    # ``state`` is what training images made of an attack.
    made_elsewhere = {"members", "attack", "state"}
    common = {"threat", "targeted", "aim", "loss", "task", "seed", *made_elsewhere}
    options = {option.name: option.default for option in row.options}
    assert options == {key: value for key, value in fields.items() if key not in common}
    assert made_up.name == name
    for norm in row.norms:
        said = row.label_of(norm, row.settings({})) + row.how_of(row.settings({}))
        assert "{" not in said
    assert row.words
    assert all(option.description for option in row.options)
    assert getattr(perturb, type(made_up).__name__) is type(made_up)


@every_attack
def test_what_it_makes_lies_in_ball_and_box_and_moves_what_stands(name: str, norm: str) -> None:
    model, (image, target) = small_net().eval(), batch(6)
    for eps, found in zip(
        RADII[norm], made(name, norm).sweep(model, image, target, RADII[norm]).images, strict=True
    ):
        threat = ThreatModel(eps, float(norm))
        assert bool(threat.contains(found, image).all())
        with torch.no_grad():
            stands = model(found).argmax(1) == target
        assert bool((threat.size(found - image)[stands] > 0).all()) == (eps > 0)
        if eps == 0:
            assert torch.equal(found, image)


@every_attack
@pytest.mark.parametrize("targeted", [False, True])
def test_an_image_sees_neither_neighbours_nor_order(name: str, norm: str, targeted: bool) -> None:
    model, (image, target) = small_net(dtype=torch.float64).eval(), batch(6, dtype=torch.float64)
    index = torch.tensor([10, 11, 12, 13, 14, 15])
    attack = made(name, norm, RADII[norm][1], targeted=targeted)
    whole = attack(model, image, target, index=index)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    turned = attack(model, image[order], target[order], index=index[order])
    torch.testing.assert_close(turned, whole[order], rtol=0, atol=1e-9)
    for i in range(6):
        part = slice(i, i + 1)
        alone = attack(model, image[part], target[part], index=index[part])
        torch.testing.assert_close(alone, whole[part], rtol=0, atol=1e-9)


@every_attack
@pytest.mark.parametrize("mode", ["plain", "no_grad", "inference"])
def test_the_callers_world_is_left_as_it_was(name: str, norm: str, mode: str) -> None:
    model, (image, target) = small_net(), batch(4)
    model.train()
    model[0].eval()
    kept, before, attack = image.clone(), world(model), made(name, norm, RADII[norm][2])
    context: Any = {"plain": torch.enable_grad, "no_grad": torch.no_grad}.get(
        mode, torch.inference_mode
    )
    with context():
        found = attack(model, image, target)
    assert torch.equal(image, kept)
    for one, other in zip(before, world(model), strict=True):
        if isinstance(one, dict):
            assert all(torch.equal(one[key], other[key]) for key in one)
        elif isinstance(one, Tensor):
            assert torch.equal(one, other)
        else:
            assert one == other
    assert not found.requires_grad


@every_attack
def test_nothing_to_attack_comes_back_as_nothing(name: str, norm: str) -> None:
    image, target = batch(2)
    found = made(name, norm, RADII[norm][1])(small_net(), image[:0], target[:0])
    assert found.shape == (0, *image.shape[1:])


@every_attack
def test_the_order_of_the_radii_is_the_callers(name: str, norm: str) -> None:
    model, (image, target) = small_net().eval(), batch(4)
    attack = made(name, norm)
    there = attack.sweep(model, image, target, RADII[norm]).images
    back = attack.sweep(model, image, target, RADII[norm][::-1]).images[::-1]
    for one, other in zip(there, back, strict=True):
        assert torch.equal(one, other)


@every_attack
def test_clean_logits_and_cost_come_with_a_sweep(name: str, norm: str) -> None:
    model, (image, target) = small_net().eval(), batch(4)
    sweep = made(name, norm).sweep(model, image, target, RADII[norm])
    with torch.no_grad():
        expected = model(image)
    assert sweep.clean_logits is not None
    torch.testing.assert_close(sweep.clean_logits, expected, rtol=1e-4, atol=1e-5)
    assert sweep.gradients is not None
    assert sweep.gradients.shape == (4,)
    assert sweep.queries is not None
    assert bool((sweep.queries >= 1).all())
    if ATTACKS[name].family == "gradient":
        assert bool((sweep.gradients >= 1).all())
    if ATTACKS[name].access.startswith("black box"):
        assert not sweep.gradients.any()


class Returns(nn.Module):
    """A model that returns something else."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.net, self.change = small_net(), change

    def forward(self, image: Tensor) -> Any:
        return self.change(self.net(image))


class Output:
    """What libraries of transformers return."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


@every_attack
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda logits: {"out": logits}, "a dict with 'out'"),
        (lambda logits: (logits, None), "a tuple of 2"),
        (Output, "model.image..logits"),
        (lambda logits: logits[:, :1], "TwoClasses"),
        (lambda logits: logits[:, 0], "TwoClasses"),
        (lambda logits: logits.sum(), "shape .. for 2 images"),
        (lambda logits: None, "a NoneType"),
    ],
)
def test_a_model_that_returns_something_else_is_answered(
    name: str, norm: str, change: Any, said: str
) -> None:
    # Class 0 alone: the loss of a single output would be constant, and the image counted robust.
    image, _ = batch(2)
    with pytest.raises(perturb_error(), match=said):
        made(name, norm, RADII[norm][1])(Returns(change), image, torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("name", "norm"),
    [(name, norm) for name, norm in EVERY if ATTACKS[name].access == "white box"],
)
def test_a_model_without_a_gradient_is_answered(name: str, norm: str) -> None:
    image, _ = batch(2)
    model = Returns(lambda logits: logits.detach())
    right = model.net.eval()(image).max(1).indices
    with pytest.raises(perturb_error(), match="no gradient"):
        made(name, norm, RADII[norm][1])(model, image, right)


def perturb_error() -> type[Exception]:
    from bcadv.errors import BcadvError

    return BcadvError


@every_attack
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x, y: (x.numpy(), y), "the images are a ndarray"),
        (lambda x, y: (x, y.tolist()), "the target are a list"),
        (lambda x, y: ((x * 255).byte(), y), "uint8"),
        (lambda x, y: (x * 255, y), "scale or clamp"),
        (lambda x, y: (x.half(), y), "float16"),
        (lambda x, y: (x[0], y), "shape .3, 8, 8."),
        (lambda x, y: (x, y.float()), "float32"),
        (lambda x, y: (x, nn.functional.one_hot(y, CLASSES)), "int64 class indices"),
        (lambda x, y: (x, y - 5), "class indices start at 0"),
        (lambda x, y: (x * torch.nan, y), "span"),
    ],
)
def test_input_of_another_kind_is_answered(name: str, norm: str, spoil: Any, said: str) -> None:
    image, target = spoil(*batch(2))
    with pytest.raises(perturb_error(), match=said):
        made(name, norm, RADII[norm][1])(small_net(), image, target)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_function_is_no_model(name: str) -> None:
    net: Any = small_net()
    with pytest.raises(perturb_error(), match=r"torch\.nn\.Module"):
        made(name, ATTACKS[name].norms[0])(net.forward, *batch(2))


@pytest.mark.parametrize(("name", "targeted"), list(product(ATTACKS, [False, True])))
def test_a_single_logit_is_attacked_as_two_classes_on_request(name: str, targeted: bool) -> None:
    from bcadv.task import TwoClasses

    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1, 3 * 8 * 8, generator=generator)
    linear = nn.Linear(192, 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(weight)
    sigmoid_head = nn.Sequential(nn.Flatten(), linear)
    image, _ = batch(4)
    target = torch.zeros(4, dtype=torch.int64)
    model = TwoClasses(sigmoid_head)
    attack = made(name, "inf", 4 / 255, model, targeted=targeted)
    found = attack(model, image, target)
    moved = (sigmoid_head(found) - sigmoid_head(image))[:, 0]
    assert bool(((moved < 0) if targeted else (moved > 0)).any())
    assert not bool(((moved > 0) if targeted else (moved < 0)).any())


def test_reading_the_catalog_loads_no_torch() -> None:
    code = "import sys; import bcadv.perturb.catalog; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "attack.pgd.steps=0"),
        ({"steps": "20"}, "attack.pgd.steps=20"),
        ({"steps": math.inf}, "attack.pgd.steps=inf"),
        ({"steps": None}, "attack.pgd.steps=None"),
        ({"random_start": 1}, "true or false"),
        ({"step_size": 3}, "from 1e-06 to 2"),
        ({"stepsize": 3}, "did you mean attack.pgd.step_size"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        catalog.build("pgd", ThreatModel(0.1), options=options)


def test_a_text_that_reads_as_a_number_is_taken_or_answered_with_quotes() -> None:
    """The command line reads 1234 as a number, and 12e34 as one whose text is lost."""
    row = ATTACKS["transfer"]
    assert row.settings({"surrogate": 1234})["surrogate"] == "1234"
    assert row.settings({"surrogate": "12e34"})["surrogate"] == "12e34"
    for value in (12e34, True, " ", ["1a"]):
        with pytest.raises(
            ValueError, match=r"attack\.transfer\.surrogate=.* give a text"
        ) as caught:
            row.settings({"surrogate": value})
        assert ("in quotes" in str(caught.value)) == isinstance(value, float)


def test_a_row_that_needs_a_model_is_not_built_without_one() -> None:
    for name, row in ATTACKS.items():
        if row.model_option is not None:
            assert row.model_option in {option.name for option in row.options}
            with pytest.raises(perturb_error(), match=f"{name}: {row.model_option} is None"):
                catalog.build(name, ThreatModel(0.1))


def test_options_reach_the_attack() -> None:
    attack: Any = catalog.build(
        "pgd", ThreatModel(0.1), seed=7, options={"steps": 40.0, "step_size": None}
    )
    assert (attack.steps, attack.seed, attack.step_size) == (40, 7, None)
    assert isinstance(attack.steps, int)


def test_every_name_that_the_package_hands_on_is_there() -> None:
    assert perturb.__all__
    for name in perturb.__all__:
        assert getattr(perturb, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        perturb.Nonsense  # noqa: B018
