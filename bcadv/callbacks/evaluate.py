"""Perturbs test batches and hands every prediction on, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from bcadv.perturb.accept import Saved, saved
from bcadv.perturb.base import CheckedPerturbation, Sweep
from bcadv.perturb.keep import Keeper, kept
from bcadv.perturb.precision import LowPrecision
from bcadv.perturb.threat import ThreatModel, per_image
from bcadv.results.condition import CLEAN, REPEATED, Condition
from bcadv.task import Task
from bcadv.typing import Batch, Logits


@dataclass(frozen=True)
class Trial:
    """A perturbation and the conditions to try it under.

    Attributes:
        perturbation: what is done to the images, at whatever strength.
        conditions: alike in all but their strength.
        wanted: number of the class that the adversary wants; ``None``: it is not after one class.
    """

    perturbation: CheckedPerturbation
    conditions: tuple[Condition, ...]
    wanted: int | None = None

    @property
    def within_balls(self) -> bool:
        """Whether what breaks an image at one strength counts at every larger one.

        It lies in the larger balls too. One step is no search of a ball: what it does at a strength
        is what is to be seen.
        """
        condition = self.conditions[0]
        return condition.kind == "attack" and condition.steps != 1

    def broken(self, answers: Answers) -> Tensor:
        """Which images are answered as the adversary wants, bool, shape (n,)."""
        if self.wanted is None:
            return torch.from_numpy(answers.prediction != answers.target)
        return torch.from_numpy(answers.prediction == self.wanted)


@dataclass(frozen=True)
class Cost:
    """What the n images of a batch cost, and what came of it; ``None`` where it is not known.

    Attributes:
        gradients: backward passes of each image, shape (n,).
        queries: forward passes of each image, shape (n,).
        distance: of the nearest adversarial image found, inf where none was, shape (n,).
        broken_by: name of the member of an ensemble that first broke each image within this
            strength, ``None`` where none did, shape (n,).
        broken_after: forward passes that each image had cost, at all strengths together, when it
            was known to be broken within this one, -1 where it was not, shape (n,).
    """

    gradients: npt.NDArray[np.int64] | None = None
    queries: npt.NDArray[np.int64] | None = None
    distance: npt.NDArray[np.float64] | None = None
    broken_by: tuple[str | None, ...] | None = None
    broken_after: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Answers:
    """What a model says about the n images of a batch under one condition.

    Attributes:
        condition: that they were seen under.
        index: numbers of the images, int64, shape (n,).
        target: their classes, int64, shape (n,).
        prediction: classes that the model decides for, int64, shape (n,).
        size: of each image's perturbation in the condition's norm (the maximum norm where it has
            none), pixels in [0, 1], shape (n,).
        probability: of each class, shape (n, classes).
        cost: what the perturbation says of its work at all strengths together; see `Cost`.
    """

    condition: Condition
    index: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    prediction: npt.NDArray[np.int64]
    size: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    cost: Cost = field(default_factory=Cost)


class Sink(Protocol):
    """Where the answers go."""

    def has(self, batch: int, piece: int) -> bool:
        """Whether a batch met a trial before, in a process that was killed since."""
        ...

    def write(self, batch: int, piece: int, answers: Sequence[Answers]) -> None:
        """Keeps the answers of a batch under the conditions of a trial."""
        ...

    def keeper(self, batch: int, piece: int) -> Keeper | None:
        """Keeps what the attack of a trial knows while it is at a batch."""
        ...


class Watcher(Protocol):
    """Whoever wants to know how far the evaluation is."""

    def begun(self, batch: int, trial: Trial | None) -> None:
        """A batch is about to be perturbed by a trial; ``None``: to be answered as it is."""
        ...

    def standing(self, images: int, of: int, member: str) -> None:
        """So many images of the batch stand yet, after what this attack has tried."""
        ...

    def ended(self, batch: int, *, measured: bool) -> None:
        """A batch has all its answers, from now or from an earlier process."""
        ...


class RobustnessEvaluation(pl.Callback):
    """Measures a classifier on clean and on perturbed test images in one pass.

    Works under Lightning's default inference mode, and keeps nothing in memory: a batch's answers
    go to the sink before the next batch is looked at.

    Args:
        task: what the model's outputs mean.
        trials: what to perturb the images with.
        sink: takes the answers.
        repeat: whether clean images are answered a second time; without it, strength 0 of a trial
            does that.
        low_precision: whether attacks of several steps look in bfloat16; see `LowPrecision`.
        watcher: told of each batch, and of each trial of a batch.
    """

    computes_clean_logits = True

    def __init__(
        self,
        task: Task,
        trials: Sequence[Trial],
        sink: Sink,
        *,
        repeat: bool = False,
        low_precision: bool = False,
        watcher: Watcher | None = None,
    ) -> None:
        self.task, self.trials, self.sink = task, tuple(trials), sink
        self.repeat, self.low_precision, self.watcher = repeat, low_precision, watcher

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Attacks the batch whose clean logits the test step returned, or skipped."""
        missing = [n for n in range(self.pieces) if not self.sink.has(batch_idx, n)]
        for piece in missing:
            trial = self.trials[piece] if self.trials else None
            if self.watcher is not None:
                self.watcher.begun(batch_idx, trial)
            with kept(self.sink.keeper(batch_idx, piece), self.watcher):
                answers = list(self.measure(pl_module, batch, trial, outputs))
            self.sink.write(batch_idx, piece, answers)
        if self.watcher is not None:
            self.watcher.ended(batch_idx, measured=bool(missing))

    @property
    def pieces(self) -> int:
        """In how many pieces the answers to a batch are handed on: one per trial."""
        return max(1, len(self.trials))

    def measure(
        self,
        model: pl.LightningModule,
        batch: Batch,
        trial: Trial | None,
        clean_logits: Logits | None = None,
    ) -> Iterator[Answers]:
        """Perturbs one batch by a trial.

        Args:
            model: maps images to logits.
            batch: images in [0, 1].
            trial: of `trials`, the first of which also answers the clean images; ``None`` where
                there is none.
            clean_logits: of the clean images, where they are known; a gradient attack computes
                them on its way, so that passing ``None`` costs nothing beside one.

        Yields:
            The answers under each condition, clean first.
        """
        if trial is None:
            yield from self._clean(model, batch, clean_logits)
            return
        # One trial's images at a time: those of all would be as many batches in memory.
        # A single step is too cheap to be worth another gradient than the model's own.
        low = self.low_precision and trial.conditions[0].steps != 1
        sweep = _attacked(trial, model, batch, low_precision=low)
        if trial is self.trials[0]:
            known = sweep.clean_logits if clean_logits is None else clean_logits
            yield from self._clean(model, batch, known)
        found: dict[int, Answers] = {}
        smaller: tuple[Tensor, Tensor] | None = None
        for number in sorted(range(len(sweep.images)), key=lambda n: trial.conditions[n].size):
            condition, image = trial.conditions[number], sweep.images[number]
            cost = _cost(sweep, number)
            # Strength 0 too is answered anew: equal pixels must get equal answers.
            answers = self._answers(model, batch, condition, image, cost=cost)
            if smaller is not None and trial.within_balls:
                again = smaller[0] & ~trial.broken(answers)
                if bool(again.any()):
                    again = per_image(again.to(image.device), image)
                    image = torch.where(again, smaller[1], image)
                    answers = self._answers(model, batch, condition, image, cost=cost)
            found[number] = answers
            smaller = trial.broken(answers), image
        yield from (found[number] for number in range(len(found)))

    def _clean(
        self, model: pl.LightningModule, batch: Batch, logits: Logits | None
    ) -> Iterator[Answers]:
        yield self._answers(model, batch, CLEAN, batch.image, logits)
        if self.repeat:
            yield self._answers(model, batch, REPEATED, batch.image)

    def _answers(
        self,
        model: pl.LightningModule,
        batch: Batch,
        condition: Condition,
        image: torch.Tensor,
        logits: Logits | None = None,
        *,
        cost: Cost | None = None,
    ) -> Answers:
        # A model of ours refuses pixels outside of [0, 1], which is where noise may be.
        noise = condition.kind == "noise"
        allowed = getattr(model, "beyond_box", nullcontext) if noise else nullcontext
        with torch.inference_mode(), allowed():
            if logits is None:
                logits = model(saved(image, condition.acceptance))
            size = ThreatModel(0.0, float(condition.norm or "inf")).size(image - batch.image)
            return Answers(
                condition,
                batch.index.cpu().numpy(),
                batch.target.cpu().numpy(),
                self.task.decide(logits).cpu().numpy(),
                size.double().cpu().numpy(),
                self.task.probability(logits).cpu().numpy(),
                Cost() if cost is None else cost,
            )


