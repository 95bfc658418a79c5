"""BatchNorm over batches that several processes share, on any device.

torch's own SyncBatchNorm runs on GPUs only, and what runs on GPUs only can't be tested everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning.plugins import LayerSync
from torch import Tensor, distributed, nn
from torch.nn import functional
from typing_extensions import override

from bcadv.distributed import active


class WholeBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are those of all processes' shares together.

    Shares may differ in size, and all but one may be empty. Every process of the default group
    must take part in each forward and backward pass of training. In eval mode it is BatchNorm2d.
    """

    @override
    def forward(self, input: Tensor) -> Tensor:
        """Shape (share of the batch, channels, height, width), and back."""
        if not self.training:
            return super().forward(input)
        normalised: tuple[Tensor, ...] = _Normalise.apply(input, self.weight, self.bias, self.eps)
        output, mean, var, count = normalised
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            # As in BatchNorm2d, no momentum asks for the average over all batches so far.
            step = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), step)
                unbiased = var * (count / (count - 1))
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), step)
        return output


class _Normalise(torch.autograd.Function):
    """The normalisation (Ioffe & Szegedy 2015, algorithm 1) and its gradient over all shares."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the output, and mean, biased variance and number of values of the whole."""
        wide = _wide(x)
        count = wide.new_tensor([x.numel() / x.shape[1]])
        if x.numel():
            var, mean = torch.var_mean(wide, (0, 2, 3), correction=0)
        else:
            var = mean = wide.new_zeros(x.shape[1])
        local = torch.cat([mean, var * count, count])
        shares = [torch.empty_like(local) for _ in range(distributed.get_world_size())]
        distributed.all_gather(shares, local)
        means, squares, counts = torch.split(torch.stack(shares), [len(mean), len(var), 1], dim=1)
        whole = counts.sum()
        # Squares about each share's own mean, then moved to the common one (Chan et al. 1979): a
        # difference of large sums would lose the variance to rounding.
        mean = (counts * means).sum(0) / whole
        var = (squares + counts * (means - mean).square()).sum(0) / whole
        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt(), whole)
        ctx.mark_non_differentiable(mean, var, whole)
        output = functional.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)
        return output, mean, var, whole

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, whole = ctx.saved_tensors
        along = (None, slice(None), None, None)
        slope, centred = _wide(grad), _wide(x) - mean[along]
        sums = torch.stack([slope.sum((0, 2, 3)), (slope * centred).sum((0, 2, 3)) * scale])
        for_bias, for_weight = sums.clone()
        # Every value of the whole batch moves the statistics that normalise this share.
        distributed.all_reduce(sums)
        offset, tilt = sums / whole
        result = slope - offset[along] - centred.mul_((scale * tilt)[along])
        result *= (scale if weight is None else scale * weight)[along]
        given = weight is not None
        # The gradients of weight and bias are this share's own: DDP adds up those of all.
        return (
            result.to(x.dtype),
            for_weight.to(weight.dtype) if given else None,
            for_bias.to(weight.dtype) if given else None,
            None,
        )


def _wide(x: Tensor) -> Tensor:
    """Sums over a batch need more digits than half precision has."""
    return x.float() if x.dtype in {torch.bfloat16, torch.float16} else x


class WholeBatchNorm(LayerSync):
    """Lightning's plugin: BatchNorm over whole batches for the time of a training.

    Layers keep their identity, parameters, buffers and names; only their class changes, and back.
    """

    @override
    def apply(self, model: nn.Module) -> nn.Module:
        """Makes every BatchNorm2d one over whole batches, in place."""
        return _become(model, nn.BatchNorm2d, WholeBatchNorm2d)

    @override
    def revert(self, model: nn.Module) -> nn.Module:
        """Undoes `apply`."""
        return _become(model, WholeBatchNorm2d, nn.BatchNorm2d)


def _become(model: nn.Module, kind: type[nn.Module], other: type[nn.Module]) -> nn.Module:
    for layer in model.modules():
        if type(layer) is kind:
            layer.__class__ = other
    return model


@contextmanager
def whole_batches(model: nn.Module) -> Iterator[None]:
    """BatchNorm over the whole of shared batches, inside of a ``with`` block."""
    if not active():
        yield
        return
    sync = WholeBatchNorm()
    sync.apply(model)
    try:
        yield
    finally:
        sync.revert(model)
