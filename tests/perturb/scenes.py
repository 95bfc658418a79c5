"""Images that corruptions are tried on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bcadv.perturb.corrupt.catalog import build

MODEL = nn.Identity()


def scene(size: int, side: int = 56, *, seed: int = 0, channels: int = 3) -> Tensor:
    """Smooth blobs with black, white and saturated parts, (size, channels, side, side + 8)."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(size, channels, 9, 9, generator=random)
    fine = torch.rand(size, channels, side, side + 8, generator=random)
    smooth = nn.functional.interpolate(coarse, (side, side + 8), mode="bicubic")
    return ((smooth - 0.5) * 1.6 + 0.5 + 0.2 * (fine - 0.5)).clamp(0, 1)


def corrupted(name: str, image: Tensor, severity: float, **more: Any) -> Tensor:
    seed = more.pop("seed", 0)
    target = torch.zeros(len(image), dtype=torch.int64)
    return build(name, severity, seed=seed)(MODEL, image, target, **more)


def pixels(image: Tensor) -> Any:
    """(channels, height, width) -> float64 array (height, width, channels)."""
    return image.double().permute(1, 2, 0).numpy()