def _attacked(
    trial: Trial, model: pl.LightningModule, batch: Batch, *, low_precision: bool
) -> Sweep:
    """Perturbs a batch; images that are of the wanted class already stay as they are."""
    acceptance = trial.conditions[0].acceptance
    sizes = [condition.size for condition in trial.conditions]
    sees: nn.Module = model if acceptance == "float" else Saved(model, acceptance)
    sees = LowPrecision(sees) if low_precision else sees
    if trial.wanted is None:
        found = trial.perturbation.sweep(sees, batch.image, batch.target, sizes, index=batch.index)
        # What a saved image is answered is no answer to the image itself.
        return found if acceptance == "float" else replace(found, clean_logits=None)
    rows = (batch.target != trial.wanted).nonzero()[:, 0]
    part = batch.image[rows]
    wanted = torch.full_like(batch.target[rows], trial.wanted)
    found = trial.perturbation.sweep(sees, part, wanted, sizes, index=batch.index[rows])
    with torch.inference_mode(False):
        images = [batch.image.index_copy(0, rows, image) for image in found.images]
        n = len(batch.image)
        return Sweep(
            images,
            gradients=_spread(found.gradients, rows, n, 0),
            queries=_spread(found.queries, rows, n, 0),
            distance=_spread(found.distance, rows, n, torch.inf),
            by=_spread(found.by, rows, n, -1),
            members=found.members,
            broken_after=_spread(found.broken_after, rows, n, -1),
        )


def _spread(value: Tensor | None, rows: Tensor, n: int, rest: float) -> Tensor | None:
    """Values of some images as values of all n."""
    if value is None:
        return None
    return value.new_full((n, *value.shape[1:]), rest).index_copy(0, rows, value)


def _cost(sweep: Sweep, number: int) -> Cost:
    """What is said of the images at one strength."""
    by = None
    if sweep.by is not None:
        by = tuple(None if m < 0 else sweep.members[m] for m in sweep.by[:, number].tolist())
    arrays = {
        name: None if value is None else value.cpu().numpy()
        for name, value in (
            ("gradients", sweep.gradients),
            ("queries", sweep.queries),
            ("distance", sweep.distance),
            ("broken_after", None if sweep.broken_after is None else sweep.broken_after[:, number]),
        )
    }
    return Cost(**arrays, broken_by=by)
