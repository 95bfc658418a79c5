"""Small networks and batches that the tests of this package share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLASSES = 3


def small_net(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """A random network with all that a mode changes, on 8 x 8 images; smooth, so no sign ties."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.Softplus(),
            nn.Dropout(0.5),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(6 * 64, CLASSES),
        )
        for layer in net:
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                nn.init.normal_(layer.running_mean, std=0.1)
                nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return net.to(dtype)


class LinearNet(nn.Module):
    """Logits that are linear in the image, so every gradient is known in closed form."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)  # (classes, channels, height, width)

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1) @ self.weight.flatten(1).T


def batch(
    size: int, seed: int = 0, dtype: torch.dtype = torch.float32, side: int = 8
) -> tuple[Tensor, Tensor]:
    """Images in [0, 1], a tenth of their pixels black or white, and targets."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(size, 3, side, side, generator=generator, dtype=dtype)
    image = ((image - 0.5) * 1.1 + 0.5).clamp(0.0, 1.0)
    return image, torch.randint(CLASSES, (size,), generator=generator)
