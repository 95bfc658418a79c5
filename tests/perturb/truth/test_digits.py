"""The digits' asset is what it says: right images, true witnesses, and bounds that hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.perturb.truth.digits import FILE, LEVELS, NETS, Digits, load

every_net = pytest.mark.parametrize("net", NETS)


def lead(digits: Digits, image: Tensor) -> Tensor:
    """Lead of the true class over the best other one."""
    with torch.no_grad():
        logits = digits.model(image)
    own = logits.gather(1, digits.target[:, None])
    found: Tensor = own[:, 0] - logits.scatter(1, digits.target[:, None], -math.inf).amax(1)
    return found


def intervals(digits: Digits, eps: Tensor) -> Tensor:
    """A lower bound of that lead within eps of each image, layer by layer."""
    layers = [layer for layer in digits.model if isinstance(layer, nn.Linear)]
    flat = digits.image.flatten(1)
    low, high = (flat - eps[:, None]).clamp(min=0), (flat + eps[:, None]).clamp(max=1)
    for layer in layers[:-1]:
        up, down = layer.weight.clamp(min=0).T, layer.weight.clamp(max=0).T
        low, high = (
            (low @ up + high @ down + layer.bias).clamp(min=0),
            (high @ up + low @ down + layer.bias).clamp(min=0),
        )
    last, found = layers[-1], torch.full_like(eps, math.inf)
    for k in range(len(last.weight)):
        row, bias = last.weight[digits.target] - last.weight[k], last.bias[digits.target]
        bound = (low * row.clamp(min=0) + high * row.clamp(max=0)).sum(1) + bias - last.bias[k]
        found = torch.where(digits.target == k, found, torch.minimum(found, bound))
    return found.detach()


def test_the_file_is_small_and_says_what_made_it() -> None:
    assert FILE.stat().st_size < 100_000
    assert "HiGHS" in load().made_with


@every_net
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_network_is_right_on_every_image_and_each_class_is_there(
    net: str, dtype: torch.dtype
) -> None:
    digits = load(net, dtype)
    assert digits.image.dtype == dtype
    assert digits.image.shape[1:] == (1, 8, 8)
    assert float(lead(digits, digits.image).min()) > 0
    per_class = digits.target.bincount(minlength=NETS[net])
    assert len(set(per_class.tolist())) == 1
    assert len(digits.exact) == len(digits.image) >= 12


@every_net
def test_every_witness_is_in_the_box_at_the_exact_distance_and_no_longer_right(net: str) -> None:
    digits = load(net)
    assert float(digits.witness.min()) >= 0
    assert float(digits.witness.max()) <= 1
    size = (digits.witness - digits.image).flatten(1).abs().amax(1)
    torch.testing.assert_close(size, digits.exact, rtol=0, atol=1e-12)
    assert float(lead(digits, digits.witness).max()) < 1e-8


@every_net
def test_what_was_proved_meets_what_was_found(net: str) -> None:
    digits = load(net)
    torch.testing.assert_close(digits.lower, digits.exact, rtol=0, atol=1e-8)


@every_net
def test_bounds_that_hold_for_any_network_do_not_pass_the_exact_distance(net: str) -> None:
    digits = load(net)
    # Intervals: at the largest radius that they certify nothing may have been found.
    low, high = torch.zeros_like(digits.exact), torch.ones_like(digits.exact)
    for _ in range(40):
        middle = (low + high) / 2
        safe = intervals(digits, middle) > 0
        low, high = torch.where(safe, middle, low), torch.where(safe, high, middle)
    assert bool((low <= digits.exact).all())
    assert float((low / digits.exact).median()) > 0.1  # a bound that says something
    # Lipschitz: product of the layers' norms, from L-inf to the logits' differences.
    layers = [layer.weight.detach() for layer in digits.model if isinstance(layer, nn.Linear)]
    inner = math.prod(float(weight.abs().sum(1).max()) for weight in layers[:-1])
    pairs = itertools.combinations(layers[-1], 2)
    steepest = inner * max(float((a - b).abs().sum()) for a, b in pairs)
    assert bool((lead(digits, digits.image) / steepest <= digits.exact).all())


@every_net
def test_random_points_just_inside_the_exact_distance_are_right(net: str) -> None:
    """Corners of the ball in the witness's quarter, which are as bad as random points get."""
    digits, generator = load(net), np.random.default_rng(0)
    towards = (digits.witness - digits.image).sign()
    radius = 0.999 * digits.exact[:, None, None, None]
    for share in (0.0, 0.02, 0.1, 0.3):
        for _ in range(20):
            kept = torch.tensor(generator.random(digits.image.shape) >= share)
            moved = digits.image + radius * torch.where(kept, towards, -towards)
            assert float(lead(digits, moved.clamp(0, 1)).min()) > 0


def test_images_are_grey_levels_and_two_networks_differ() -> None:
    one, other = load("two"), load("two_b")
    assert torch.equal(one.image * LEVELS, (one.image * LEVELS).round())
    assert not torch.equal(one.exact, other.exact)
