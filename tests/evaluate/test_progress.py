"""The time left of an evaluation, from the passes through the network."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from bcadv.callbacks.evaluate import Trial
from bcadv.evaluate.progress import EvaluationProgress
from bcadv.perturb import FGSM, ThreatModel
from bcadv.progress import Meter
from tests.metrics.tables import fgsm
from tests.test_progress import Clock

STRENGTHS = tuple(fgsm(eps) for eps in (0, 1, 8))


def attack(progress: EvaluationProgress, clock: Clock, batch: int, passes: int = 10) -> list[float]:
    """A batch that takes a second for each pass; what is done, after each."""
    seen = []
    progress.begun(batch, Trial(FGSM(ThreatModel(0.0)), STRENGTHS))
    for _ in range(passes):
        clock.now += 1
        progress.model(torch.zeros(1))
        seen.append(progress.meter.pace.done)
    progress.ended(batch, measured=True)
    return seen


def test_a_long_batch_moves_and_says_what_it_is_at(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with (
        caplog.at_level(logging.INFO),
        EvaluationProgress(nn.Identity(), 2, 3, Meter(clock=clock)).shown() as progress,
    ):
        with progress.estimating("as_trained"):
            clock.now += 1000
        assert attack(progress, clock, 0) == [0] * 10
        assert progress.meter.pace.done == 1
        assert progress.meter.pace.left == pytest.approx(50)
        seen = attack(progress, clock, 1)
        assert seen == sorted(seen)
        assert 1 < seen[0] < seen[-1] < 2
        attack(progress, clock, 2, passes=100)
        with progress.estimating("clean"):
            clock.now += 1000
            progress.model(torch.zeros(1))
        assert progress.meter.pace.done == 3
        caplog.clear()
        attack(progress, clock, 0, passes=100)
    said = [record.getMessage() for record in caplog.records]
    assert said[1].startswith(
        "evaluation, batch 1 of 3 under BN clean: FGSM 1/255 to 8/255 (2 strengths), pass 31 "
    )
    assert said[-1].startswith("evaluation, 1 of 3 batches done under BN clean; ")


def test_batches_of_an_earlier_command_cost_no_time(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    caplog.set_level(logging.INFO)
    with EvaluationProgress(nn.Identity(), 1, 10, Meter(clock=clock)).shown() as progress:
        with progress.estimating("as_trained"):
            pass
        for batch in range(8):
            progress.ended(batch, measured=False)
        assert progress.meter.pace.left is None
        attack(progress, clock, 8)
        assert progress.meter.pace.left == pytest.approx(10)
    assert "evaluation, 9 of 10 batches done; " in caplog.text


def test_the_network_is_left_as_it_was() -> None:
    model = nn.Identity()
    with EvaluationProgress(model, 1, 1, Meter()).shown():
        assert model._forward_pre_hooks
    assert not model._forward_pre_hooks
