"""Adversarial images that survive being saved, and aims that cost patients differently."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.io import decode_jpeg, encode_jpeg

from bcadv.errors import BcadvError
from bcadv.perturb import FGSM, PGD, ThreatModel
from bcadv.perturb.accept import Saved, saved
from bcadv.task import Task
from tests.perturb.nets import CLASSES, batch, small_net
from tests.perturb.test_pgd import right, trained


def test_eight_bits_are_what_a_file_holds() -> None:
    image, _ = batch(3)
    grey = (image.numpy() * 255).round().astype(np.uint8)
    kept = saved(image, "8bit")
    assert torch.equal(kept, torch.from_numpy(grey).float() / 255)
    assert torch.equal(saved(kept, "8bit"), kept)
    assert saved(image, "float") is image


@pytest.mark.parametrize("quality", [5, 90])
def test_a_jpeg_is_what_another_program_reads(quality: int) -> None:
    """Of another library: the same pixels, but for the rounding of coders."""
    image, _ = batch(1, side=32)
    coded = encode_jpeg((image[0] * 255).round().to(torch.uint8), quality)
    read = decode_jpeg(coded)
    kept = (saved(image, f"jpeg({quality})")[0] * 255).round().to(torch.uint8)
    assert int((kept.int() - read.int()).abs().max()) <= 3
    assert float((saved(image, f"jpeg({quality})") - image).abs().max()) > 1 / 255


@pytest.mark.parametrize("how", ["8bit", "jpeg(70)"])
def test_the_gradient_passes_as_if_nothing_had_been_saved(how: str) -> None:
    model, (image, _) = small_net().eval(), batch(2, side=8)
    image.requires_grad_()
    [through] = torch.autograd.grad(Saved(model, how)(image)[:, 0].sum(), image)
    kept = saved(image.detach(), how).requires_grad_()
    [plain] = torch.autograd.grad(model(kept)[:, 0].sum(), kept)
    torch.testing.assert_close(through, plain)


@pytest.mark.parametrize(
    ("how", "image", "said"),
    [
        ("png", torch.zeros(1, 3, 8, 8), "png is no way"),
        ("jpeg(101)", torch.zeros(1, 3, 8, 8), "is no way"),
        ("jpeg(90)", torch.zeros(1, 4, 8, 8), "1 or 3 channels, these have 4"),
    ],
)
def test_another_way_of_saving_is_refused(how: str, image: Tensor, said: str) -> None:
    with pytest.raises(BcadvError, match=said):
        saved(image, how)


@pytest.mark.parametrize("norm", [math.inf, 2.0])
def test_what_is_found_on_saved_images_fools_when_it_is_saved(norm: float) -> None:
    """One that is found with no thought of saving may be right again when it is saved."""
    model, image, target = trained(2)
    image = saved(image, "8bit")
    radii = [(k + 0.4) / 255 * {math.inf: 1, 2.0: 8}[norm] for k in range(3, 40, 3)]
    attack = PGD(ThreatModel(0.0, norm), steps=40)
    careless = attack.sweep(model, image, target, radii).images
    careful = attack.sweep(Saved(model, "8bit"), image, target, radii).images

    def broken(images: list[Tensor]) -> Tensor:
        return torch.stack([~right(model, one, target) for one in images])

    before = broken(careless)
    lost = before & ~broken([saved(one, "8bit") for one in careless])
    kept = broken([saved(one, "8bit") for one in careful])
    assert int(lost.sum()) > 5
    assert int(kept.sum()) > int((before & ~lost).sum())
    assert bool((kept[1:] >= kept[:-1]).all())


def call(model: torch.nn.Module, image: Tensor) -> Tensor:
    with torch.no_grad():
        classes: Tensor = model(image).max(1).indices
    return classes


@pytest.mark.parametrize("attack", [FGSM, PGD])
def test_to_hide_and_to_invent_are_different_things(attack: type[FGSM] | type[PGD]) -> None:
    """Three classes, of which 1 and 2 are diseases: one for another is no disease hidden."""
    model, image, target = trained(1)
    task = Task(positive=(1, 2))
    threat = ThreatModel(48 / 255)
    sick = target > 0
    hidden = attack(threat, aim="hide", task=task)(model, image, target)
    invented = attack(threat, aim="invent", task=task)(model, image, target)
    assert torch.equal(hidden[~sick], image[~sick])
    assert torch.equal(invented[sick], image[sick])
    assert CLASSES == 3
    assert int((call(model, hidden)[sick] == 0).sum()) > int((call(model, image)[sick] == 0).sum())
    assert int((call(model, invented)[~sick] > 0).sum()) > 0
    anything = attack(threat)(model, image, target)
    # With any answer wanted, a disease may be called another disease: less is hidden.
    some, most = (int((call(model, moved)[sick] == 0).sum()) for moved in (anything, hidden))
    assert most >= some


def test_with_two_classes_to_hide_is_to_be_wrong_on_the_sick() -> None:
    model, image, target = trained(1)
    first_two = torch.nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        first_two.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
    two = torch.nn.Sequential(model, first_two)
    target = (target == 1).long()
    task = Task(positive=(1,))
    threat = ThreatModel(8 / 255)
    plain = PGD(threat)(two, image, target)
    hidden = PGD(threat, aim="hide", task=task)(two, image, target)
    sick = target == 1
    assert torch.equal(right(two, plain, target)[sick], right(two, hidden, target)[sick])
    assert torch.equal(hidden[~sick], image[~sick])


def test_an_aim_needs_a_disease_and_stands_alone() -> None:
    model, image, target = trained(1)
    with pytest.raises(BcadvError, match=r"data\.positive"):
        FGSM(ThreatModel(0.1), aim="hide")(model, image, target)
    with pytest.raises(BcadvError, match="exclude each other"):
        FGSM(ThreatModel(0.1), aim="hide", targeted=True)
    with pytest.raises(BcadvError, match="aim is 'harm'"):
        FGSM(ThreatModel(0.1), aim="harm")  # type: ignore[arg-type]
