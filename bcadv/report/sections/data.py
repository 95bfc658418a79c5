"""What was tested: models, images, attacks, and what the parts of the splits share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bcadv.report.document import Block, Bullets, Cell, Table, Text
from bcadv.report.draft import Draft
from bcadv.report.words import say
from bcadv.results.condition import Condition, Series, span
from bcadv.study.facts import unknown_patients
from bcadv.study.jobs import Job, setting_text
from bcadv.study.limits import tested
from bcadv.study.numbers import amounts
from bcadv.study.prose import plural
from bcadv.study.study import Study

_LISTED = 8
"""Up to so many strengths are named one by one."""
_PARTS = {"train": "training", "val": "validation", "test": "test"}


def blocks(draft: Draft) -> list[Block]:
    """Sentences on the data and the attacks, the leakage audit, images per class and part."""
    study = draft.study
    said = _unique(_data(jobs) for jobs in _tested(study))
    said += _unique(note for job in study.jobs for note in job.result.data.notes)
    skipped = max(len(job.result.data.skipped) for job in study.jobs)
    if skipped:
        said.append(f"Left out, as unreadable: up to {plural(skipped, 'image')}.")
    said += [_attack(series) for series in study.sized]
    said += _corruptions(study.corruptions)
    if any(arm.variant != "as_trained" for arm in study.arms):
        said.append(say("batchnorm"))
    audits = [Text(sentence, strong=True) for sentence in _audits(study.jobs)]
    return [Bullets(tuple(said)), *audits, _counts(study.jobs)]


def line(draft: Draft) -> str:
    """What was tested, in one line."""
    study = draft.study
    models = {
        (job.result.training.fingerprint, job.result.training.checkpoint, job.weights)
        for job in study.jobs
    }
    models_of = [of for arm in study.arms for of in tested(draft.facts, arm)]
    seeds = sorted({seed for arm in study.arms for seed in arm.seeds})
    patients = {of.patients for of in models_of if of.patients}
    unknown = any(unknown_patients(job.result, "test") for job in study.jobs)
    return say(
        "tested",
        models=len(models),
        seeds=seeds,
        images=_spanned({of.images for of in models_of}, "test image"),
        patients=patients and _spanned(patients, "known patient" if unknown else "patient"),
        data=_unique(job.result.data.label or job.result.data.source for job in study.jobs),
        attacks=[series.label for series in study.attacks],
        corruptions=len(study.corruptions),
    )


def _unique(sentences: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(sentences))


def _span(numbers: set[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _spanned(numbers: set[int], noun: str) -> str:
    return f"{_span(numbers)} {noun}{'' if numbers == {1} else 's'}"


def _tested(study: Study) -> list[list[Job]]:
    """The jobs, those of the folds of one model together."""
    groups: list[list[Job]] = []
    for arm in study.arms:
        for seed in arm.seeds if arm.folds else ():
            of_fold = {j.result.data.fold: j for j in arm.jobs if j.seed == seed}
            groups.append(list(of_fold.values()))
    together = {id(job) for arm in study.arms if arm.folds for job in arm.jobs}
    return [*groups, *([job] for job in study.jobs if id(job) not in together)]


def _data(jobs: Sequence[Job]) -> str:
    """What a job, or those of all folds together, tested on."""
    data, task = jobs[-1].result.data, jobs[-1].result.task
    return say(
        "data",
        words=data.words or data.source,
        classes=task.classes,
        positive=[task.classes[number] for number in task.positive],
        split=data.split,
        folds=sorted(job.result.data.fold or 0 for job in jobs),
        images=sum(n for job in jobs for n in job.result.data.counts["test"].values()),
    )


def _attack(series: Series) -> str:
    tried, first = series.conditions, series.first
    few = len(tried) <= _LISTED
    settings = first.settings.items()
    return say(
        "attack",
        label=series.label,
        settings=[f"{name} {setting_text(v)}" for name, v in settings if v is not None],
        how=[word for word in (first.how or first.kind, _goal(first), _saved(first)) if word],
        norm=first.norm,
        symbol=first.symbol,
        noise=first.kind == "noise",
        amounts=amounts(series.conditions)
        if few
        else f"{span(tried[0], tried[-1])} ({len(tried)} strengths)",
    )


def _goal(condition: Condition) -> str:
    """What an attack is after; empty of what is none."""
    if condition.goal == "targeted":
        return f"towards {condition.wanted}"
    words = {"hide": "positive images only, to hide the disease"}
    words |= {"invent": "negative images only, to invent the disease"}
    return words.get(str(condition.goal), condition.goal or "")


def _saved(condition: Condition) -> str:
    """What its images have to survive."""
    how = {"float": "", "8bit": "judged after rounding to 256 grey levels"}
    return how.get(condition.acceptance, f"judged after saving as {condition.acceptance}")


def _corruptions(tried: Iterable[Series]) -> list[str]:
    """A sentence for all of the same origin and severities."""
    alike: dict[tuple[str, str], list[str]] = {}
    for series in tried:
        origin = (series.first.how, amounts(series.conditions))
        alike.setdefault(origin, []).append(series.label)
    return [
        say("corruptions", names=names, origin=origin, amounts=severities)
        for (origin, severities), names in alike.items()
    ]


def _audits(jobs: Iterable[Job]) -> list[str]:
    """Each audit once, with the jobs it is about where there are several."""
    audits: dict[tuple[str, str, int | None, str], set[int]] = {}
    for job in jobs:
        data = job.result.data
        sentence = str(data.overlap.get("sentence") or "No audit was made.")
        audits.setdefault((data.source, data.split, data.fold, sentence), set()).add(job.seed)
    several = len({sentence for *_, sentence in audits}) > 1
    found = [
        say(
            "audit",
            sentence=said,
            jobs=several,
            source=source,
            split=split,
            fold=fold,
            seeds=sorted(seeds),
        )
        for (source, split, fold, said), seeds in audits.items()
    ]
    return _unique(found)


def _counts(jobs: Iterable[Job]) -> Table:
    """Images per class and part; from–to where jobs differ."""
    jobs = list(jobs)
    classes = dict.fromkeys(name for job in jobs for name in job.classes)
    rows = [
        (
            name,
            tuple(
                Cell(_span({job.result.data.counts.get(part, {}).get(name, 0) for job in jobs}))
                for part in _PARTS
            ),
        )
        for name in classes
    ]
    return Table("Images per class and part", ("class", *_PARTS.values()), tuple(rows))
