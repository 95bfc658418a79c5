"""Small ReLU networks on handwritten digits, whose exact distances a solver has found.

For each image the smallest L-inf change (with pixels in [0, 1]) that brings another class level is
the optimum of a mixed-integer linear program; `make_digits` says how it was posed and solved, and
makes ``digits.npz`` anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

FILE = Path(__file__).with_name("digits.npz")

NETS = {"two": 2, "two_b": 2, "three": 3}
"""Networks of the file and their number of classes: the digit modulo that number."""

WIDTHS = (64, 24, 24)
"""Pixels, and neurons of the hidden layers."""

LEVELS = 16
"""The pixels of scikit-learn's digits are whole numbers from 0 to this."""


@dataclass(frozen=True)
class Digits:
    """A network and images that it has right, with the truth about them.

    Attributes:
        model: images -> logits, in eval mode.
        image: in [0, 1], shape (n, 1, 8, 8).
        target: shape (n,).
        exact: L-inf distance to the nearest other class in the box, float64, shape (n,): the size
            of `witness`.
        lower: what the solver proved that no other class comes nearer than, float64, shape (n,);
            below `exact` by its tolerances alone.
        witness: images at `exact`, on the boundary or over it by rounding, float64.
        made_with: versions of what trained and solved.
    """

    model: nn.Sequential
    image: Tensor
    target: Tensor
    exact: Tensor
    lower: Tensor
    witness: Tensor
    made_with: str


def network(weights: list[Array]) -> nn.Sequential:
    """A ReLU network on (n, 1, 8, 8) from its weights and biases, layer by layer.

    Args:
        weights: weight (out, in), bias (out,), and so on.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def load(net: str = "two", dtype: torch.dtype = torch.float64) -> Digits:
    """A network with its images and their exact distances.

    Args:
        net: one of `NETS`.
        dtype: of model and images; the weights are float32 numbers, so neither loses anything.
    """
    with np.load(FILE) as file:
        stored = {name: file[f"{net}/{name}"] for name in ("levels", "target", "exact", "lower")}
        weights = [file[f"{net}/weight{i}"] for i in range(2 * len(WIDTHS))]
        witness, made_with = torch.tensor(file[f"{net}/witness"]), str(file["made_with"])
    return Digits(
        model=network(weights).to(dtype),
        image=torch.tensor(stored["levels"]).to(dtype).div_(LEVELS).reshape(-1, 1, 8, 8),
        target=torch.tensor(stored["target"]).long(),
        exact=torch.tensor(stored["exact"]),
        lower=torch.tensor(stored["lower"]),
        witness=witness.reshape(-1, 1, 8, 8),
        made_with=made_with,
    )
