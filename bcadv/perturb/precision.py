"""A model asked in bfloat16, which some processors multiply several times faster than float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class LowPrecision(nn.Module):
    """A model that an attack asks in bfloat16, and the exact one that confirms what it finds.

    An attack needs thousands of answers to find a few points. Here those answers come from bfloat16
    arithmetic, and a `Search` asks the exact model once more about each point that it would keep:
    what breaks an image breaks it in the images' own precision, so robust accuracy can only come
    out higher than in full precision, never lower.

    The first and the last layer with weights stay exact: 8 significant bits are too few for a
    change of half a grey level, and for the lead of one class over another.

    Args:
        model: images -> logits.

    Attributes:
        exact: the model itself.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.exact = model
        weighted = [module for module in model.modules() if isinstance(module, _WEIGHTED)]
        self._ends = [weighted[i] for i in {0, len(weighted) - 1}] if weighted else []

    def forward(self, image: Tensor) -> object:
        """Images -> logits in the images' type."""
        kind = image.device.type
        with ExitStack() as stack:
            for module in self._ends:
                stack.enter_context(_exactly(module, kind))
            stack.enter_context(torch.autocast(kind, torch.bfloat16))
            logits = self.exact(image)
        return logits.to(image.dtype) if isinstance(logits, Tensor) else logits


@contextmanager
def _exactly(module: nn.Module, kind: str) -> Iterator[None]:
    """Within it a layer works in the type of its weights, whatever autocast is at around it."""
    plain = module.forward

    def forward(value: Tensor) -> object:
        with torch.autocast(kind, enabled=False):
            return plain(value.to(next(module.parameters()).dtype))

    module.forward = forward
    try:
        yield
    finally:
        del module.forward
