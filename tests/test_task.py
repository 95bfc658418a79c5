"""What outputs mean, against formulas written down independently."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.task import Task, TwoClasses

LOGITS = torch.tensor([[2.0, 1.0, -1.0], [0.0, 3.0, 3.0], [-5.0, 0.5, 0.0]])
TARGET = torch.tensor([0, 0, 2])


def test_decisions_probabilities_and_losses() -> None:
    task = Task()
    assert task.decide(LOGITS).tolist() == [0, 1, 1]
    assert task.wrong(LOGITS, TARGET).tolist() == [False, True, True]
    for i, row in enumerate(LOGITS.double().tolist()):
        total = sum(math.exp(z) for z in row)
        expected = [math.exp(z) / total for z in row]
        assert task.probability(LOGITS)[i].tolist() == pytest.approx(expected)
        true = int(TARGET[i])
        others = [z for k, z in enumerate(row) if k != true]
        assert float(task.loss(LOGITS, TARGET)[i]) == pytest.approx(-math.log(expected[true]))
        assert float(task.margin(LOGITS, TARGET)[i]) == pytest.approx(max(others) - row[true])
        odds = math.log(sum(math.exp(z) for z in others)) - row[true]
        assert float(task.log_odds(LOGITS, TARGET)[i]) == pytest.approx(odds)


def gradient(loss: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(loss.sum(), logits)[0]


def test_log_odds_have_the_direction_of_cross_entropy() -> None:
    logits = LOGITS.double().requires_grad_()
    one = gradient(Task().log_odds(logits, TARGET), logits)
    other = gradient(nn.functional.cross_entropy(logits, TARGET, reduction="sum"), logits)
    torch.testing.assert_close(one / one.norm(dim=1)[:, None], other / other.norm(dim=1)[:, None])


@pytest.mark.parametrize("lead", [10.0, 20.0, 50.0, 200.0, 1e4])
def test_however_sure_a_model_is_the_loss_has_a_gradient(lead: float) -> None:
    logits = torch.tensor([[lead, 0.0], [0.0, 0.3]], requires_grad=True)
    target = torch.tensor([0, 1])
    for loss in (Task().loss, Task().log_odds):
        found = gradient(loss(logits, target), logits)
        assert found[0, 0] < 0 < found[0, 1]
        assert found[1, 1] < 0 < found[1, 0]


def test_one_logit_becomes_two_classes_with_the_same_probability() -> None:
    one = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    image = torch.rand(3, 1, 2, 2)
    with torch.no_grad():
        found = Task().probability(TwoClasses(one)(image))[:, 1]
        torch.testing.assert_close(found, torch.sigmoid(one(image))[:, 0].double())
    with pytest.raises(BcadvError, match="one logit per image"):
        TwoClasses(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))(image)


def test_training_minimises_torchs_own_cross_entropy() -> None:
    for reduction in ("mean", "sum"):
        found = Task().training_loss(LOGITS, TARGET, reduction)
        assert torch.equal(found, nn.functional.cross_entropy(LOGITS, TARGET, reduction=reduction))
