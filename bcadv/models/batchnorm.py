"""BatchNorm statistics as a variable of their own.

A network trained on noisy images carries running means and variances of noisy images. What it then
loses on clean images, or seems to gain under attack, may be those statistics alone. Re-estimating
them changes no weight, so both readings of the same network can be set side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from bcadv.typing import Batch


def has_batchnorm(model: nn.Module) -> bool:
    """Whether a network has statistics to re-estimate."""
    return any(isinstance(layer, _BatchNorm) for layer in model.modules())


def reestimate(
    model: nn.Module,
    batches: Iterable[Batch],
    perturb: Callable[[Batch], Batch] | None = None,
) -> None:
    """Replaces the running statistics of every BatchNorm layer by averages over `batches`.

    Weights, modes and everything else stay as they are. The average runs over batches with equal
    weight (Izmailov et al. 2018, section 3.2), so an incomplete last batch should be dropped.

    Args:
        model: takes images of shape (batch, 3, height, width).
        batches: training images.
        perturb: applied to each batch first; ``None`` leaves the images clean.
    """
    with torch.no_grad():
        update_bn((perturb(b).image if perturb else b.image for b in batches), model)
