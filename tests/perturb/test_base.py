"""What every perturbation promises its caller, held on the shipped ones and on broken ones."""

from __future__ import annotations

import contextlib
import copy
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bcadv.errors import BcadvError, ConstraintViolated
from bcadv.perturb import FGSM, CheckedPerturbation, GaussianNoise, GradientAttack, ThreatModel
from bcadv.typing import Perturbation
from tests.perturb.nets import batch, small_net

SHIPPED: list[CheckedPerturbation] = [
    FGSM(ThreatModel(0.1)),
    FGSM(ThreatModel(1.0, norm=2)),
    FGSM(ThreatModel(0.1), targeted=True),
    GaussianNoise(0.2),
    GaussianNoise(0.2, clip=True),
]
every_one = pytest.mark.parametrize("perturbation", SHIPPED, ids=lambda p: str(p.name))


@dataclass(frozen=True)
class Shifted(GradientAttack):
    """Moves every pixel by a fixed amount, whatever the threat model allows."""

    by: float = 0.0

    @property
    def name(self) -> str:
        return "shifted"

    def _perturb(
        self, model: nn.Module, image: Tensor, target: Tensor, *, index: Tensor, draw: int
    ) -> Tensor:
        return image + self.by


@dataclass(frozen=True)
class Probe(GradientAttack):
    """Calls the model and reports back the radius it was asked for."""

    @property
    def name(self) -> str:
        return "probe"

    def _perturb(
        self, model: nn.Module, image: Tensor, target: Tensor, *, index: Tensor, draw: int
    ) -> Tensor:
        model(image)
        return image + self.threat.eps / 2


class Watching(nn.Module):
    """Notes the world as it is while the model runs, and can fail in the middle of it."""

    def __init__(self, net: nn.Module, *, fails: bool = False) -> None:
        super().__init__()
        self.net = net
        self.fails = fails
        self.modes: list[bool] = []
        self.frozen: list[bool] = []
        self.grad_enabled = False

    def forward(self, image: Tensor) -> Tensor:
        self.modes = [module.training for module in self.modules()]
        self.frozen = [not parameter.requires_grad for parameter in self.parameters()]
        self.grad_enabled = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        torch.rand(3)  # a model that draws random numbers disturbs the global state
        if self.fails:
            raise RuntimeError("the model failed")
        out: Tensor = self.net(image)
        return out


def state_of(model: nn.Module) -> dict[str, Any]:
    """Everything a caller could notice about a model."""
    return {
        "modes": [module.training for module in model.modules()],
        "flags": [parameter.requires_grad for parameter in model.parameters()],
        "grads": [
            None if parameter.grad is None else parameter.grad.tolist()
            for parameter in model.parameters()
        ],
        "values": {key: value.tolist() for key, value in model.state_dict().items()},
        "rng": torch.get_rng_state().tolist(),
    }


def lived_in(net: nn.Module, modes: list[bool], flags: list[bool]) -> nn.Module:
    """A model in the middle of a training: mixed modes, some weights frozen, gradients there."""
    for module, mode in zip(net.modules(), modes, strict=False):
        module.training = mode
    for parameter, flag in zip(net.parameters(), flags, strict=False):
        parameter.requires_grad_(flag)
        if flag:
            parameter.grad = torch.full_like(parameter, 0.5)
    return net


@every_one
def test_it_is_a_perturbation_with_a_name_and_a_strength(
    perturbation: CheckedPerturbation,
) -> None:
    assert isinstance(perturbation, Perturbation)
    other = perturbation.with_strength(0.03)
    assert other.strength == 0.03
    assert (type(other), other.name) == (type(perturbation), perturbation.name)
    assert other.with_strength(perturbation.strength) == perturbation


