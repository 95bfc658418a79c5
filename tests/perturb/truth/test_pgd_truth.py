"""PGD's curve against exact distances: it claims nothing that cannot be, and misses little."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from bcadv.perturb import PGD, ThreatModel
from tests.perturb.truth.digits import load
from tests.perturb.truth.linear import case, distance

SHARES = (0.999, 1.01, 1.05)


def broken(
    attack: PGD, model: nn.Module, image: Tensor, target: Tensor, exact: Tensor
) -> dict[float, float]:
    """Share of the images that the curve breaks at each multiple of their own exact distance."""
    radii = sorted({share * e for e in exact.tolist() for share in SHARES})
    found = attack.sweep(model, image, target, radii).images
    with torch.no_grad():
        lost = torch.stack([model(moved).argmax(1) != target for moved in found])
    least = torch.full_like(exact, math.inf)  # the smallest radius at which each is broken
    for row, radius in zip(reversed(lost), reversed(radii), strict=True):
        least[row] = radius
    assert bool((least >= exact * (1 - 1e-6)).all())
    return {
        share: float((least <= share * exact * (1 + 1e-12)).double().mean()) for share in SHARES
    }


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("norm", [math.inf, 2.0])
def test_on_linear_models_it_breaks_all_within_five_percent_and_none_too_early(
    norm: float, classes: int
) -> None:
    given = case(7, n=8, classes=classes, shape=(3, 8, 8))
    exact = distance(given.model, given.image, given.target, norm)
    attack = PGD(ThreatModel(0.0, norm), steps=40)
    found = broken(attack, given.model, given.image, given.target, exact)
    assert found[0.999] == 0
    assert found[1.05] == 1, found


@pytest.mark.parametrize(("net", "share"), [("two", 0.9), ("three", 0.7)])
def test_on_bent_boundaries_it_breaks_most_within_five_percent_and_none_too_early(
    net: str, share: float
) -> None:
    digits = load(net)
    attack = PGD(ThreatModel(0.0), steps=40)
    found = broken(attack, digits.model, digits.image, digits.target, digits.exact)
    assert found[0.999] == 0
    assert found[1.05] > share, found
