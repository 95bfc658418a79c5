"""The catalog of networks: a row each, read by the configuration and the classifier.

Imports no torch. A new network is its class in `bcadv.models` and a row here; a file
``conf/model/NAME.yaml`` says how it is chosen on the command line.

The class takes the number of classes and the network's options, maps images in [0, 1] to logits,
and has:

* ``architecture``: what the literature calls a network of this shape;
* ``load_features(state)``: takes pre-trained weights, a mapping of names to tensors. It raises
  KeyError or RuntimeError where they are those of another network.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from bcadv.config import ModelConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """A row of the catalog.

    Attributes:
        name: in files and on the command line, ``model.network``.
        place: of its class, ``module:class``.
        settings: its options beside those that every network has.
    """

    name: str
    place: str
    settings: type[ModelConfig] = ModelConfig


_DENSENETS: dict[tuple[int, tuple[int, ...], int], str] = {
    (32, (6, 12, 24, 16), 64): "densenet121",
    (32, (6, 12, 32, 32), 64): "densenet169",
    (32, (6, 12, 48, 32), 64): "densenet201",
    (48, (6, 12, 36, 24), 96): "densenet161",
}
"""Growth rate, layers per block and first channels of the networks of Huang et al. 2017."""


def densenet_name(growth_rate: int, block_config: tuple[int, ...], init_features: int) -> str:
    """What the literature calls a DenseNet of this shape, else its shape."""
    known = _DENSENETS.get((growth_rate, block_config, init_features))
    blocks = "-".join(map(str, block_config))
    return known or f"densenet (growth {growth_rate}, blocks {blocks}, {init_features} channels)"


class DenseNetConfig(ModelConfig):
    """The shape of a DenseNet (Huang et al. 2017)."""

    growth_rate: int = Field(default=32, ge=1, le=512, description="Give 1 to 512 channels.")
    """Channels that each layer adds."""
    block_config: tuple[Annotated[int, Field(ge=1, le=512)], ...] = Field(
        default=(6, 12, 24, 16),
        min_length=1,
        max_length=10,
        description="Give layers per block, 1 to 512 in up to 10 blocks.",
    )
    """Layers of each dense block; (6, 12, 24, 16) is DenseNet121."""
    init_features: int = Field(default=64, ge=1, le=4096, description="Give 1 to 4096 channels.")
    """Channels of the first convolution."""

    @property
    def architecture(self) -> str:
        """As `densenet_name`."""
        return densenet_name(self.growth_rate, self.block_config, self.init_features)

    def least_side(self, batch_size: int) -> tuple[int, str]:
        """Each block halves the image, and BatchNorm needs more than one value per channel."""
        blocks = len(self.block_config)
        least: int = 2 ** (blocks + 1) * (2 if batch_size == 1 else 1)
        return least, f"the {blocks} blocks of model.block_config"


_ROWS = (Network("densenet121", "bcadv.models.densenet:DenseNet121", DenseNetConfig),)

NETWORKS: dict[str, Network] = {row.name: row for row in _ROWS}
"""Every network by its name."""


def build(name: str, classes: int, **options: Any) -> nn.Module:
    """Makes a network of the catalog.

    Args:
        name: of its row.
        classes: number of outputs.
        options: its settings.
    """
    module, _, kind = NETWORKS[name].place.partition(":")
    made: nn.Module = getattr(import_module(module), kind)(classes, **options)
    return made