@every_one
@given(
    modes=st.lists(st.booleans(), min_size=10, max_size=10),
    flags=st.lists(st.booleans(), min_size=10, max_size=10),
    size=st.integers(0, 4),
    fails=st.booleans(),
)
@settings(max_examples=12)
def test_the_callers_world_is_left_as_it_was(
    perturbation: CheckedPerturbation, modes: list[bool], flags: list[bool], size: int, fails: bool
) -> None:
    model = lived_in(Watching(small_net(), fails=fails), modes, flags)
    image, target = batch(size)
    image.requires_grad_()
    image.grad = torch.ones_like(image)
    kept = copy.deepcopy((image.detach(), target))
    index = torch.arange(size)
    before = state_of(model)
    fails = fails and size > 0 and isinstance(perturbation, FGSM)
    with pytest.raises(RuntimeError, match="failed") if fails else contextlib.nullcontext():
        perturbation(model, image, target, index=index)
        perturbation.sweep(model, image, target, [0.0, 0.1], index=index)
    assert state_of(model) == before
    assert torch.equal(image.detach(), kept[0])
    assert torch.equal(target, kept[1])
    assert image.requires_grad
    assert image.grad is not None
    assert torch.equal(image.grad, torch.ones_like(image))
    assert index.tolist() == list(range(size))
    assert torch.is_grad_enabled()


def test_while_attacked_the_model_is_in_eval_mode_with_gradients_for_the_image_only() -> None:
    model = Watching(small_net()).train()
    image, target = batch(2)
    with torch.inference_mode():
        FGSM(ThreatModel(0.1))(model, image, target)
    assert model.modes
    assert not any(model.modes)
    assert all(model.frozen)
    assert model.grad_enabled


@every_one
def test_training_mode_does_not_change_the_result(perturbation: CheckedPerturbation) -> None:
    image, target = batch(3)
    training = perturbation(small_net().train(), image, target)
    assert torch.equal(training, perturbation(small_net().eval(), image, target))


@every_one
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(perturbation: CheckedPerturbation, context: Any) -> None:
    model = small_net()
    plain = perturbation(model, *batch(3), index=torch.arange(3))
    with context():
        image, target = batch(3)  # tensors of this very mode, as a data loader hands them over
        inside = perturbation(model, image, target, index=torch.arange(3))
        swept = perturbation.sweep(model, image, target, [perturbation.strength])
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (context is torch.inference_mode)
    assert torch.equal(inside, plain)
    assert torch.equal(swept.images[0], plain)
    assert not inside.is_inference()


@every_one
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0, 1, 3])
def test_the_result_is_a_new_tensor_of_the_same_kind(
    perturbation: CheckedPerturbation, dtype: torch.dtype, size: int
) -> None:
    image, target = batch(size, dtype=dtype)
    model = small_net(dtype=dtype)
    for strength in (0.0, perturbation.strength):
        result = perturbation.with_strength(strength)(model, image, target)
        assert (result.shape, result.dtype, result.device) == (
            image.shape,
            image.dtype,
            image.device,
        )
        assert not result.requires_grad
        assert size == 0 or result.data_ptr() != image.data_ptr()
        assert torch.equal(result, image) == (strength == 0 or size == 0)


def test_an_empty_batch_costs_no_call_of_the_model() -> None:
    swept = FGSM(ThreatModel(0.1)).sweep(Watching(small_net(), fails=True), *batch(0), [0.1, 0.2])
    assert [image.shape for image in swept.images] == [(0, 3, 8, 8)] * 2
    assert swept.clean_logits is None


