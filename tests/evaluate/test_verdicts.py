"""Models that are built to deceive get the verdict that is due; two seeds, see `verdicts`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bcadv.errors import BcadvError
from bcadv.evaluate.verdict import verdict
from tests.evaluate import zoo
from tests.evaluate.verdicts import CASES, faults, judged

pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_model_is_called_what_it_is(name: str, seed: int) -> None:
    assert faults(CASES[name], judged(CASES[name], seed)) == []


def test_the_verdict_names_the_strength_and_leaves_the_world_as_it_was() -> None:
    case = CASES["trained on PGD"]
    zoo.trained(0, robust=True).train()
    state = torch.get_rng_state()
    found = judged(case, 0)
    assert found.text == "robust up to ε=6/255"
    assert [step.strength for step in found.steps] == list(zoo.EPS)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in zoo.trained(0, robust=True).modules())
    # The gain stands in the numbers: each value lies inside its interval, and the last is large.
    assert all(low <= value <= high for value, low, high in found.differences)
    assert found.differences[-1][1] > 0.1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"eps": [0.0]}, "at least one strength above 0"),
        ({"patients": [1, 2]}, "2 patients"),
        ({"undefended": zoo.Jpeg(zoo.network(0))}, "the undefended model has no gradient"),
    ],
)
def test_what_cannot_be_judged_is_said(changed: dict[str, Any], words: str) -> None:
    test = zoo.images(6, 0)
    given: dict[str, Any] = {
        "model": zoo.network(0),
        "undefended": zoo.network(1),
        "image": test.image,
        "target": test.target,
        "eps": [4.0],
    } | changed
    with pytest.raises(BcadvError, match=words):
        verdict(**given)
