"""What is known of a batch while it is attacked at several radii: found once, it counts for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from bcadv.perturb.base import Sweep
from bcadv.perturb.keep import Pace
from bcadv.perturb.precision import LowPrecision
from bcadv.perturb.threat import per_image

if TYPE_CHECKING:
    from bcadv.perturb.attack import AdversarialAttack

_STATE = (
    "high",
    "found",
    "distance",
    "near",
    "_near_at",
    "_near_lead",
    "by",
    "broken_after",
    "gradients",
    "queries",
    "clean_logits",
    "member",
    "_low",
    "_guess",
)
"""What a search has to keep, so that another one of the same images goes on where it was."""

Try: TypeAlias = Callable[[Tensor, Tensor], None]
"""(rows, number of the radius of each): attacks these images and offers the search the points."""


class Search:
    """The smallest of some radii at which each image breaks, and what breaks it there.

    An adversarial image lies in every larger ball too, so the nearest one found serves all radii
    from its own on. What is known only grows: an image once broken at a radius stays so.

    Args:
        attack: says what is wanted, and in which set of images.
        model: in eval mode; images -> logits. What a `LowPrecision` finds has to break its exact
            model too.
        image: inside the box, shape (batch, ...).
        target: classes, int64, shape (batch,).
        index: number of each image, what is random about it depends on, int64, shape (batch,).
        draw: number of the draw.
        strengths: radii, in the unit of the norm; those that are 0 leave an image as it is.

    Attributes:
        radii: those above 0, rising, float64, shape (radii,).
        high: number of the smallest radius at which each image is broken, as many as there are
            radii where it stands at all of them, shape (batch,).
        found: what breaks it there, shape (batch, ...); the image itself where nothing does.
        distance: of what was found from the image, inf where nothing was, float64, shape (batch,).
        near: what came closest to breaking it, shape (batch, ...).
        by: which member of an ensemble broke each image first at each radius, -1: none,
            shape (batch, radii).
        gradients: backward passes of each image, int64, shape (batch,).
        queries: forward passes of each image, those before a backward pass included, same shape.
        broken_after: `queries` of each image when it broke at each radius, -1: it did not,
            shape (batch, radii).
        member: number of the member at work.
    """

    def __init__(
        self,
        attack: AdversarialAttack,
        model: nn.Module,
        image: Tensor,
        target: Tensor,
        index: Tensor,
        draw: int,
        strengths: Sequence[float],
    ) -> None:
        self.attack, self.model = attack, model
        self._exact = model.exact if isinstance(model, LowPrecision) else None
        self.image, self.target, self.draw = image, target, draw
        self.index = index.to(image.device)
        radii = torch.tensor(sorted({eps for eps in strengths if eps > 0}), dtype=torch.float64)
        self.radii = radii.to(image.device)
        n, none = len(image), torch.full((len(image),), torch.inf, dtype=torch.float64)
        self.high = torch.full((n,), len(radii), dtype=torch.int64, device=image.device)
        self.found, self.near = image.clone(), image.clone()
        self.distance = none.to(image.device)
        self._near_at = torch.full_like(self.high, -1)
        self._near_lead = -self.distance
        self.by = torch.full((n, len(radii)), -1, dtype=torch.int64, device=image.device)
        self.broken_after = self.by.clone()
        self.gradients, self.queries = torch.zeros_like(self.high), torch.zeros_like(self.high)
        self.clean_logits: Tensor | None = None
        self.member, self.member_name = 0, attack.name
        self._low: Tensor | None = None
        self._guess: Tensor | None = None
        self._pace = Pace()
        self._restore(self._pace.load())

    @property
    def standing(self) -> Tensor:
        """Numbers of the images that stand at the smallest radius, or at a larger one."""
        return (self.high > 0).nonzero()[:, 0]

    def logits(self, rows: Tensor, point: Tensor) -> Tensor:
        """The model's answers to points of some images, without a graph; counted as queries.

        Args:
            rows: numbers of the images, shape (rows,).
            point: shape (rows, ...).
        """
        return self._asked(self.model, rows, point)

    def peek(self, rows: Tensor, point: Tensor) -> Tensor:
        """As `logits`, of several points of each image, for a caller who counts the queries.

        Args:
            rows: numbers of the images, shape (rows,).
            point: shape (rows, candidates, ...).

        Returns:
            Shape (rows, candidates, classes).
        """
        count = point.shape[1]
        flat = self._answers(self.model, rows.repeat_interleave(count), point.flatten(0, 1))
        return flat.reshape(len(rows), count, -1)

    def _asked(self, model: nn.Module, rows: Tensor, point: Tensor) -> Tensor:
        self.queries.index_add_(0, rows, torch.ones_like(rows))
        return self._answers(model, rows, point)

    def _answers(self, model: nn.Module, rows: Tensor, point: Tensor) -> Tensor:
        with torch.no_grad():
            logits = model(point)
            return self.attack.task.check(logits, self.target[rows], self.attack.name).detach()

    def answer_clean(self) -> None:
        """Asks the model for its answers to the clean images; see `begin`."""
        everyone = torch.arange(len(self.image), device=self.image.device)
        self.begin(self.logits(everyone, self.image))

    def begin(self, logits: Tensor) -> None:
        """Takes the answers to the clean images: those wrong already need no attack."""
        everyone = torch.arange(len(self.image), device=self.image.device)
        if self._exact is not None:
            logits = self._asked(self._exact, everyone, self.image)
        self.clean_logits = logits
        self._take(everyone, self.image, logits)

    def offer(self, rows: Tensor, point: Tensor, logits: Tensor) -> Tensor:
        """Takes points that lie in the box, keeps what is better than before.

        Args:
            rows: numbers of the images, some perhaps several times, shape (rows,).
            point: of each, shape (rows, ...).
            logits: the model's answers to them.

        Returns:
            Which of the points reach the aim, whatever their distance, shape (rows,).
        """
        if self._exact is None:
            return self._take(rows, point, logits)
        reached, size = self._measured(rows, point, logits)
        keep = (reached & (size < self.distance[rows])).nonzero()[:, 0]
        if len(keep):
            at, new = rows[keep], point[keep]
            reached[keep] = self._take(at, new, self._asked(self._exact, at, new))
        return reached

    def _measured(self, rows: Tensor, point: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Which points reach the aim, and their distance, float64, both of shape (rows,)."""
        size = self.attack.threat.size(point - self.image[rows]).double()
        return self.attack.reached(logits, self.target[rows]), size

    def _take(self, rows: Tensor, point: Tensor, logits: Tensor) -> Tensor:
        """What `offer` does with answers that are exact."""
        reached, size = self._measured(rows, point, logits)
        nearer = (reached & (size < self.distance[rows])).nonzero()[:, 0]
        if not len(nearer):
            return reached
        nearer = nearer[_least(rows[nearer], size[nearer])]
        at, new = rows[nearer], size[nearer]
        self.found[at], self.distance[at] = point[nearer].to(self.found), new
        number = self._number(new)
        fresh = torch.arange(len(self.radii), device=rows.device)[None] >= number[:, None]
        fresh &= self.by[at] < 0
        self.by[at] = torch.where(fresh, self.member, self.by[at])
        self.broken_after[at] = torch.where(fresh, self.queries[at][:, None], self.broken_after[at])
        self.high[at] = torch.minimum(self.high[at], number)
        return reached

    def _number(self, size: Tensor) -> Tensor:
        """Number of the smallest radius whose ball holds points of this distance."""
        # A point on the edge of a ball is held to be in it, whichever way its distance is rounded.
        slack = self.attack.threat.with_eps(0.0).slack(self.image)
        relative = 1e-5 if slack else 0.0
        return torch.bucketize((size - slack) / (1 + relative), self.radii)

    def failed(self, rows: Tensor, number: Tensor, point: Tensor, lead: Tensor) -> None:
        """Takes what came closest where a whole attack failed.

        Args:
            rows: numbers of the images, some perhaps several times, shape (rows,).
            number: of the radius that it failed at, shape (rows,).
            point: inside that radius, shape (rows, ...).
            lead: see `AdversarialAttack.lead`, shape (rows,).
        """
        if self._exact is not None and len(rows):
            # Near its boundary a model in low precision is often the wrong way about.
            self._take(rows, point, self._asked(self._exact, rows, point))
        better = (number > self._near_at[rows]) | (
            (number == self._near_at[rows]) & (lead > self._near_lead[rows])
        )
        better = better.nonzero()[:, 0]
        # The lead decides between attempts that were made side by side, all at one radius.
        better = better[_least(rows[better], -lead[better])]
        at = rows[better]
        self.near[at], self._near_at[at] = point[better].to(self.near), number[better]
        self._near_lead[at] = lead[better]

    def was_tried(self, rows: Tensor) -> Tensor:
        """On which images a whole attack failed before, bool, shape (rows,)."""
        return self._near_at[rows] >= 0

    def narrow(self, attempt: Try, guess: Tensor | None = None) -> None:
        """Narrows down the smallest radius at which each image breaks.

        An image counts as standing at a radius if the attempt failed there or at a larger one.

        Args:
            attempt: a whole attack on some images, each at a radius of its own.
            guess: number of the radius to begin at for each image, shape (batch,); ``None``: the
                largest at which it stands. After other attacks most images are settled: one that
                holds out there needs no second attempt.
        """
        if self._low is None:
            self._low, self._guess = torch.full_like(self.high, -1), guess
        low, guess = self._low, self._guess
        while len(rows := (low + 1 < self.high).nonzero()[:, 0]):
            # Beyond the guess neighbours come next, for it is seldom far off.
            near = self.high[rows] - 1 if guess is None else guess[rows]
            probe = near.clamp(low[rows] + 1, self.high[rows] - 1)
            attempt(rows, probe)
            stood = self.high[rows] > probe
            low[rows[stood]] = probe[stood]
            self.keep()
        self._low = self._guess = None

    def keep(self) -> None:
        """Between two steps, each all or nothing: says how far it is, and saves what is known."""
        if self._pace.watcher is not None:
            self._pace.watcher.standing(len(self.standing), len(self.image), self.member_name)
        if self._pace.due:
            self._pace.save({name: getattr(self, name) for name in _STATE})

    def _restore(self, state: dict[str, Any] | None) -> None:
        for name, value in (state or {}).items():
            on_device = isinstance(value, Tensor)
            setattr(self, name, value.to(self.image.device) if on_device else value)

    def linear_guess(self, logits: Tensor, gradient: Tensor) -> Tensor:
        """Number of the radius at which each image would break if the model were linear.

        Args:
            logits: of the clean images.
            gradient: of the lead, or of a loss with its direction, at the clean images.
        """
        need = -self.attack.lead(logits, self.target) / self.attack.threat.dual(gradient).double()
        # A model is no linear one: it breaks a little earlier than its slope at the image says.
        return torch.bucketize(need.nan_to_num(torch.inf), self.radii).clamp(
            max=max(0, len(self.radii) - 1)
        )

    def image_at(self, eps: float) -> Tensor:
        """The best image of each ball: what breaks it, else what came closest, cut to the ball."""
        if eps == 0:
            return self.image.clone()
        inside = self.high <= torch.bucketize(eps, self.radii)
        standing = self.attack.threat.with_eps(eps).project(self.near, self.image)
        return torch.where(per_image(inside, self.image), self.found, standing)

    def by_strength(self, strengths: Sequence[float]) -> Tensor:
        """Member that first broke each image within each strength, shape (batch, strengths).

        An image that is wrong when clean was broken by nobody: -1 at strength 0.
        """
        columns = [
            torch.full_like(self.high, -1)
            if eps == 0
            else self.by[:, int(torch.bucketize(eps, self.radii))]
            for eps in strengths
        ]
        return torch.stack(columns, dim=1)

    def sweep(self, strengths: Sequence[float]) -> Sweep:
        """What the perturbation returns."""
        images = [self.image_at(eps) for eps in strengths]
        after = [self._broken_after(eps) for eps in strengths]
        return Sweep(
            images,
            self.clean_logits,
            self.gradients,
            queries=self.queries,
            distance=self.distance,
            broken_after=torch.stack(after, 1) if after else self.broken_after[:, :0],
        )

    def _broken_after(self, eps: float) -> Tensor:
        """Queries of each image when it broke in a ball, -1: it did not, shape (batch,)."""
        if eps > 0:
            return self.broken_after[:, int(torch.bucketize(eps, self.radii))]
        # An image that is wrong as it is broke at every radius at once, by the first answer.
        first = self.broken_after[:, 0] if len(self.radii) else self.queries
        return torch.where(self.distance == 0, first, -1)


def _least(rows: Tensor, value: Tensor) -> Tensor:
    """Where the smallest value of each row stands that there is, each row once.

    Args:
        rows: numbers, shape (n,).
        value: of each, shape (n,).
    """
    order = value.argsort(stable=True)
    order = order[rows[order].argsort(stable=True)]
    alike = rows[order]
    fresh = torch.ones_like(alike, dtype=torch.bool)
    fresh[1:] = alike[1:] != alike[:-1]
    return order[fresh]
