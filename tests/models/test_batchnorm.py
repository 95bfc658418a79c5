"""Re-estimating BatchNorm statistics changes them, and nothing else."""

from __future__ import annotations

import torch
from torch import nn

from bcadv.models.batchnorm import reestimate
from bcadv.typing import Batch


def batches(n: int = 3) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        Batch(
            torch.rand(8, 3, 4, 4, generator=generator),
            torch.zeros(8, dtype=torch.int64),
            torch.arange(8),
        )
        for _ in range(n)
    ]


def test_statistics_are_the_mean_over_batches() -> None:
    layer = nn.BatchNorm2d(3)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    layer.running_mean.fill_(100)
    images = [batch.image for batch in batches()]
    reestimate(layer, batches())
    means = torch.stack([i.mean((0, 2, 3)) for i in images]).mean(0)
    variances = torch.stack([i.transpose(0, 1).flatten(1).var(1) for i in images]).mean(0)
    torch.testing.assert_close(layer.running_mean, means)
    torch.testing.assert_close(layer.running_var, variances)


def test_the_images_are_perturbed_where_asked_for() -> None:
    layer = nn.BatchNorm2d(3)

    def darker(batch: Batch) -> Batch:
        batch.image = batch.image * 0
        return batch

    reestimate(layer, batches(), darker)
    assert layer.running_mean is not None
    assert layer.running_mean.abs().max() == 0


def test_no_weight_and_no_mode_changes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    before = {name: p.clone() for name, p in model.named_parameters()}
    momentum = model[1].momentum
    reestimate(model, batches())
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    assert not model.training
    assert model[1].momentum == momentum
    assert all(p.grad is None for p in model.parameters())
