"""Jobs -> trained models -> arms: what a comparison compares, and what each is called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bcadv.results.condition import Condition, ordered
from bcadv.results.schema import Defence, Finding
from bcadv.study.folds import pooled
from bcadv.study.jobs import Job
from bcadv.study.models import Cell, Model, key_of, read_models, replaced
from bcadv.study.naming import made_unique, names_of

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
        folds: of the cross-validation whose models it takes together, ascending; else empty.
    """

    name: str
    training: str
    defence: Defence
    variant: str
    jobs: tuple[Job, ...]
    seeds: tuple[int, ...]
    folds: tuple[int, ...] = ()

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
    models, left_out = read_models(jobs)
    models, older = pooled(models)
    left_out += older
    by_way: dict[Hashable, list[Model]] = defaultdict(list)
    for model in sorted(models, key=lambda model: model.job.finished):
        by_way[key_of(model.way)].append(model)
    ways: list[dict[int, Model]] = []
    for of_way in by_way.values():
        for members in _data_sets(of_way):
            seeds: dict[int, Model] = {}
            for model in members:
                older_model = seeds.get(model.job.seed)
                left_out += [] if older_model is None else replaced(older_model, model)
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


def _named(ways: Sequence[Mapping[int, Model]]) -> list[Measured]:
    """The arms, in their order and with their names."""
    found = []
    for seeds in ways:
        newest = max(seeds.values(), key=lambda model: model.job.finished)
        for variant in sorted({v for model in seeds.values() for v in model.cells}, key=_rank):
            of_variant = {seed: m for seed, m in seeds.items() if variant in m.cells}
            found.append((newest, variant, of_variant))
    found.sort(key=lambda entry: _place(entry[0].job.defence))
    ways_of_arms = [newest.way for newest, _, _ in found]
    named = names_of(
        ways_of_arms,
        [newest.job.defence for newest, _, _ in found],
        [v if newest.job.result.model.has_batchnorm else None for newest, v, _ in found],
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
            defence=newest.job.defence,
            variant=variant,
            jobs=tuple(sorted(jobs.values(), key=lambda job: job.finished)),
            seeds=tuple(seeds),
            folds=next(iter(seeds.values())).folds,
        )
        result.append(Measured(arm, way, seeds))
    return result


def _place(defence: Defence) -> tuple[bool, str, float, str]:
    """Undefended first, then kind by kind, noise by its sigma."""
    sigma = defence.settings.get("sigma")
    return not defence.none, defence.kind, float(sigma or 0), defence.label


def _rank(variant: str) -> tuple[int, str]:
    return (_VARIANTS.index(variant) if variant in _VARIANTS else len(_VARIANTS), variant)
