"""What the attacks with momentum share, and the first of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.perturb.attack import whole
from bcadv.perturb.loop import Climb, GradientAttack
from bcadv.perturb.search import Search
from bcadv.perturb.threat import is_number, per_image


@dataclass(frozen=True)
class MIFGSM(GradientAttack):
    """MI-FGSM: equal steps of eps / steps, along a sum of all gradients that forgets slowly.

    ``g <- momentum * g + grad J / ||grad J||``, then a step along the sign of g in the maximum norm
    and along ``g / ||g||_2`` in the Euclidean one (Dong, Liao, Pang, Su, Zhu, Hu and Li, "Boosting
    adversarial attacks with momentum", CVPR 2018, equations 6 to 9). The paper divides by the sum
    of the gradient's values; here it is their mean, which moves no sign, and in the Euclidean norm
    the length.

    Made to carry over to other models, such attacks are weaker on the model itself than PGD or
    APGD with as many gradients. Subclasses say from where an image's gradient is taken.

    Attributes:
        steps: of the climb at each radius, at least 1.
        momentum: what is kept of the sum at each step; 0 forgets all.

    Raises:
        BcadvError: an option out of its range.
    """

    steps: int = field(default=10, kw_only=True)
    momentum: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "steps", 1)
        if not is_number(self.momentum) or not 0 <= self.momentum <= 2:
            raise BcadvError(
                f"{self.name}: momentum is {self.momentum!r}; give a number from 0 to 2."
            )

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "mifgsm"

    def _slope(
        self, search: Search, rows: Tensor, point: Tensor, ahead: Tensor, number: int
    ) -> tuple[Tensor, Tensor]:
        """Gradient of some images for the next step, and the logits of their points.

        Args:
            search: what is known of the batch.
            rows: numbers of the images, shape (rows,).
            point: where they are, shape (rows, ...).
            ahead: how far the momentum alone would carry them, shape (rows, ...).
            number: of the step, from 0.
        """
        return self.gradient_at(search, rows, point)

    def _attempt(self, search: Search, rows: Tensor, probe: Tensor) -> None:
        climb, point = Climb(self, search, rows, probe), search.image[rows]
        velocity = torch.zeros_like(point)
        for number in range(self.steps):
            if not len(climb.left):
                break
            length = per_image((climb.eps / self.steps).to(point), point)
            ahead = self.momentum * length * velocity
            gradient, logits = self._slope(search, climb.at, point, ahead, number)
            on = climb.look(point, logits)
            point, velocity, gradient, length = climb.keep(on, point, velocity, gradient, length)
            velocity = self.momentum * velocity + self._unit(gradient)
            moved = point + length * self.threat.direction(velocity)
            point = self.threat.project(moved, climb.origin, climb.eps)
        climb.finish(point)

    def _unit(self, gradient: Tensor) -> Tensor:
        """The gradient in units of its own size; one that vanishes stays zero."""
        if self.threat.norm == 2:
            return self.threat.direction(gradient)
        size = gradient.flatten(1).abs().mean(1)
        return gradient / per_image(size.where(size > 0, torch.ones_like(size)), gradient)
