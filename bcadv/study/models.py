"""Jobs -> trained models: what each was trained on, and all that its jobs measured."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from bcadv.errors import BcadvError
from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Row
from bcadv.study.answers import Answers, Images, read_answers
from bcadv.study.jobs import Job
from bcadv.study.naming import OBJECTIVE

WITH_THE_SEED = ("seed", "data.content")
"""What differs between the seeds of one way of training: the split, and with it the content."""

VERSIONS = ("code", "torch", "lightning")
"""What does not make another way of training, but is to be said where it is mixed."""


@dataclass(frozen=True)
class Cell:
    """A model under one condition: its answers, its row of ``results.json``, whose they are."""

    answers: Answers
    row: Row
    job: Job


@dataclass
class Model:
    """A trained model with all that its jobs measured, the newest job counting.

    Attributes:
        images: that it was tested on.
        jobs: that contribute, the newest last.
        cells: BatchNorm variant -> condition -> cell.
        folds: of a cross-validation whose models it stands for, each with what it was tested on;
            empty of a single model.
    """

    images: Images
    jobs: list[Job]
    cells: dict[str, dict[Condition, Cell]] = field(default_factory=dict)
    folds: tuple[int, ...] = ()

    @property
    def way(self) -> dict[str, Hashable]:
        """The way of training, with the folds that are taken together."""
        way = way_of(self.job)
        return way | {"data.fold": "+".join(map(str, self.folds))} if self.folds else way

    @property
    def job(self) -> Job:
        """The newest job."""
        return self.jobs[-1]

    @property
    def content(self) -> str:
        """Digest of the images that it was trained on, and of their parts; of folds, all."""
        return "+".join(sorted({str(job.shape.get("data.content")) for job in self.jobs}))

    @property
    def total(self) -> int:
        """Number of images in all parts of the split."""
        counts = self.job.result.data.counts
        return sum(n for part in counts.values() for n in part.values())


def read_models(jobs: Iterable[Job]) -> tuple[list[Model], list[str]]:
    """One model per training and tested epoch; rows of its jobs united."""
    models: dict[Hashable, Model] = {}
    left_out: list[str] = []
    for job in sorted(jobs, key=lambda job: job.finished):
        try:
            images, answers = read_answers(job)
        except BcadvError as error:
            left_out.append(f"{job.folder} was left out: {error}")
            continue
        result = job.result
        rows = {(row.batchnorm, result.condition_of(row)): row for row in result.rows}
        # The weights too: one way of training gives others on other machines.
        key = (result.training.fingerprint, job.weights, *key_of(way_of(job)))
        model = models.get(key)
        if model is not None and not model.images.same_as(images):
            left_out += [
                f"{old.folder} was left out: it tested the model of {job.name} on other images."
                for old in model.jobs
            ]
            model = None
        if model is None:
            model = models[key] = Model(images, [])
        model.jobs.append(job)
        for (variant, condition), row in rows.items():
            # Strength 0 is the clean image once more, for the checks.
            if condition == CLEAN or condition.strength > 0:
                cells = model.cells.setdefault(variant, {})
                cells[condition] = Cell(answers[variant][condition], row, job)
    return list(models.values()), left_out


def way_of(job: Job) -> dict[str, Hashable]:
    """The way of training (and of choosing the epoch): what the seeds of an arm have in common."""
    left_out = {*WITH_THE_SEED, *VERSIONS}
    if "objective" in job.defence.settings:
        left_out |= {*OBJECTIVE}
    way = {
        name: value if isinstance(value, Hashable) else json.dumps(value, sort_keys=True)
        for name, value in job.shape.items()
        if name not in left_out
    }
    return way | {
        "checkpoint": job.result.training.checkpoint,
        "classes": json.dumps(job.classes),
        "positive": json.dumps(job.result.task.positive),
        # A defence may be no option of training, or one that this program does not know.
        "defence": json.dumps(job.defence.model_dump(mode="json"), sort_keys=True),
    }


def key_of(way: Mapping[str, Hashable]) -> tuple[tuple[str, Hashable], ...]:
    return tuple(sorted(way.items()))


def replaced(old: Model, new: Model) -> list[str]:
    """A sentence for each job of a model that a newer one stands for."""
    return [
        f"{job.folder} was left out: {new.job.name} is a newer training of the same settings and "
        "seed: with other code, versions or images, on another machine, or trained anew."
        for job in old.jobs
    ]
