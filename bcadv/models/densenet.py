"""torchxrayvision's DenseNet121 for colour images: logits out, never thresholded scores."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from bcadv.models.catalog import densenet_name
from bcadv.models.preprocess import XrayRange, widen_first_layer
from bcadv.typing import Logits

with warnings.catch_warnings():
    # Importing torchxrayvision switches off every warning of the process; this undoes it.
    from torchxrayvision.models import DenseNet as XrayDenseNet


class DenseNet121(nn.Module):
    """DenseNet (Huang et al. 2017) as torchxrayvision builds it, behind its pixel scaling.

    Attributes:
        architecture: what the literature calls a network of this shape.

    Args:
        classes: number of outputs.
        growth_rate: channels that each layer adds; 32 in DenseNet121.
        block_config: layers per dense block; (6, 12, 24, 16) in DenseNet121.
        init_features: channels of the first convolution; 64 in DenseNet121.
    """

    def __init__(
        self,
        classes: int,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        init_features: int = 64,
    ) -> None:
        super().__init__()
        self.architecture = densenet_name(growth_rate, tuple(block_config), init_features)
        self.scale = XrayRange()
        # weights=None leaves op_threshs unset: with thresholds the network would return
        # renormalised probabilities, whose gradients are not those of the logits.
        self.net = XrayDenseNet(
            growth_rate=growth_rate,
            block_config=tuple(block_config),
            num_init_features=init_features,
            num_classes=classes,
            in_channels=3,
            weights=None,
        )

    def forward(self, image: Tensor) -> Logits:
        """Images in [0, 1], shape (batch, 3, height, width) -> logits (batch, classes)."""
        if len(image):
            logits: Tensor = self.net(self.scale(image))
            return logits
        # torchxrayvision cannot reshape nothing; a process without images must still take part.
        nothing: Tensor = self.net.classifier(self.net.features(image).mean((2, 3)))
        return nothing

    def load_features(self, state: Mapping[str, Tensor]) -> None:
        """Takes over the features of a pre-trained one-channel network; the head stays new.

        Args:
            state: a state dict of torchxrayvision's DenseNet.

        Raises:
            RuntimeError: if a tensor is missing or has another shape.
        """
        features = {
            key.removeprefix("features."): value
            for key, value in state.items()
            if key.startswith("features.")
        }
        first = features["conv0.weight"]
        if first.shape[1] == 1:
            features["conv0.weight"] = widen_first_layer(first)
        self.net.features.load_state_dict(features)
