"""What a study is and shows, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bcadv.metrics.pooled import N_BOOT
from bcadv.study.arms import VERSIONS
from bcadv.study.jobs import Job, setting_text
from bcadv.study.numbers import Series, several_seeds
from bcadv.report.paper import unlike_the_papers_training
from bcadv.study.prose import listed, plural
from bcadv.study.study import Study
from bcadv.report.table import variant_name
from bcadv.report.verdict import verdict

_LISTED = 8
"""Up to so many arms are named one by one."""


@dataclass(frozen=True)
class Words:
    """The sentences of a report.

    Attributes:
        what: what was run on what data, made up or not.
        leakage: what the parts of the splits share.
        suspect: checks that failed, which make numbers suspect.
        verdict: one paragraph that says only what the numbers bear.
        method: how intervals, tests and means over seeds were made.
    """

    what: tuple[str, ...]
    leakage: tuple[str, ...]
    suspect: tuple[str, ...]
    verdict: str
    method: tuple[str, ...]


def words(study: Study, prevalence: float) -> Words:
    """Puts a study into words.

    Args:
        study: what to describe.
        prevalence: share of patients with cancer that consequences are stated at, in (0, 1).
    """
    return Words(
        tuple(_what(study)),
        tuple(_leakage(study.jobs)),
        tuple(failed_checks(study.jobs)),
        verdict(study),
        tuple(_method(study, prevalence)),
    )


def _what(study: Study) -> list[str]:
    models = {
        (job.result.training.fingerprint, job.result.training.checkpoint, job.weights)
        for job in study.jobs
    }
    seeds = [str(seed) for seed in sorted({seed for arm in study.arms for seed in arm.seeds})]
    names = [arm.name for arm in study.arms]
    lines = "; ".join(names) if len(names) <= _LISTED else f"from {names[0]} to {names[-1]}"
    said = [
        f"{plural(len(study.jobs), 'job')} tested {plural(len(models), 'trained model')} "
        f"(seed{'' if len(seeds) == 1 else 's'} {listed(seeds)}), compared as "
        f"{plural(len(names), 'line')}: {lines}.",
    ]
    said += _unique(_data_sentence(job) for job in study.jobs)
    said += _unique(note for job in study.jobs for note in job.result.data.notes)
    skipped = max(len(job.result.data.skipped) for job in study.jobs)
    if skipped:
        said.append(f"Up to {plural(skipped, 'unreadable image')} were left out.")
    said += _attacks(study)
    if any(arm.variant != "as_trained" for arm in study.arms):
        said.append(
            "“BN as trained”: BatchNorm statistics as training left them, for a model trained on "
            "noise those of noisy images; “BN on clean” (“noisy”): the same weights, the "
            "statistics re-estimated on clean (noisy) training images."
        )
    said += unlike_the_papers_training(study.jobs)
    said += _mixed(study.jobs)
    said += study.remarks
    if study.left_out:
        said.append(
            f"{plural(len(study.left_out), 'result')} could not be used; each is named under "
            "“Left out”."
        )
    return said


def _unique(sentences: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(sentences))


def _data_sentence(job: Job) -> str:
    data, task = job.result.data, job.result.task
    split = {
        "paper": "split by image, as in the paper",
        "patient": "split by patient",
        "official": f"split by the official fold {data.fold}",
        "parts": "split as its folders are",
    }.get(data.split, f"split “{data.split}”")
    what = data.words or data.source
    n = sum(data.counts["test"].values())
    positive = [task.classes[number] for number in task.positive]
    return (
        f"{what}; classes {listed(task.classes)}, of which {listed(positive) or 'none'} "
        f"{'count' if len(positive) > 1 else 'counts'} as positive; {split}; "
        f"{plural(n, 'test image')}."
    )


def _attacks(study: Study) -> list[str]:
    if not study.attacks:
        return ["No attack was tried."]
    said = [_attack(attack) for attack in study.attacks]
    others = [series for series in study.series if not series.is_attack]
    if others:
        texts = [condition.text for series in others for condition in series.conditions]
        said.append(f"Some models were also tested on: {listed(texts)}.")
    return said


def _attack(attack: Series) -> str:
    tried = attack.conditions
    said = (
        attack.amounts()
        if len(tried) <= _LISTED
        else f"{tried[0].amount} to {tried[-1].amount} ({len(tried)} strengths)"
    )
    measured = {
        "inf": "largest change of a pixel value",
        "2": "Euclidean length of the change, pixels in [0, 1]",
    }.get(attack.first.norm or "", "strength")
    settings = [
        f"{name} {setting_text(value)}"
        for name, value in attack.first.settings.items()
        if value is not None
    ]
    more = f" ({', '.join(settings)})" if settings else ""
    how = ", ".join(word for word in (attack.first.how, attack.first.goal) if word)
    return f"Attack: {attack.label}{more}, {how}, ε ({measured}) of {said}."


def _mixed(jobs: Sequence[Job]) -> list[str]:
    said = []
    names = {"code": "versions of the training code", "torch": "versions of torch"}
    for name in VERSIONS:
        values = sorted({str(job.shape[name]) for job in jobs if name in job.shape})
        if len(values) > 1:
            what = names.get(name, f"versions of {name}")
            said.append(
                f"The jobs mix {len(values)} {what} ({', '.join(values)}): what differs between "
                "models may be due to that."
            )
    return said


def failed_checks(jobs: Sequence[Job]) -> list[str]:
    """Each check that failed, with its evidence and the numbers that it makes suspect."""
    failed: dict[str, list[str]] = {}
    suspects: dict[str, dict[str, None]] = {}
    for job in jobs:
        for finding in job.result.failed():
            if finding.id == "leakage":  # stands by itself
                continue
            tainted = [job.result.by_id[name].text for name in finding.taints]
            where = "" if finding.batchnorm is None else f", {variant_name(finding.batchnorm)}"
            failed.setdefault(finding.title, []).append(f"{job.name}{where}: {finding.evidence}")
            suspects.setdefault(finding.title, {}).update(
                dict.fromkeys(f"{text} ({job.defence.label}{where})" for text in tainted)
            )
    return [
        f"A check failed: “{title}”, in {plural(len(where), 'case')}, for instance {where[0]}"
        + (f"; suspect: {listed(list(suspects[title]))}." if suspects[title] else ".")
        for title, where in failed.items()
    ]


def _leakage(jobs: Sequence[Job]) -> list[str]:
    """Each audit once, with the seeds it is about where there are several."""
    audits: dict[str, list[Job]] = {}
    for job in jobs:
        sentence = str(job.result.data.overlap.get("sentence") or "No audit was made.")
        audits.setdefault(sentence, []).append(job)
    if len(audits) == 1:
        return list(audits)
    said = []
    for sentence, of in audits.items():
        source, split = of[0].result.data.source, of[0].result.data.split
        seeds = sorted({job.seed for job in of})
        said.append(f"{source}, split {split}, seed {listed([str(s) for s in seeds])}: {sentence}")
    return said


def _method(study: Study, prevalence: float) -> list[str]:
    said = [
        "Every interval is at 95 %. Where patients are known they are resampled, not images "
        f"(percentile bootstrap, {N_BOOT} resamples unless a job says otherwise), because images "
        "of one patient resemble each other; where none is known, rates have Wilson's interval and "
        "the other metrics a bootstrap over images.",
        "Where a bootstrap is degenerate (fewer than 10 patients, fewer than 5 images on the rarer "
        "side of a rate, no width) the wider of it and of a formula for independent images is "
        "taken; the column “kind” of robustness.csv says which.",
        "An image without a known patient counts as a patient of its own.",
    ]
    if several_seeds(study.arms):
        said += [
            "Of several seeds, values are the mean of the seeds'. Their interval resamples "
            "patients, each with all its images of all seeds at once, so that neither the images "
            "of a patient nor the same image under several seeds count as independent. It holds "
            "the uncertainty from which patients were tested. It does not hold the uncertainty "
            "from the seeds: the trained models are taken as they are, and what other seeds would "
            "have given is not in it. The values of the seeds stand beside it.",
            "For the mean AUROC the same resampling is done in closed form (variance of the "
            "influences per patient, Obuchowski 1997, on the logit scale); degenerate intervals "
            "give way to the mean of the seeds' own.",
        ]
    if not study.comparisons.empty:
        said += [
            "Models are compared on the same images of the same seed. The difference of accuracy "
            "has the outer ends of two intervals: the bootstrap over patients, and Newcombe's for "
            "paired images (1998, method 10), because the first is too narrow where few images "
            "make the difference.",
            "p is McNemar's exact two-sided test, which takes images for independent"
            + (
                ", seed by seed; seeds are not tested together."
                if several_seeds(study.arms)
                else "."
            )
            + " No p is adjusted for the number of tests.",
            "The verdict calls a difference certain only if its interval leaves 0 out and, of one "
            "seed, p is below 0.05, or, of several seeds, all seeds lie on the same side.",
        ]
    said.append(
        f"Consequences are stated for a prevalence of {100 * prevalence:g} %, chosen by whoever "
        "made this report (prevalence=NUMBER), not measured: missed = prevalence × (1 − "
        "sensitivity), false alarms = (1 − prevalence) × (1 − specificity), each with the ends of "
        "that rate's interval."
    )
    return said
