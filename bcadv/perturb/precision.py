"""A model asked in bfloat16, which some processors multiply several times faster than float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

Way: TypeAlias = Callable[[Tensor], object]

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
        layers = list(model.modules())
        after = layers[layers.index(weighted[0]) + 1 :] if weighted else []
        self._ways = {
            module: _WAYS[type(module)](module)
            for module in after
            if type(module) in _WAYS and module not in self._ends and "forward" not in vars(module)
        }

    def forward(self, image: Tensor) -> object:
        """Images -> logits in the images' type."""
        kind = image.device.type
        with ExitStack() as stack:
            for end in self._ends:
                stack.enter_context(_by_way_of(end, _exact(end, kind)))
            if kind == "cpu":
                for module, way in self._ways.items():
                    stack.enter_context(_by_way_of(module, way))
            stack.enter_context(torch.autocast(kind, torch.bfloat16))
            logits = self.exact(image)
        return logits.to(image.dtype) if isinstance(logits, Tensor) else logits


@contextmanager
def _by_way_of(module: nn.Module, forward: Way) -> Iterator[None]:
    """Within it a layer answers by another function; its hooks stay."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _exact(module: nn.Module, kind: str) -> Way:
    """A layer in the type of its weights, whatever autocast is at around it."""
    plain = module.forward

    def forward(value: Tensor) -> object:
        with torch.autocast(kind, enabled=False):
            return plain(value.to(next(module.parameters()).dtype))

    return forward


def _convolved(module: nn.Conv2d) -> Way:
    """A convolution whose weights are converted once and not at every call."""
    weight, bias = _low(module.weight), _low(module.bias)
    assert weight is not None

    def forward(value: Tensor) -> object:
        return module._conv_forward(value, weight, bias)

    return forward


def _normed(module: nn.BatchNorm2d) -> Way:
    """Batch normalisation as one multiplication and addition, which is quicker in both passes.

    Behind the exact first layer it is exact, and its output is what the next layer would take it
    for: maps that stay in float32 beside those in bfloat16 turn all that they are joined with into
    float32.
    """
    plain, mean, var = module.forward, module.running_mean, module.running_var
    if mean is None or var is None:
        return plain
    with torch.inference_mode(False), torch.no_grad():
        scale = (var.float() + module.eps).rsqrt()
        scale = scale if module.weight is None else scale * module.weight
        shift = -mean * scale if module.bias is None else module.bias - mean * scale
    factor, offset = (_low(each.reshape(-1, 1, 1)) for each in (scale, shift))
    assert factor is not None
    assert offset is not None

    def forward(value: Tensor) -> object:
        if module.training:
            return plain(value)
        if value.dtype != torch.bfloat16:
            answer = plain(value)
            return answer.to(torch.bfloat16)
        return torch.addcmul(offset, value, factor)

    return forward


def _low(tensor: Tensor | None) -> Tensor | None:
    # What is made in inference mode can't be part of a graph.
    with torch.inference_mode(False), torch.no_grad():
        return None if tensor is None else tensor.to(torch.bfloat16)


_WAYS: Mapping[type, Callable[..., Way]] = {nn.Conv2d: _convolved, nn.BatchNorm2d: _normed}
"""What a processor is slow at under autocast alone, and how it is done here; subclasses may mean
something else by the same weights."""
