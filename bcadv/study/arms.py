"""Jobs -> trained models -> arms: what a comparison compares, and what each is called."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bcadv.errors import BcadvError
from bcadv.results.condition import CLEAN, Condition, ordered
from bcadv.results.schema import Defence, Finding, Row
from bcadv.study.answers import Answers, Images, read_answers
from bcadv.study.jobs import Job
from bcadv.study.naming import OBJECTIVE, made_unique, names_of

WITH_THE_SEED = ("seed", "data.content")
"""What differs between the seeds of one way of training: the split, and with it the content."""

VERSIONS = ("code", "torch", "lightning")
"""What does not make another way of training, but is to be said where it is mixed."""

_VARIANTS = ("as_trained", "clean", "noisy")


@dataclass(frozen=True)
class Arm:
    """What a line of a figure stands for: one way of training, one choice of BatchNorm statistics.

    Attributes:
        name: short and unique, e.g. ``noise σ=0.1, BN on clean``.
        training: name of the way of training, whatever the BatchNorm statistics.
        defence: what was done to make the models robust.
        variant: BatchNorm statistics: ``as_trained``, ``clean`` or ``noisy``.
        jobs: that contribute, the newest last.
        seeds: of the models, ascending.
    """

    name: str
    training: str
    defence: Defence
    variant: str
    jobs: tuple[Job, ...]
    seeds: tuple[int, ...]

    @property
    def sigma(self) -> float | None:
        """Standard deviation of the training noise; ``None`` where that is not the defence."""
        sigma = self.defence.settings.get("sigma")
        return float(sigma) if self.defence.kind == "noise" and sigma is not None else None


def findings_of(arm: Arm) -> list[Finding]:
    """What the checks found on the models of an arm, under its BatchNorm statistics."""
    variants = (None, arm.variant)
    return [f for job in arm.jobs for f in job.result.findings if f.batchnorm in variants]


def undefended(arms: Iterable[Arm]) -> list[Arm]:
    """One arm for each undefended training: BatchNorm as trained, or else what there is."""
    found: list[Arm] = []
    for arm in arms:  # of one training the statistics as trained come first
        known = any(job in other.jobs for other in found for job in arm.jobs)
        if arm.defence.none and not known:
            found.append(arm)
    return found


@dataclass(frozen=True)
class Cell:
    """A model under one condition: its answers, and its row of ``results.json``."""

    answers: Answers
    row: Row


@dataclass
class Model:
    """A trained model with all that its jobs measured, the newest job counting.

    Attributes:
        images: that it was tested on.
        jobs: that contribute, the newest last.
        cells: BatchNorm variant -> condition -> cell.
    """

    images: Images
    jobs: list[Job]
    cells: dict[str, dict[Condition, Cell]] = field(default_factory=dict)

    @property
    def job(self) -> Job:
        """The newest job."""
        return self.jobs[-1]

    @property
    def content(self) -> str:
        """Digest of the images that it was trained on, and of their parts."""
        return str(self.job.shape.get("data.content"))

    @property
    def total(self) -> int:
        """Number of images in all parts of the split."""
        counts = self.job.result.data.counts
        return sum(n for part in counts.values() for n in part.values())


@dataclass(frozen=True)
class Measured:
    """An arm with the models behind it, by seed.

    Attributes:
        arm: the arm.
        way: the way of training, option -> value.
        models: by seed.
    """

    arm: Arm
    way: Mapping[str, Hashable]
    models: Mapping[int, Model]

    def cells(self, seed: int) -> dict[Condition, Cell]:
        """What one seed was measured at."""
        return self.models[seed].cells[self.arm.variant]

    def conditions(self) -> list[Condition]:
        """Everything any seed was measured at; clean first."""
        return ordered({key for seed in self.models for key in self.cells(seed)})


def measured_arms(jobs: Iterable[Job]) -> tuple[list[Measured], list[Job], list[str]]:
    """Reads the predictions of jobs and sorts them into arms.

    Returns:
        The arms in their order, the jobs used (newest last), and a sentence for each
        job that could not be used.
    """
    models, left_out = _models(jobs)
    by_way: dict[Hashable, list[Model]] = defaultdict(list)
    for model in sorted(models, key=lambda model: model.job.finished):
        by_way[_key(way_of(model.job))].append(model)
    ways: list[dict[int, Model]] = []
    for of_way in by_way.values():
        for members in _data_sets(of_way):
            seeds: dict[int, Model] = {}
            for model in members:
                replaced = seeds.get(model.job.seed)
                left_out += [] if replaced is None else _replaced(replaced, model)
                seeds[model.job.seed] = model
            ways.append(seeds)
    used = {id(job): job for seeds in ways for m in seeds.values() for job in m.jobs}
    return (
        _named([dict(sorted(seeds.items())) for seeds in ways]),
        sorted(used.values(), key=lambda job: job.finished),
        left_out,
    )


def _data_sets(models: Sequence[Model]) -> list[list[Model]]:
    """Divides models of one way of training by their images.

    The settings of a training do not name a folder of images. Where results do not either, two
    folders show by a seed that has different numbers of images; different seeds may differ so in
    one and the same data set.
    """
    by_content: dict[str | None, list[Model]] = defaultdict(list)
    for model in models:
        by_content[model.job.result.data.content].append(model)
    if None not in by_content:
        return list(by_content.values())
    by_total: dict[int, list[Model]] = defaultdict(list)
    for model in models:
        by_total[model.total].append(model)
    seeds = [seed for of in by_total.values() for seed in {model.job.seed for model in of}]
    return list(by_total.values()) if len(seeds) > len(set(seeds)) else [list(models)]


def _replaced(old: Model, new: Model) -> list[str]:
    return [
        f"{job.folder} was left out: {new.job.name} is a newer training of the same settings and "
        "seed: with other code, versions or images, on another machine, or trained anew."
        for job in old.jobs
    ]


def _models(jobs: Iterable[Job]) -> tuple[list[Model], list[str]]:
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
        key = (result.training.fingerprint, job.weights, *_key(way_of(job)))
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
                cells[condition] = Cell(answers[variant][condition], row)
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


def _key(way: Mapping[str, Hashable]) -> tuple[tuple[str, Hashable], ...]:
    return tuple(sorted(way.items()))


def _named(ways: Sequence[Mapping[int, Model]]) -> list[Measured]:
    """The arms, in their order and with their names."""
    found = []
    for seeds in ways:
        newest = max((model.job for model in seeds.values()), key=lambda job: job.finished)
        for variant in sorted({v for model in seeds.values() for v in model.cells}, key=_rank):
            of_variant = {seed: m for seed, m in seeds.items() if variant in m.cells}
            found.append((newest, variant, of_variant))
    found.sort(key=lambda entry: _place(entry[0].defence))
    ways_of_arms = [way_of(newest) for newest, _, _ in found]
    named = names_of(
        ways_of_arms,
        [job.defence for job, _, _ in found],
        [variant if job.result.model.has_batchnorm else None for job, variant, _ in found],
    )
    models = [seeds[max(seeds)] for _, _, seeds in found]
    names = made_unique([each.arm for each in named], [f"{model.total} images" for model in models])
    names = made_unique(names, [model.job.name for model in models])
    result = []
    for (newest, variant, seeds), way, each, name in zip(
        found, ways_of_arms, named, names, strict=True
    ):
        jobs = {id(job): job for model in seeds.values() for job in model.jobs}
        arm = Arm(
            name=name,
            # What made the name of the arm unique belongs to the training too.
            training=each.training + name.removeprefix(each.arm),
            defence=newest.defence,
            variant=variant,
            jobs=tuple(sorted(jobs.values(), key=lambda job: job.finished)),
            seeds=tuple(seeds),
        )
        result.append(Measured(arm, way, seeds))
    return result


def _place(defence: Defence) -> tuple[bool, str, float, str]:
    """Undefended first, then kind by kind, noise by its sigma."""
    sigma = defence.settings.get("sigma")
    return not defence.none, defence.kind, float(sigma or 0), defence.label


def _rank(variant: str) -> tuple[int, str]:
    return (_VARIANTS.index(variant) if variant in _VARIANTS else len(_VARIANTS), variant)
