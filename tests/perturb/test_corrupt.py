"""Every corruption of the catalog keeps every corruption's promises."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from bcadv.errors import BcadvError, ConstraintViolated
from bcadv.perturb.base import CheckedPerturbation
from bcadv.perturb.catalog import ATTACKS
from bcadv.perturb.corrupt.base import Corruption
from bcadv.perturb.corrupt.catalog import ALL, CORRUPTIONS, SEVERITIES, build, spelt_out
from tests.perturb.scenes import MODEL, corrupted, scene
from tests.perturb.test_catalog import world

every = pytest.mark.parametrize("name", CORRUPTIONS)


@every
def test_a_row_names_its_class(name: str) -> None:
    row = CORRUPTIONS[name]
    made = build(name, 3)
    assert isinstance(made, Corruption)
    assert isinstance(made, CheckedPerturbation)
    assert (row.name, made.name, made.strength, made.bounds) == (name, name, 3, (0, 1))
    assert made.with_strength(5) == build(name, 5)
    assert row.words.endswith(".")
    assert "20" in row.source
    assert name not in ATTACKS


@pytest.mark.parametrize(
    ("name", "channels"),
    [(name, channels) for name in CORRUPTIONS for channels in sorted(build(name).channels)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_stays_in_the_box_and_severity_0_is_the_image(
    name: str, channels: int, dtype: torch.dtype
) -> None:
    image = scene(2, channels=channels).to(dtype)
    image[0, :, :4] = 0
    image[0, :, -4:] = 1
    target = torch.zeros(2, dtype=torch.int64)
    found = build(name).sweep(MODEL, image, target, [0, *SEVERITIES]).images
    assert torch.equal(found[0], image)
    assert found[0] is not image
    for made in found[1:]:
        assert made.dtype == dtype
        assert made.min() >= 0
        assert made.max() <= 1
        assert bool((made != image).flatten(1).any(1).all())


@every
def test_a_larger_severity_is_a_larger_change(name: str) -> None:
    image = scene(6, side=112)
    found = build(name).sweep(MODEL, image, torch.zeros(6, dtype=torch.int64), SEVERITIES).images
    change = [float((made - image).square().mean().sqrt()) for made in found]
    assert change == sorted(change)
    assert change[0] > 0.003
    assert change[-1] > 1.3 * change[0]


@every
def test_an_image_sees_neither_neighbours_nor_order_nor_global_state(name: str) -> None:
    image, index = scene(3, side=32), torch.tensor([7, 3, 2**40])
    whole = corrupted(name, image, 4, index=index, seed=5, draw=1)
    torch.manual_seed(99)
    turned = corrupted(name, image.flip(0), 4, index=index.flip(0), seed=5, draw=1)
    assert torch.equal(turned.flip(0), whole)
    for i in range(3):
        alone = corrupted(name, image[i : i + 1], 4, index=index[i : i + 1], seed=5, draw=1)
        assert torch.equal(alone[0], whole[i])


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "shot_noise", "impulse_noise", "elastic", "stain"]
)
def test_every_one_of_seed_draw_and_index_names_another_change(name: str) -> None:
    image = scene(1, side=32)
    made = [
        corrupted(name, image, 2),
        corrupted(name, image, 2, seed=1),
        corrupted(name, image, 2, draw=1),
        corrupted(name, image, 2, index=torch.tensor([1])),
    ]
    assert len(torch.cat(made).unique(dim=0)) == 4  # type: ignore[no-untyped-call]


@every
def test_the_callers_world_is_left_as_it_was(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)).train()
    image = scene(2, side=32)
    kept, before = image.clone(), world(model)
    with torch.inference_mode():
        build(name, 3)(model, image, torch.zeros(2, dtype=torch.int64))
    assert torch.equal(image, kept)
    after = world(model)
    assert all(torch.equal(before[0][key], after[0][key]) for key in before[0])
    assert before[1:4] == after[1:4]
    assert torch.equal(before[4], after[4])


@every
@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (1, 3, 4, 9), (1, 3, 1, 1)])
def test_nothing_and_tiny_images_come_back_in_their_shape(
    name: str, shape: tuple[int, ...]
) -> None:
    assert corrupted(name, torch.full(shape, 0.4), 5).shape == shape


@every
def test_a_sweep_equals_separate_calls(name: str) -> None:
    image = scene(2, side=32)
    swept = build(name, 1).sweep(MODEL, image, torch.zeros(2, dtype=torch.int64), [5, 0, 2])
    for severity, found in zip([5, 0, 2], swept.images, strict=True):
        assert torch.equal(found, corrupted(name, image, severity))


@pytest.mark.parametrize("severity", [-1, 6, 2.5, math.nan, True, "3"])
def test_a_severity_that_is_none_is_refused(severity: Any) -> None:
    with pytest.raises(BcadvError, match=r"jpeg: severity is .*from 1 to 5"):
        build("jpeg", severity)


def test_a_seed_that_is_no_number_is_refused() -> None:
    with pytest.raises(BcadvError, match=r"seed is 1\.5"):
        build("jpeg", 1, seed=1.5)  # type: ignore[arg-type]


@every
@pytest.mark.parametrize("channels", [1, 4])
def test_channels_that_mean_nothing_to_it_are_refused(name: str, channels: int) -> None:
    image = scene(1, side=32, channels=channels)
    if channels in build(name).channels:
        corrupted(name, image, 1)
        return
    with pytest.raises(BcadvError, match=rf"^{name}: the images have {channels} channel.*Leave"):
        corrupted(name, image, 1)


def test_what_leaves_the_box_or_is_no_number_is_refused() -> None:
    made, image, index = build("contrast", 1), scene(2, side=32), torch.tensor([4, 9])
    for value in (1.01, -0.01, math.nan):
        wrong = image.clone()
        wrong[1, 0, 3, 3] = value
        with pytest.raises(ConstraintViolated, match="contrast of severity 1 left image 9"):
            made._verify(wrong, image, index)


def test_all_suits_the_images() -> None:
    names = tuple(CORRUPTIONS)
    assert spelt_out((ALL,), stained=True) == names
    plain = spelt_out((ALL,), stained=False)
    assert set(names) - set(plain) == {"stain"}
    assert spelt_out(("stain", ALL), stained=False) == ("stain", *plain)
    assert spelt_out((), stained=True) == ()


def test_the_catalog_loads_no_torch() -> None:
    code = "import sys, bcadv.perturb.corrupt.catalog; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
