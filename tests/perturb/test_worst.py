"""The worst case: flags that only ever change to broken, and who broke what."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb import FGSM, PGD, ThreatModel, WorstCase
from tests.perturb.test_pgd import GRID, SEEDS, right, robust, trained

THREAT = ThreatModel(0.0)


class Counted(nn.Module):
    """Counts the images that it is shown."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.seen = model, 0

    def forward(self, image: Tensor) -> Tensor:
        self.seen += len(image)
        logits: Tensor = self.model(image)
        return logits


@pytest.mark.parametrize("norm", [math.inf, 2.0])
def test_it_leaves_no_image_that_a_member_breaks(norm: float) -> None:
    threat = ThreatModel(0.0, norm)
    members = (FGSM(threat), PGD(threat, steps=5), PGD(threat, steps=20, seed=1))
    for seed in SEEDS:
        model, image, target = trained(seed)
        worst = WorstCase(threat, members=members).sweep(model, image, target, GRID[norm])
        stands = torch.stack([right(model, one, target) for one in worst.images])
        for member in members:
            found = member.sweep(model, image, target, GRID[norm]).images
            # A member is given up at a radius at which it failed once: luck may break one more.
            broken = torch.stack([~right(model, one, target) for one in found])
            assert int((stands & broken).sum()) <= 1
        # An image that is broken at one radius is broken at every larger one.
        assert bool((stands[:-1] >= stands[1:]).all())
        alone = members[0].sweep(model, image, target, GRID[norm]).images
        assert int(stands.sum()) < sum(robust(model, alone, target))


def test_who_broke_what_is_known() -> None:
    model, image, target = trained(2)
    members = (FGSM(THREAT), PGD(THREAT, steps=20))
    sweep = WorstCase(THREAT, members=members).sweep(model, image, target, GRID[math.inf])
    assert sweep.members == ("clean", "FGSM", "PGD-20")
    assert sweep.by is not None
    stands = torch.stack([right(model, one, target) for one in sweep.images], dim=1)
    wrong = ~right(model, image, target)
    assert torch.equal(sweep.by[:, 1:] < 0, stands[:, 1:])
    assert bool((sweep.by[:, 0] == -1).all())
    assert torch.equal((sweep.by[:, -1] == 0) & ~stands[:, -1], wrong)
    one_step = FGSM(THREAT).sweep(model, image, target, GRID[math.inf]).images
    for column in range(1, len(one_step)):
        # What FGSM breaks at this radius or a smaller one is FGSM's, whatever follows.
        earlier = torch.stack([~right(model, moved, target) for moved in one_step[: column + 1]])
        assert torch.equal((sweep.by[:, column] == 1) | wrong, earlier.any(0))
    assert int((sweep.by == 2).sum()) > 0


def test_a_member_sees_only_what_still_stands() -> None:
    model, image, target = trained(1)
    counted = Counted(model)
    largest = max(GRID[math.inf])
    first = PGD(THREAT, steps=20)
    broken = ~right(model, first.with_strength(largest)(model, image, target), target)
    assert int(broken.sum()) > 0
    strong = WorstCase(THREAT.with_eps(largest), members=(first,))
    strong(counted, image, target)
    alone = counted.seen
    counted.seen = 0
    again = replace(strong, members=(first, PGD(THREAT, steps=7, random_start=False)))
    again(counted, image, target)
    standing = int((~broken).sum())
    assert counted.seen - alone <= standing * 8 + len(image)


def test_without_a_member_in_the_norm_it_says_so() -> None:
    model, image, target = trained(1)
    with pytest.raises(BcadvError, match="norm 0"):
        WorstCase(ThreatModel(1.0, 0), preset="quick")(model, image, target)
    with pytest.raises(BcadvError, match="quick, standard, thorough"):
        WorstCase(THREAT, preset="best")
