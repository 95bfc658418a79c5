"""Projected gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.perturb.base import Sweep
from bcadv.perturb.loop import GradientAttack
from bcadv.perturb.random import seeded
from bcadv.perturb.threat import is_number, per_image

_FIRST, _LAST = 2.0, 0.05
"""Length of the first and of the last step as shares of eps."""


@dataclass(frozen=True)
class PGD(GradientAttack):
    """Projected gradient descent: many small steps along the gradient, each back into the ball.

    Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards deep learning models resistant to
    adversarial attacks", ICLR 2018, with two differences that make it stronger at the same cost.
    The steps shrink evenly from 2 eps to eps / 20 (Croce and Hein, "Reliable evaluation of
    adversarial robustness", ICML 2020, begin with 2 eps too, and halve it by what happens);
    `step_size` = 2.5 / steps is what Madry et al. take. And they follow the gradient of the log
    odds against the true class, which has the direction of cross entropy's and does not vanish.

    The image itself and every point on the way count: an image is returned as soon as it is
    broken, and one that holds out as it came closest.

    **At several strengths** each image's smallest breaking radius is narrowed down, beginning near
    where the slope at the image says that it lies. What is found at one radius counts at every
    radius that contains it; an image counts as standing at a radius if a whole attack (all steps of
    all restarts) failed there or at a larger one of the list.

    Attributes:
        steps: gradients per restart, at least 1.
        restarts: attempts from different starting points, at least 1.
        random_start: whether they begin at random points of the ball; if not, the first begins at
            the image.
        step_size: length of every step as a share of eps; ``None``: from 2 down to 0.05.
        seed: names the family of starting points.

    Raises:
        BcadvError: an option out of its range.
    """

    steps: int = field(default=20, kw_only=True)
    restarts: int = field(default=1, kw_only=True)
    random_start: bool = field(default=True, kw_only=True)
    step_size: float | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "restarts", "seed"):
            value = getattr(self, name)
            least = 0 if name == "seed" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise BcadvError(f"pgd: {name} is {value!r}; give a whole number from {least} up.")
        share = self.step_size
        if share is not None and not (is_number(share) and 0 < share <= 2):
            raise BcadvError(
                f"pgd: step_size is {share!r}; give a share of eps above 0, at most 2, or None for "
                "steps that shrink."
            )

    @property
    def name(self) -> str:
        """The row of the catalog."""
        return "pgd"

    def lengths(self) -> list[float]:
        """Length of each step as a share of eps."""
        if self.step_size is not None:
            return [self.step_size] * self.steps
        fall = (_FIRST - _LAST) / max(1, self.steps - 1)
        return [_FIRST - k * fall for k in range(self.steps)]

    def _own_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.task.log_odds(logits, target)

    def _perturb(
        self, model: nn.Module, image: Tensor, target: Tensor, *, index: Tensor, draw: int
    ) -> Tensor:
        sweep = self._sweep(model, image, target, [self.strength], index=index, draw=draw)
        return sweep.images[0]

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
        gradient, logits = self._gradient(model, image, target)
        radii = torch.tensor(sorted({eps for eps in strengths if eps > 0}), dtype=torch.float64)
        search = _Search(self, model, image, target, index.to(image.device), draw, radii)
        with torch.no_grad():
            need = -self._gain(logits, target) / self.threat.dual(gradient).double()
        search.run(self._reached(logits, target), need)
        images = [image.clone() if eps == 0 else search.image_at(eps) for eps in strengths]
        return Sweep(images, logits, search.gradients + 1)


class _Search:
    """The smallest of some radii at which each image breaks.

    Per image, radii up to number ``low`` are known to fail and those from ``high`` on to succeed.
    """

    def __init__(
        self,
        attack: PGD,
        model: nn.Module,
        image: Tensor,
        target: Tensor,
        index: Tensor,
        draw: int,
        radii: Tensor,
    ) -> None:
        self.attack, self.model = attack, model
        self.image, self.target, self.index, self.draw = image, target, index, draw
        self.radii = radii.to(image.device)
        n = len(image)
        self.low = torch.full((n,), -1, dtype=torch.int64, device=image.device)
        self.high = torch.full_like(self.low, len(radii))
        self.found = image.clone()  # what breaks it at `high`
        self.near = image.clone()  # what came closest at `low`
        self.gradients = torch.zeros_like(self.low)

    def run(self, broken: Tensor, need: Tensor) -> None:
        """Narrows down.

        Args:
            broken: images that need no change, shape (batch,).
            need: radius at which each would break if the model were linear, shape (batch,).
        """
        self.high[broken] = 0
        # A model is no linear one: it breaks a little earlier than its slope at the image says.
        guess = torch.bucketize(need.nan_to_num(torch.inf), self.radii).clamp(
            max=len(self.radii) - 1
        )
        while len(rows := (self.low + 1 < self.high).nonzero()[:, 0]):
            low, high = self.low[rows], self.high[rows]
            # Beyond the guess neighbours come next, for it is seldom far off.
            probe = guess[rows].clamp(low + 1, high - 1)
            self._try(rows, probe)

    def _try(self, rows: Tensor, probe: Tensor) -> None:
        """A whole attack on some images, each at a radius of its own."""
        attack, left = self.attack, torch.arange(len(rows), device=rows.device)
        eps = self.radii[probe]
        near = self.near[rows]
        gain = torch.full((len(rows),), -torch.inf, dtype=torch.float64, device=rows.device)
        for restart in range(attack.restarts):
            at = rows[left]
            origin, radius = self.image[at], eps[left]
            climb = attack._climb(
                self.model,
                self._start(at, origin, radius, restart),
                origin,
                self.target[at],
                eps=radius,
                lengths=attack.lengths(),
            )
            self.gradients[at] += climb.gradients
            better = climb.gain > gain[left]
            near[left[better]], gain[left[better]] = climb.image[better], climb.gain[better]
            broken = climb.reached
            self.found[at[broken]] = climb.image[broken]
            size = attack.threat.size(climb.image - origin).double()
            # It may lie inside a smaller radius of the list than the one that was tried.
            smallest = torch.bucketize(size, self.radii)
            self.high[at[broken]] = torch.minimum(smallest, probe[left])[broken]
            left = left[~broken]
            if not len(left):
                break
        self.low[rows[left]] = probe[left]
        self.near[rows[left]] = near[left]

    def _start(self, rows: Tensor, origin: Tensor, eps: Tensor, restart: int) -> Tensor:
        attack = self.attack
        if restart == 0 and not attack.random_start:
            start = origin.clone()
        else:
            start = self._random(rows, origin, eps, restart)
        if restart == 0:
            # What breaks it at the next larger radius is the best place to begin at this one.
            known = per_image(self.high[rows] < len(self.radii), origin)
            start = torch.where(known, attack.threat.project(self.found[rows], origin, eps), start)
        return start

    def _random(self, rows: Tensor, origin: Tensor, eps: Tensor, restart: int) -> Tensor:
        attack = self.attack
        # The radius is no part of the seed: an image meets the same point, scaled, at each.
        numbers = self.index[rows].tolist()
        generators = [seeded(attack.seed, self.draw, number, restart) for number in numbers]
        moved = origin + attack.threat.inside(origin, generators) * per_image(
            eps.to(origin), origin
        )
        return attack.threat.project(moved, origin, eps)

    def image_at(self, eps: float) -> Tensor:
        """What the attack makes of each image at a radius of the list."""
        number = int((self.radii == eps).nonzero()[0])
        broken = per_image(self.high <= number, self.image)
        return torch.where(broken, self.found, self._standing(eps))

    def _standing(self, eps: float) -> Tensor:
        # Failing at a larger radius, what came closest is brought into this one.
        return self.attack.threat.with_eps(eps).project(self.near, self.image)
