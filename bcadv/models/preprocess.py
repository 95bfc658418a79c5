"""[0, 1] RGB -> what a backbone was trained on, as the model's first, differentiable layer.

Outside the model a pixel has one unit, so epsilon and sigma have one unit too.
"""

from __future__ import annotations

from torch import Tensor, nn

XRAY_RANGE = 1024.0
"""torchxrayvision's DenseNets were trained on pixels in [-1024, 1024]."""


class XrayRange(nn.Module):
    """Maps [0, 1] to [-1024, 1024], the range of torchxrayvision's models.

    A step of epsilon in [0, 1] is therefore a step of 2048 epsilon inside the network.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Scales images of shape (batch, 3, height, width)."""
        return image * (2 * XRAY_RANGE) - XRAY_RANGE


def widen_first_layer(weight: Tensor, channels: int = 3) -> Tensor:
    """Spreads the weights of a one-channel convolution over several channels.

    Each channel gets an equal share, so that an image whose channels are all equal gives the same
    features as its single channel gave before.

    Args:
        weight: shape (out, 1, kernel, kernel).
        channels: input channels wanted.

    Returns:
        Shape (out, channels, kernel, kernel).
    """
    return weight.repeat(1, channels, 1, 1) / channels
