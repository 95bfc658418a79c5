"""Whom the probes ask: a model, a sample of images, and what the attacks left of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from bcadv.perturb.accept import Saved
from bcadv.perturb.base import CheckedPerturbation, evaluating
from bcadv.perturb.threat import ThreatModel
from bcadv.results.schema import Finding
from bcadv.task import Aim, Task

ONE = 1
"""So many images may fall to something else by chance: a path of steps is not the same twice."""


@dataclass(frozen=True)
class Subject:
    """A model and images that it has right when clean.

    Attributes:
        model: images in the box -> logits.
        image: shape (n, channels, height, width).
        target: their classes, int64, shape (n,).
        index: their numbers, which what is random depends on, int64, shape (n,).
        task: what the outputs mean.
        variant: BatchNorm statistics that findings are about; ``None``: of all.
        batch_size: images that are asked about at once.
        seed: of what is random.
        aim: of the attacks.
        wanted: number of the class that they are after; ``None``: of none.
    """

    model: nn.Module
    image: Tensor
    target: Tensor
    index: Tensor
    task: Task
    variant: str | None = None
    batch_size: int = 32
    seed: int = 0
    aim: Aim = "any"
    wanted: int | None = None

    def __len__(self) -> int:
        return len(self.image)

    def only(self, rows: Tensor) -> Subject:
        """The same model and some of the images.

        Args:
            rows: their numbers, shape (rows,), or bool, shape (n,).
        """
        rows = rows.to(self.image.device)
        return replace(
            self, image=self.image[rows], target=self.target[rows], index=self.index[rows]
        )

    def parts(self) -> Iterator[Subject]:
        """The images, a batch at a time."""
        for start in range(0, len(self), self.batch_size):
            yield self.only(torch.arange(start, min(len(self), start + self.batch_size)))

    def logits(self) -> Tensor:
        """Answers to the images, shape (n, classes), in eval mode, without a graph."""
        return torch.cat([_answered(part, part.image) for part in self.parts()])

    @property
    def asked(self) -> dict[str, Any]:
        """What an attack on these images has to be told besides its threat model."""
        if self.wanted is not None:
            return {"task": self.task, "targeted": True}
        return {"task": self.task, "aim": self.aim}

    def under(self, tried: Tried) -> tuple[Subject, Tried]:
        """The images that some attacks were after, and the model as these attacks saw it.

        Args:
            tried: what they left of all images.
        """
        sought = (
            self.task.concerned(self.target, tried.aim)
            if tried.wanted is None
            else self.target != tried.wanted
        )
        rows = sought.nonzero()[:, 0].cpu()
        model = self.model
        if tried.accept != "float":
            model = Saved(model, tried.accept).train(model.training)
        asked = replace(self.only(rows), model=model, aim=tried.aim, wanted=tried.wanted)
        return asked, tried.only(rows)

    def broken(self, attack: CheckedPerturbation) -> Tensor:
        """Which images are called what an attack wants, bool, on the CPU, shape (n,)."""
        found = [torch.zeros(0, dtype=torch.bool)]
        for part in self.parts():
            sought = part.target
            if part.wanted is not None:
                sought = torch.full_like(sought, part.wanted)
            image = attack(part.model, part.image, sought, index=part.index)
            logits = _answered(part, image)
            aim: Aim = part.aim if part.wanted is None else "class"
            reached = part.task.wanted(sought, logits.shape[1], aim)
            found.append(reached.gather(1, part.task.decide(logits)[:, None])[:, 0].cpu())
        return torch.cat(found)

    def finding(
        self,
        name: str,
        title: str,
        failed: bool | None,
        evidence: str,
        *,
        taints: tuple[str, ...] = (),
        value: float | None = None,
        threshold: float | None = None,
    ) -> Finding:
        """A finding on this model.

        Args:
            name: id of the check.
            title: what ought to hold.
            failed: whether it does not; ``None``: unknown.
            evidence: the numbers behind it.
            taints: ids of the conditions that a failure makes suspect.
            value: what was measured.
            threshold: beyond which the check fails.
        """
        return Finding(
            id=name,
            title=title,
            outcome="unknown" if failed is None else "failed" if failed else "ok",
            evidence=evidence,
            batchnorm=self.variant,
            taints=taints if failed else (),
            value=value,
            threshold=threshold,
        )


def _answered(subject: Subject, image: Tensor) -> Tensor:
    # Random numbers go on from call to call: a model that draws some must not hide it.
    with torch.inference_mode(False), torch.no_grad(), evaluating(subject.model):
        logits = subject.model(image)
        return subject.task.check(logits, subject.target, "checks").detach()


@dataclass(frozen=True)
class Tried:
    """What white-box attacks in one norm left of the images of a subject.

    Attributes:
        threat: norm and box.
        sizes: the radii, rising, above 0.
        texts: what people call each of them, e.g. ``4/255``.
        ids: of the conditions at each of them.
        left: whether no attack broke the image there, bool, shape (radii, n).
        one: whether no attack of one step did; ``None``: none was tried.
        many: whether no attack of many steps did; ``None``: none was tried.
        steps: of the attack that takes most.
        aim: of the attacks.
        wanted: number of the class that they were after; ``None``: of none.
        accept: what their images had to survive, see `bcadv.perturb.accept`.
    """

    threat: ThreatModel
    sizes: tuple[float, ...]
    texts: tuple[str, ...]
    ids: tuple[tuple[str, ...], ...]
    left: Tensor
    one: Tensor | None = None
    many: Tensor | None = None
    steps: int = 1
    aim: Aim = "any"
    wanted: int | None = None
    accept: str = "float"

    def only(self, rows: Tensor) -> Tried:
        """The same of some images, by their numbers."""
        one, many = (None if part is None else part[:, rows] for part in (self.one, self.many))
        return replace(self, left=self.left[:, rows], one=one, many=many)

    @property
    def everything(self) -> tuple[str, ...]:
        """Ids of all conditions."""
        return tuple(name for of_radius in self.ids for name in of_radius)

    def telling(self) -> int | None:
        """Number of the radius that leaves closest to half of the images, but some.

        There a better attack has both images that it may break and a claim that it may refute.
        """
        shares = self.left.double().mean(1)
        with_some = [k for k, share in enumerate(shares.tolist()) if share > 0]
        return min(with_some, key=lambda k: abs(float(shares[k]) - 0.5), default=None)
