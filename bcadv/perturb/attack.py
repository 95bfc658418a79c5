"""What every attack shares: the threat, the aim, when it is reached, and the final check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError, ConstraintViolated
from bcadv.perturb.base import CheckedPerturbation, Sweep
from bcadv.perturb.search import Search
from bcadv.perturb.threat import ThreatModel
from bcadv.task import Aim, Task

_ROUNDING = 1e3
"""By so many roundings of its largest logit an answer may differ from batch to batch."""


@dataclass(frozen=True)
class AdversarialAttack(CheckedPerturbation):
    """What every attack shares, whatever it knows of the model.

    A subclass says how it improves a `Search`: what is known of a batch at several radii. It is
    judged by what it finds on its way, so the best point counts and not the last one.

    Attributes:
        threat: how far an image may be moved.
        targeted: whether ``target`` is the class that the adversary wants; otherwise it is the
            true class.
        aim: of the adversary where it is not targeted: ``any`` wrong answer, to ``hide`` the
            disease of a positive image, or to ``invent`` one in a negative image. Images that the
            aim does not concern stay as they are.
        task: what the model's outputs mean; for the last two it has to say which classes are
            positive.

    Raises:
        BcadvError: no threat model, an unknown aim, or a target beside another aim than ``any``.
    """

    threat: ThreatModel
    targeted: bool = field(default=False, kw_only=True)
    aim: Literal["any", "hide", "invent"] = field(default="any", kw_only=True)
    task: Task = field(default_factory=Task, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.threat, ThreatModel):
            raise BcadvError(
                f"{self.name}: threat is {self.threat!r}; give ThreatModel(eps=8 / 255)."
            )
        if self.aim not in ("any", "hide", "invent"):
            raise BcadvError(f"{self.name}: aim is {self.aim!r}; give any, hide or invent.")
        if self.targeted and self.aim != "any":
            raise BcadvError(
                f"{self.name}: targeted=True and aim={self.aim!r} exclude each other; leave one of "
                "them out."
            )

    @property
    def strength(self) -> float:
        """The radius eps."""
        return self.threat.eps

    @property
    def bounds(self) -> tuple[float, float]:
        """The box of the threat model."""
        return self.threat.bounds

    def with_strength(self, strength: float) -> Self:
        """The same attack with another radius eps."""
        return replace(self, threat=self.threat.with_eps(strength))

    def improve(self, search: Search) -> None:
        """Attacks the images that stand at some radius of a search, and offers it what it finds."""
        if self._is_plain:
            self._try_each_radius(search)
        else:
            self._improve(search)

    def _improve(self, search: Search) -> None:
        """What `improve` does; override this, or `_perturb`."""
        raise NotImplementedError(f"{type(self).__name__} has neither _improve nor _perturb")

    @property
    def _is_plain(self) -> bool:
        """Whether it knows one radius at a time and says itself what it makes of an image."""
        return type(self)._perturb is not AdversarialAttack._perturb

    def _try_each_radius(self, search: Search) -> None:
        """From the smallest up, while an image stands."""
        if search.clean_logits is None:
            search.answer_clean()
        for number, eps in enumerate(search.radii.tolist()):
            rows = (search.high > number).nonzero()[:, 0]
            if not len(rows):
                break
            image, target, index = search.image[rows], search.target[rows], search.index[rows]
            point = self.with_strength(eps)._perturb(
                search.model, image, target, index=index, draw=search.draw
            )
            search.offer(rows, point, search.logits(rows, point))

    def _perturb(
        self, model: nn.Module, image: Tensor, target: Tensor, *, index: Tensor, draw: int
    ) -> Tensor:
        return self._sweep(model, image, target, [self.strength], index=index, draw=draw).images[0]

    def _sweep(
        self,
        model: nn.Module,
        image: Tensor,
        target: Tensor,
        strengths: Sequence[float],
        *,
        index: Tensor,
        draw: int,
    ) -> Sweep:
        if self._is_plain:
            return super()._sweep(model, image, target, strengths, index=index, draw=draw)
        search = Search(self, model, image, target, index, draw, strengths)
        self.improve(search)
        return search.sweep(strengths)

    def suits(self, classes: int) -> None:
        """Looks for what would fail on the first batch of a model of so many classes.

        Raises:
            BcadvError: the aim or the loss needs other classes.
        """
        self.wanted(torch.zeros(1, classes), torch.zeros(1, dtype=torch.int64))

    def wanted(self, logits: Tensor, target: Tensor) -> Tensor:
        """Which answers the adversary wants, bool, shape (batch, classes)."""
        aim: Aim = "class" if self.targeted else self.aim
        return self.task.wanted(target, logits.shape[1], aim)

    def lead(self, logits: Tensor, target: Tensor) -> Tensor:
        """How close the adversary is to what it wants: above 0 it has it, shape (batch,)."""
        return self.task.lead(logits, self.wanted(logits, target))

    def reached(self, logits: Tensor, target: Tensor) -> Tensor:
        """Whether the adversary has what it wants, shape (batch,).

        By more than rounding: the same pixels in another batch must not be right again.
        """
        return self.lead(logits, target) > self.rounding(logits)

    def rounding(self, logits: Tensor) -> Tensor:
        """What rounding may do to a lead, float64, shape (batch,)."""
        return _ROUNDING * torch.finfo(logits.dtype).eps * logits.abs().amax(1).double()

    def _verify(self, result: Tensor, origin: Tensor, index: Tensor) -> None:
        inside = self.threat.contains(result, origin)
        if bool(inside.all()):
            return
        worst = int((~inside).nonzero()[0])
        size = self.threat.size(result - origin)[worst].item()
        low, high = self.bounds
        raise ConstraintViolated(
            f"{self.name} moved image {int(index[worst])} by {size:.8g} in the "
            f"{self.threat.norm:g}-norm, eps is {self.threat.eps:.8g}; its pixels span "
            f"[{result[worst].min().item():.8g}, {result[worst].max().item():.8g}], "
            f"allowed is [{low:g}, {high:g}]."
        )


def whole(attack: AdversarialAttack, name: str, least: int) -> None:
    """Refuses a field of an attack that is no whole number, or too small a one.

    Raises:
        BcadvError: names field and value.
    """
    value = getattr(attack, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BcadvError(
            f"{attack.name}: {name} is {value!r}; give a whole number from {least} up."
        )
