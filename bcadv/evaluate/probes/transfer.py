"""Images that break another model, shown to this one."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb.attack import AdversarialAttack
from bcadv.perturb.attacks.pgd import PGD


@dataclass(frozen=True)
class Transfer(AdversarialAttack):
    """PGD on another model, whose gradient stands in for one that this model may hide.

    Papernot et al., "Practical black-box attacks against machine learning", 2017. The path is
    walked to its end and not only until the other model is fooled, because a point that lies deep
    in a wrong class carries over better.

    Attributes:
        surrogate: the other model, images -> logits of the same classes.
        steps: of PGD.
        seed: names the family of its starting points.

    Raises:
        BcadvError: there is no other model.
    """

    surrogate: nn.Module | None = field(default=None, kw_only=True)
    steps: int = field(default=20, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.surrogate, nn.Module):
            raise BcadvError(
                f"{self.name}: surrogate is {self.surrogate!r}; give a torch.nn.Module."
            )

    @property
    def name(self) -> str:
        """For results."""
        return "transfer"

    def _perturb(
        self, model: nn.Module, image: Tensor, target: Tensor, *, index: Tensor, draw: int
    ) -> Tensor:
        del model
        if self.surrogate is None:
            raise TypeError("checked in __post_init__")
        attack = _Onward(self.threat, task=self.task, steps=self.steps, seed=self.seed)
        return attack(self.surrogate, image, target, index=index, draw=draw)


@dataclass(frozen=True)
class _Onward(PGD):
    """PGD that goes on after the image is broken, and returns where it ends."""

    def _perturb(
        self, model: nn.Module, image: Tensor, target: Tensor, *, index: Tensor, draw: int
    ) -> Tensor:
        eps = image.new_full((len(image),), self.threat.eps)
        point = image
        for length in self.lengths():
            gradient, _ = self._gradient(model, point, target)
            moved = point + self.threat.direction(gradient) * length * self.threat.eps
            point = self.threat.project(moved.detach(), image, eps)
        return point