@every_one
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"image": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, "torch.uint8"),
        ({"image": torch.zeros(2, 3, 8, 8, dtype=torch.float16)}, "torch.float16"),
        ({"image": torch.zeros(2, 3, 8, 8, dtype=torch.bfloat16)}, "torch.bfloat16"),
        ({"image": torch.zeros(2, 8, 8)}, r"\(2, 8, 8\)"),
        ({"image": torch.zeros(2, 3, 0, 8)}, r"\(2, 3, 0, 8\)"),
        ({"image": torch.full((2, 3, 8, 8), 1.5)}, r"\[1.5, 1.5\].*\[0, 1\]"),
        ({"image": torch.full((2, 3, 8, 8), -0.25)}, "-0.25"),
        ({"image": torch.full((2, 3, 8, 8), math.nan)}, "nan"),
        ({"target": torch.zeros(3, dtype=torch.int64)}, r"\(3,\).*\(2,\)"),
        ({"target": torch.zeros(2)}, "torch.float32"),
        ({"target": torch.tensor([0, -1])}, "-1"),
        ({"index": torch.arange(3)}, r"index.*\(3,\)"),
        ({"index": torch.zeros(2)}, "index is torch.float32"),
    ],
)
def test_a_wrong_input_is_refused_with_its_value(
    perturbation: CheckedPerturbation, change: dict[str, Tensor], named: str
) -> None:
    image, target = batch(2)
    given_ = {"image": image, "target": target, "index": torch.arange(2)} | change
    with pytest.raises(BcadvError, match=f"{perturbation.name}.*{named}"):
        perturbation(small_net(), given_["image"], given_["target"], index=given_["index"])


@pytest.mark.parametrize(
    ("by", "norm", "eps", "named"),
    [
        (0.2, math.inf, 0.1, r"image 41 by 0\.(2|19999)\d* in the inf-norm, eps is 0\.1"),
        (0.2, 2.0, 2.7, r"image 41 by 2\.77\d* in the 2-norm, eps is 2\.7"),
        (0.6, math.inf, 1.0, r"image 41 .*span \[1\.1\d*, 1\.1\d*\], allowed is \[0, 1\]"),
        (math.nan, math.inf, 1.0, r"image 41 by nan"),
    ],
)
def test_a_result_outside_ball_or_box_is_never_handed_back(
    by: float, norm: float, eps: float, named: str
) -> None:
    image, target = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, dtype=torch.int64)
    attack = Shifted(ThreatModel(eps, norm), by=by)
    with pytest.raises(ConstraintViolated, match=named):
        attack(nn.Identity(), image, target, index=torch.tensor([41]))


def test_a_sweep_checks_each_result_against_its_own_strength() -> None:
    image, target = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, dtype=torch.int64)
    attack = Shifted(ThreatModel(0.5), by=0.2)
    assert len(attack.sweep(nn.Identity(), image, target, [0.2, 0.3]).images) == 2
    with pytest.raises(ConstraintViolated, match=r"eps is 0\.1"):
        attack.sweep(nn.Identity(), image, target, [0.2, 0.1])


def test_an_attack_that_shares_nothing_is_run_once_per_strength() -> None:
    image, target = torch.full((2, 3, 8, 8), 0.5), torch.zeros(2, dtype=torch.int64)
    calls = []
    model = nn.Identity()
    model.register_forward_hook(lambda *_: calls.append(1))
    swept = Probe(ThreatModel(0.4)).sweep(model, image, target, [0.1, 0.2])
    assert [each.mean().item() for each in swept.images] == pytest.approx([0.55, 0.6])
    assert swept.clean_logits is None
    assert len(calls) == 2


def test_a_result_of_another_kind_is_a_bug_of_the_subclass() -> None:
    @dataclass(frozen=True)
    class Double(Probe):
        def _perturb(self, model: nn.Module, image: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            return image.double()

    with pytest.raises(TypeError, match=r"Double made a .*torch.float64 .*torch.float32"):
        Double(ThreatModel(0.1))(nn.Identity(), *batch(2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_one
def test_a_gpu_sees_what_the_cpu_sees(perturbation: CheckedPerturbation) -> None:
    image, target = batch(3, dtype=torch.float64)
    model = small_net(dtype=torch.float64)
    on_cpu = perturbation(model, image, target)
    before = torch.cuda.get_rng_state()
    on_gpu = perturbation(model.cuda(), image.cuda(), target.cuda())
    assert on_gpu.is_cuda
    assert torch.equal(torch.cuda.get_rng_state(), before)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu)
