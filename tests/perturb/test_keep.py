"""A search that is stopped goes on where it was, to the same end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bcadv.evaluate.state import StateFile
from bcadv.perturb import PGD, ThreatModel, WorstCase, keep
from bcadv.perturb.attack import AdversarialAttack
from bcadv.perturb.keep import kept
from tests.perturb.test_pgd import GRID, trained

THREAT = ThreatModel(0.0)
ATTACKS = {
    "pgd": PGD(THREAT, steps=8, restarts=2),
    "worst": WorstCase(THREAT, members=(PGD(THREAT, steps=3), PGD(THREAT, steps=9, seed=1))),
}


class Mortal(nn.Module):
    """A model whose process is killed at its n-th pass."""

    def __init__(self, model: nn.Module, passes: float) -> None:
        super().__init__()
        self.model, self.left, self.passed = model, passes, 0

    def forward(self, image: Tensor) -> Tensor:
        if self.passed >= self.left:
            raise MemoryError("killed")
        self.passed += 1
        logits: Tensor = self.model(image)
        return logits


class Watched:
    """Writes down how far a search is said to be."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int, str]] = []

    def standing(self, images: int, of: int, member: str) -> None:
        self.said.append((images, of, member))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_stopped_search_goes_on_to_the_same_end(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "EVERY_S", 0.0)
    attack: AdversarialAttack = ATTACKS[name]
    model, image, target = trained(2)
    whole = Mortal(model, math.inf)
    expected = attack.sweep(whole, image, target, GRID[math.inf])
    file = StateFile(tmp_path / "state")
    with kept(file), pytest.raises(MemoryError):
        attack.sweep(Mortal(model, 3 * whole.passed // 4), image, target, GRID[math.inf])
    assert file.path.is_file()
    last = Mortal(model, math.inf)
    watched = Watched()
    with kept(file, watched):
        found = attack.sweep(last, image, target, GRID[math.inf])
    for one, two in zip(found.images, expected.images, strict=True):
        assert torch.equal(one, two)
    for count in ("gradients", "queries", "distance", "by"):
        one, two = getattr(found, count), getattr(expected, count)
        assert (one is None and two is None) or torch.equal(one, two)
    # What a kill costs is the attempt at hand, never what came before.
    assert last.passed < 0.8 * whole.passed
    standing = [images for images, _, _ in watched.said]
    assert standing == sorted(standing, reverse=True)
    assert {of for _, of, _ in watched.said} == {len(image)}


def test_a_damaged_state_costs_only_the_time(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state")
    assert file.load() is None
    file.path.write_bytes(b"no state")
    assert file.load() is None
    state: dict[str, Any] = {"high": torch.arange(3), "member": 2}
    file.save(state)
    found = file.load()
    assert found is not None
    assert torch.equal(found["high"], state["high"])
    assert found["member"] == 2
    file.path.write_bytes(file.path.read_bytes()[:-20])
    assert file.load() is None
    file.remove()
    assert not list(tmp_path.iterdir())
