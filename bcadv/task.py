"""What a classifier's outputs mean: the only home of softmax, argmax and the losses on top of them.

Everything else asks the task for a decision, a probability or a loss, so that another kind of task
changes this file and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from bcadv.errors import BcadvError
from bcadv.typing import Batch, Logits

_SURE = -30.0
"""Log odds against the true class beyond which its probability cannot be told from 1."""


Aim: TypeAlias = Literal["any", "hide", "invent", "class"]
"""What an adversary wants: any wrong answer, a disease hidden, a disease invented, or one class."""


@dataclass(frozen=True)
class Task:
    """One of K classes per image.

    Attributes:
        kind: of task.
        classes: their names in the order of the outputs; empty where they are not known.
        positive: numbers of the classes that count as the disease.
    """

    kind: Literal["multiclass"] = "multiclass"
    classes: tuple[str, ...] = ()
    positive: tuple[int, ...] = ()

    def check(self, logits: object, target: Tensor, owner: str) -> Tensor:
        """Refuses what is not logits of these images.

        Args:
            logits: what a model returned, hopefully (batch, classes).
            target: class indices, shape (batch,).
            owner: begins the message.

        Returns:
            The logits.

        Raises:
            BcadvError: another type or shape, a single logit, or a target that the model does not
                know.
        """
        if not isinstance(logits, Tensor):
            inside = getattr(logits, "logits", None)
            hint = (
                "lambda image: model(image).logits"
                if isinstance(inside, Tensor)
                else "lambda image: model(image)[...]"
            )
            raise BcadvError(
                f"{owner}: the model returned {_told(logits)}; it must return a tensor of logits, "
                f"(batch, classes): wrap it in a module whose forward is {hint}."
            )
        single = logits.ndim == 1 or (logits.ndim == 2 and logits.shape[1] == 1)
        if single and len(logits) == len(target):
            raise BcadvError(
                f"{owner}: the model returned one logit per image, shape {tuple(logits.shape)}; "
                "with one output the loss of class 0 does not depend on the image. Make two "
                "classes of it: bcadv.task.TwoClasses(model)."
            )
        if logits.ndim != 2 or len(logits) != len(target):
            raise BcadvError(
                f"{owner}: the model returned shape {tuple(logits.shape)} for {len(target)} "
                "images; it must return logits of shape (batch, classes)."
            )
        if len(target) and int(target.max()) >= logits.shape[1]:
            raise BcadvError(
                f"{owner}: the target holds class {int(target.max())} but the model knows "
                f"{logits.shape[1]} classes, counted from 0."
            )
        return logits

    def decide(self, logits: Tensor) -> Tensor:
        """The class that each image is called, int64, shape (batch,)."""
        return logits.argmax(1)

    def wrong(self, logits: Tensor, target: Tensor) -> Tensor:
        """Whether each image is called another class than its own, bool, shape (batch,)."""
        return self.decide(logits) != target

    def probability(self, logits: Tensor) -> Tensor:
        """Probability of each class, float64, shape (batch, classes)."""
        return functional.softmax(logits.double(), dim=1)

    def margin(self, logits: Tensor, target: Tensor) -> Tensor:
        """Lead of the best other class over the true one, float64, shape (batch,).

        Above 0 the image is called wrong.
        """
        logits = logits.double()
        true = logits.gather(1, target[:, None])
        others = logits.scatter(1, target[:, None], -torch.inf)
        return others.amax(1) - true[:, 0]

    def log_odds(self, logits: Tensor, target: Tensor) -> Tensor:
        """Log odds against the true class, float64, shape (batch,).

        Cross entropy is ``log(1 + exp(log odds))``: it grows with them, so both have the same
        direction of steepest ascent; but its gradient vanishes where the true class leads by far,
        in float32 by 17 and in float64 by 37, and that of the log odds never does.
        """
        logits = logits.double()
        true = logits.gather(1, target[:, None])
        others = logits.scatter(1, target[:, None], -torch.inf)
        return others.logsumexp(1) - true[:, 0]

    def wanted(self, target: Tensor, classes: int, aim: Aim = "any") -> Tensor:
        """Which answers an adversary wants of each image.

        Args:
            target: the true classes; with ``class`` those that the adversary wants, shape (batch,).
            classes: how many the model knows.
            aim: ``any`` answer but the true one; to ``hide`` the disease: any negative class for a
                positive image; to ``invent`` it: any positive class for a negative image; or the
                one ``class`` that the target names.

        Returns:
            bool, shape (batch, classes). Where the aim does not concern an image (there is no
            disease to hide in a negative one), any answer will do.

        Raises:
            BcadvError: no class, or every class, counts as the disease that is to be hidden or
                invented.
        """
        own = torch.zeros(len(target), classes, dtype=torch.bool, device=target.device)
        own.scatter_(1, target[:, None], True)
        if aim in ("any", "class"):
            return own if aim == "class" else ~own
        sick = torch.zeros(classes, dtype=torch.bool, device=target.device)
        sick[[number for number in self.positive if number < classes]] = True
        if not 0 < int(sick.sum()) < classes:
            raise BcadvError(
                f"An attack that is to {aim} a disease needs one: {int(sick.sum())} of {classes} "
                "classes count as positive; say which with Task(positive=(1,)), or data.positive."
            )
        answers = ~sick if aim == "hide" else sick
        return answers | ~self.concerned(target, aim)[:, None]

    def concerned(self, target: Tensor, aim: Aim) -> Tensor:
        """Which images an adversary is after: the sick, the healthy, or all; bool, shape (batch,).

        Args:
            target: the true classes, shape (batch,).
            aim: see `wanted`.
        """
        if aim not in ("hide", "invent"):
            return torch.ones_like(target, dtype=torch.bool)
        positive = torch.tensor(self.positive, dtype=torch.int64, device=target.device)
        sick = torch.isin(target, positive)
        return sick if aim == "hide" else ~sick

    def lead(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Lead of the best wanted class over the best other one, float64, shape (batch,).

        Above 0 the adversary has what it wants. Where every class is wanted the lead is infinite.

        Args:
            logits: shape (batch, classes).
            wanted: bool, same shape.
        """
        logits = logits.double()
        ours = logits.masked_fill(~wanted, -torch.inf).amax(1)
        theirs = logits.masked_fill(wanted, -torch.inf).amax(1)
        return torch.where(wanted.all(1), torch.inf, ours - theirs)

    def odds(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Log odds of the wanted classes together against all others, float64, shape (batch,).

        Where every class is wanted they are 0, and so is their gradient.

        Args:
            logits: shape (batch, classes).
            wanted: bool, same shape.
        """
        logits = logits.double()
        everything = wanted.all(1)
        # No row may be without any class, or its gradient is no number.
        apart = wanted ^ (everything[:, None] & (torch.arange(wanted.shape[1]) == 0).to(wanted))
        ours = logits.masked_fill(~apart, -torch.inf).logsumexp(1)
        theirs = logits.masked_fill(apart, -torch.inf).logsumexp(1)
        return torch.where(everything, 0.0, ours - theirs)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of each image, float64, shape (batch,).

        Where it is too close to 0 to have a gradient, the log odds stand in for it.
        """
        entropy = functional.cross_entropy(logits.double(), target, reduction="none")
        if bool((entropy > 1e-13).all()):
            return entropy
        odds = self.log_odds(logits, target)
        return torch.where(odds < _SURE, odds, entropy)

    def loss_module(self) -> nn.Module:
        """Cross entropy of a batch, as libraries want it that take the loss as a module."""
        return nn.CrossEntropyLoss()

    def training_loss(self, logits: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        """Cross entropy as training minimises it, in the precision of the logits."""
        return functional.cross_entropy(logits, target, reduction=reduction)


class LossOf(Protocol):
    """What a training step minimises."""

    def __call__(
        self, model: nn.Module, batch: Batch, task: Task, reduction: str
    ) -> tuple[Tensor, Logits]:
        """The loss of a batch, and the logits that the training's accuracy is told from.

        Args:
            model: in training mode, images -> logits.
            batch: images as the training sees them, with noise where that is injected.
            task: what the logits mean.
            reduction: ``mean``, or ``sum`` of a batch without images.
        """
        ...


class TwoClasses(nn.Module):
    """A model with one output per image (the logit of class 1) as one with two classes.

    The logits become (0, z), so that the probability of class 1 is the sigmoid of z, as before.

    Args:
        model: images -> logits of shape (batch,) or (batch, 1). Probabilities are not logits: a
            model that ends in a sigmoid has to lose it first.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """Images -> logits of shape (batch, 2)."""
        one = self.model(image)
        if not isinstance(one, Tensor) or one.numel() != len(image):
            shape = tuple(one.shape) if isinstance(one, Tensor) else _told(one)
            raise BcadvError(
                f"TwoClasses: the model returned {shape} for {len(image)} images; it is for models "
                "with one logit per image."
            )
        one = one.reshape(-1)
        return torch.stack([torch.zeros_like(one), one], dim=1)


def _told(value: object) -> str:
    if isinstance(value, dict):
        return f"a dict with {', '.join(map(repr, list(value)[:4]))}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
