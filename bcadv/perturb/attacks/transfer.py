"""Transfer: what fools another model is tried on this one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb.attack import AdversarialAttack, whole
from bcadv.perturb.attacks.pgd import PGD
from bcadv.perturb.loop import GradientAttack
from bcadv.perturb.search import Search

_NEVER = 1e6
"""What is taken off the logits that the adversary wants: more than any lead."""


@dataclass(frozen=True)
class Transfer(AdversarialAttack):
    """Images made against a surrogate, tried on the model; of it the adversary sees decisions.

    Szegedy et al., "Intriguing properties of neural networks", ICLR 2014, section 4; Papernot,
    McDaniel and Goodfellow, "Transferability in machine learning", 2016. An image that just fools
    the surrogate seldom fools another model, so the attack on the surrogate does not end there: it
    goes on until its steps are used up, and the point with the largest lead is tried.

    Each radius is tried on its own, from the largest down, with one query to the model. Gradients
    of the surrogate are not counted: they cost the owner of the model nothing.

    Attributes:
        surrogate: the other model, images -> logits of the same classes.
        steps: of `PGD` on the surrogate, at least 1.
        seed: names the family of its starting points.
        attack: made on the surrogate in the place of PGD, one that follows gradients. Its threat,
            task and aim are those given here.

    Raises:
        BcadvError: no surrogate, an attack that follows no gradient, or no step.
    """

    surrogate: nn.Module | None = field(default=None, kw_only=True)
    steps: int = field(default=20, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    attack: GradientAttack | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "steps", 1)
        whole(self, "seed", 0)
        if not isinstance(self.surrogate, nn.Module):
            raise BcadvError(
                f"transfer: surrogate is {self.surrogate!r}; give another model, a torch.nn.Module "
                "that maps the same images to logits of the same classes."
            )
        if self.attack is not None and not isinstance(self.attack, GradientAttack):
            raise BcadvError(
                f"transfer: attack is {self.attack!r}; give one that follows gradients, such as "
                "PGD(threat), or None for that."
            )

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "transfer"

    def _improve(self, search: Search) -> None:
        if search.clean_logits is None:
            search.answer_clean()
        inner = self.attack or PGD(self.threat, steps=self.steps, seed=self.seed)
        inner = replace(inner, targeted=self.targeted, aim=self.aim, task=self.task)
        for number in reversed(range(len(search.radii))):
            rows = (search.high > number).nonzero()[:, 0]
            if not len(rows):
                continue
            image, target, index = search.image[rows], search.target[rows], search.index[rows]
            there = replace(inner, threat=self.threat.with_eps(float(search.radii[number])))
            point = there(
                self._unmoved(search, rows), image, target, index=index.cpu(), draw=search.draw
            )
            logits = search.logits(rows, point)
            broken = search.offer(rows, point, logits)
            lead = self.lead(logits, target)
            stood = ~broken
            at = torch.full_like(rows, number)
            search.failed(rows[stood], at[stood], point[stood], lead[stood])

    def _unmoved(self, search: Search, rows: Tensor) -> nn.Module:
        """The surrogate as one that is never fooled, so that the attack on it never rests."""
        assert self.surrogate is not None
        assert search.clean_logits is not None
        wanted = self.wanted(search.clean_logits[rows], search.target[rows])
        return _NeverFooled(self.surrogate, wanted)


class _NeverFooled(nn.Module):
    """A model whose logits of the wanted classes are all lower by the same large number.

    The log odds of the wanted classes fall by that number and have the same gradient.

    Args:
        model: images -> logits.
        wanted: bool, shape (batch, classes).
    """

    def __init__(self, model: nn.Module, wanted: Tensor) -> None:
        super().__init__()
        self.model, self.wanted = model, wanted

    def forward(self, image: Tensor) -> object:
        logits = self.model(image)
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            return logits
        if logits.shape[1] != self.wanted.shape[1]:
            raise BcadvError(
                f"transfer: the surrogate knows {logits.shape[1]} classes and the model "
                f"{self.wanted.shape[1]}; give a surrogate trained on the same classes."
            )
        if len(logits) != len(self.wanted):
            raise BcadvError(
                f"transfer: the attack asked the surrogate about {len(logits)} of "
                f"{len(self.wanted)} images; give one that keeps the batch together, such as PGD."
            )
        return logits.double() - _NEVER * self.wanted
