"""The three numbers, and the refusal of what cannot be."""

from __future__ import annotations

import math

import pytest
import torch

from tests.perturb.truth.score import score


def test_ratios_are_of_successes_and_the_rest_is_told_apart() -> None:
    found = torch.tensor([1.0, 2.2, math.inf, 6.0, math.nan])
    said = score(found, torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (said.median, said.largest, said.failed) == pytest.approx((1.1, 1.5, 0.4))
    assert str(said) == "median 1.1000, max 1.5000, failed 40.0%"


def test_an_attack_that_always_fails_has_no_ratio() -> None:
    said = score(torch.tensor([math.inf, math.nan]), torch.ones(2))
    assert math.isnan(said.median)
    assert math.isnan(said.largest)
    assert said.failed == 1


def test_a_distance_below_the_exact_one_is_a_false_claim() -> None:
    with pytest.raises(ValueError, match=r"image 1 is said to be broken at 0\.99"):
        score(torch.tensor([1.0, 0.99]), torch.ones(2))
    assert score(torch.tensor([1 - 1e-7]).double(), torch.ones(1)).largest < 1


@pytest.mark.parametrize("exact", [0.0, math.inf, math.nan])
def test_a_truth_that_nothing_can_be_divided_by_is_refused(exact: float) -> None:
    with pytest.raises(ValueError, match="finite and above 0"):
        score(torch.ones(1), torch.tensor([exact]))
