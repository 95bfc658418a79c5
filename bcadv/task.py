"""What a classifier's outputs mean. The only home of softmax, argmax and the losses built on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from bcadv.errors import BcadvError


@dataclass(frozen=True)
class Task:
    kind: Literal["multiclass"] = "multiclass"
    classes: tuple[str, ...] = ()
    positive: tuple[int, ...] = ()

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(logits.double(), target, reduction="none")

    def margin(self, logits: Tensor, target: Tensor) -> Tensor:
        logits = logits.double()
        true = logits.gather(1, target[:, None])[:, 0]
        others = logits.scatter(1, target[:, None], -torch.inf)
        return others.amax(1) - true

    def decide(self, logits: Tensor) -> Tensor:
        return logits.argmax(1)

    def probability(self, logits: Tensor) -> Tensor:
        return functional.softmax(logits.double(), dim=1)

    def wrong(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.decide(logits) != target

    def training_loss(self, logits: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        return functional.cross_entropy(logits, target, reduction=reduction)
