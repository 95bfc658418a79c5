"""The fast gradient sign method from a random point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.base import Sweep
from bcadv.perturb.loop import GradientAttack, step
from bcadv.perturb.random import seeded
from bcadv.perturb.search import Search
from bcadv.perturb.threat import is_number


@dataclass(frozen=True)
class RFGSM(GradientAttack):
    """R+FGSM: a small random step, then FGSM with what is left of eps.

    ``x' = x + alpha * sign(N(0, 1))``, then ``x' + (eps - alpha) * sign(grad J(x'))`` (Tramèr,
    Kurakin, Papernot, Goodfellow, Boneh and McDaniel, "Ensemble adversarial training: attacks and
    defenses", ICLR 2018, equation 7). The random step leaves the sharp curvature that defended
    models have at the image itself, and hides behind.

    FGSM with a random start as Wong, Rice and Kolter train with it ("Fast is better than free",
    ICLR 2020) is another one: it starts uniformly in the whole ball, steps by 1.25 eps and comes
    back into the ball. That is `PGD` with ``steps=1, step_size=1.25``.

    Like FGSM it makes its one step at each radius, whether it breaks the image or not.

    Attributes:
        share: alpha as a share of eps, between 0 and 1; 1/2 is the paper's.
        seed: names the family of random steps.

    Raises:
        BcadvError: an option out of its range, or another norm than the maximum norm.
    """

    share: float = field(default=0.5, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "seed", 0)
        if not is_number(self.share) or not 0 < self.share < 1:
            raise BcadvError(
                f"rfgsm: share is {self.share!r}; give a share of eps above 0 and below 1."
            )
        if self.threat.norm != torch.inf:
            raise BcadvError(
                f"rfgsm: norm is {self.threat.norm:g}; it is made of signs, which are steps in the "
                "maximum norm alone: give norm=math.inf, or take pgd."
            )

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "rfgsm"

    def _step(self, search: Search, rows: Tensor, eps: float) -> Tensor:
        """The point of each image at a radius, shape (rows, ...)."""
        origin = search.image[rows]
        signs = torch.empty(origin.shape[1:])
        away = torch.empty_like(origin)
        for row, number in zip(away, search.index[rows].tolist(), strict=True):
            # The radius is no part of the seed: an image meets the same signs at each.
            row.copy_(signs.normal_(generator=seeded(self.seed, search.draw, number)).sign_())
        first = self.share * eps
        start = step(self.threat.with_eps(first), origin, origin, away, first)
        gradient, logits = self.gradient_at(search, rows, start)
        search.offer(rows, start, logits)
        ahead = self.threat.direction(gradient)
        return step(self.threat.with_eps(eps), start, origin, ahead, eps - first)

    def _improve(self, search: Search) -> None:
        """In an ensemble: at each radius, from the smallest up, while an image stands."""
        if search.clean_logits is None:
            search.answer_clean()
        for number, eps in enumerate(search.radii.tolist()):
            rows = (search.high > number).nonzero()[:, 0]
            if not len(rows):
                break
            point = self._step(search, rows, eps)
            search.offer(rows, point, search.logits(rows, point))

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
        search = Search(self, model, image, target, index, draw, strengths)
        search.answer_clean()
        everyone = torch.arange(len(image), device=image.device)
        images = [self._step(search, everyone, eps) if eps else image.clone() for eps in strengths]
        return Sweep(
            images, search.clean_logits, gradients=search.gradients, queries=search.queries
        )
