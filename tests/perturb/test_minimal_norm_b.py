"""FAB, sigma-zero, JSMA and L-BFGS against distances that are known exactly."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from bcadv.errors import BcadvError
from bcadv.perturb import FAB, JSMA, LBFGS, SigmaZero
from bcadv.perturb.halfspace import smallest_change
from bcadv.perturb.nearest import MinimalNorm
from bcadv.perturb.threat import ThreatModel
from bcadv.task import Task
from tests.perturb.truth.digits import load
from tests.perturb.truth.linear import case, distance

pytestmark = pytest.mark.long

INF = ThreatModel(0.0, math.inf)
L2, L1, L0 = ThreatModel(0.0, 2), ThreatModel(0.0, 1), ThreatModel(0.0, 0)

ATTACKS = [
    FAB(INF, restarts=1),
    FAB(L2, restarts=1),
    FAB(L1, restarts=1),
    SigmaZero(L0, steps=50),
    JSMA(L0),
    LBFGS(L2, steps=20),
]
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: f"{a.name}-{a.threat.norm}")


@every_attack
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_two_linear_classes_are_told_apart_at_the_exact_distance(
    attack: MinimalNorm, scale: float
) -> None:
    given = case(0, 6, dtype=torch.float64, scale=scale)
    exact = distance(given.model, given.image, given.target, attack.threat.norm)
    found = attack.nearest(given.model, given.image, given.target)
    ratio = found.distance / exact
    assert bool((given.model(found.image).argmax(1) != given.target).all())
    assert float(ratio.min()) > 1 - 1e-9
    assert float(ratio.max()) < (1 + 1e-12 if attack.threat.norm == 0 else 1.001)


@every_attack
def test_of_several_linear_classes_the_nearest_is_found_for_most(attack: MinimalNorm) -> None:
    given = case(1, 6, classes=4, dtype=torch.float64)
    exact = distance(given.model, given.image, given.target, attack.threat.norm)
    ratio = attack.nearest(given.model, given.image, given.target).distance / exact
    assert float(ratio.min()) > 1 - 1e-9
    assert float(ratio.median()) < 1.001


@every_attack
def test_a_class_that_is_asked_for_is_what_it_finds(attack: MinimalNorm) -> None:
    given = case(2, 5, classes=3, dtype=torch.float64)
    asked = (given.target + 1) % 3
    found = replace(attack, targeted=True).nearest(given.model, given.image, asked)
    assert bool(found.distance.isfinite().all())
    assert torch.equal(given.model(found.image).argmax(1), asked)


@every_attack
def test_hiding_a_disease_moves_the_sick_to_the_healthy_alone(attack: MinimalNorm) -> None:
    given = case(3, 6, classes=3, dtype=torch.float64)
    sick = given.target != 0
    assert bool(sick.any())
    hidden = replace(attack, aim="hide", task=Task(positive=(1, 2)))
    found = hidden.nearest(given.model, given.image, given.target)
    assert bool((given.model(found.image).argmax(1)[sick] == 0).all())
    assert torch.equal(found.image[~sick], given.image[~sick])


@pytest.mark.parametrize("net", ["two", "three"])
def test_fab_is_within_a_percent_on_bent_boundaries(net: str) -> None:
    digits = load(net)
    found = FAB(INF, restarts=1).nearest(digits.model, digits.image, digits.target)
    ratio = found.distance / digits.exact
    assert float(ratio.min()) > 1 - 1e-5
    assert float(ratio.median()) < 1.01


def test_jsma_changes_no_more_values_than_it_may() -> None:
    given = case(0, 8, dtype=torch.float64)
    exact = distance(given.model, given.image, given.target, 0)
    limit = int(exact.median())
    assert bool((exact > limit).any())
    found = JSMA(L0, share=(limit + 0.5) / 36).nearest(given.model, given.image, given.target)
    assert torch.equal(found.distance.isfinite(), exact <= limit)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (FAB, {"restarts": 0}, "restarts is 0"),
        (FAB, {"threat": L0}, "norm is 0"),
        (SigmaZero, {"lr": 0}, "lr is 0"),
        (JSMA, {"theta": 1.5}, "theta is 1.5"),
        (LBFGS, {"steps": True}, "steps is True"),
    ],
)
def test_options_out_of_range_are_answered(kind: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BcadvError, match=said):
        kind(**{"threat": L2, **options})


@pytest.mark.parametrize("norm", [1, math.inf])
def test_a_projection_onto_plane_and_box_is_what_a_linear_program_finds(norm: float) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(12, 1, 2, 4, generator=generator, dtype=torch.float64)
    slope = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    room = torch.where(slope > 0, 1 - image, image)
    share = torch.rand(12, generator=generator, dtype=torch.float64)
    need = share * (slope.abs() * room).flatten(1).sum(1)
    found = ThreatModel(0.0, norm).size(smallest_change(ThreatModel(0.0, norm), image, slope, need))
    for i in range(12):
        steep = slope[i].flatten().abs().numpy()
        free = room[i].flatten().numpy()
        if norm == 1:
            solved = linprog(
                np.ones(8),
                A_ub=-steep[None],
                b_ub=[-float(need[i])],
                bounds=list(zip(0 * free, free, strict=True)),
            )
        else:  # the last unknown is the size
            above = np.hstack([np.eye(8), -np.ones((8, 1))])
            solved = linprog(
                np.eye(9)[8],
                A_ub=np.vstack([np.append(-steep, 0), above]),
                b_ub=np.append(-float(need[i]), np.zeros(8)),
                bounds=[*zip(0 * free, free, strict=True), (0, 1)],
            )
        assert float(found[i]) == pytest.approx(solved.fun, rel=1e-6)
