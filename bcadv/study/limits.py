"""Why not to rely on a study: its data, its checks, its size."""

from __future__ import annotations

from dataclasses import dataclass

from bcadv.results.condition import CLEAN, Condition, ordered
from bcadv.results.schema import Outcome
from bcadv.study.arms import Arm
from bcadv.study.facts import Facts, unknown_patients
from bcadv.study.found import Found
from bcadv.study.models import VERSIONS
from bcadv.study.numbers import amounts

FEW_PATIENTS, VERY_FEW_PATIENTS, FEW_IMAGES = 50, 10, 200
"""Simulated with as many patients, intervals hold the truth in 95 of 100; with very few they do so
by being too wide to tell anything (`python -m tests.metrics.coverage`)."""


def limits(facts: Facts) -> list[Found]:
    """Leakage, checks that failed, small test sets, few seeds, weak attacks, many tests."""
    study = facts.study
    found = [*_leakage(facts), *_checks(facts), *_size(facts), *_folds(facts)]
    said: dict[str, object]
    if study.attacks and all(attack.first.steps == 1 for attack in study.attacks):
        names = [attack.label for attack in study.attacks]
        found.append(Found("weak_attacks", "unknown", 60, "robustness", {"names": names}))
    seeds = max((len(arm.seeds) for arm in study.arms), default=0)
    found.append(Found("seeds", "unknown", 25 if seeds > 1 else 40, "method", {"seeds": seeds}))
    compared = [len(of) for of in facts.differences.values()]
    if len(compared) > 1:
        said = {"models": len(compared), "tests": max(compared)}
        found.append(Found("many_tests", "unknown", 20, "defence", said))
    for name in VERSIONS:
        values = sorted({str(job.shape[name]) for job in study.jobs if name in job.shape})
        if len(values) > 1:
            said = {"what": name, "values": values}
            found.append(Found("mixed_versions", "unknown", 45, "method", said))
    if study.left_out:
        said = {"count": len(study.left_out)}
        found.append(Found("left_out", "unknown", 30, "findings", said))
    return [*found, *study.remarks]


def _leakage(facts: Facts) -> list[Found]:
    """How much of the test set comes from patients in training."""
    jobs = facts.study.jobs
    shares = [job.result.data.overlap.get("patient_overlap") for job in jobs]
    known = [share for share in shares if share is not None]
    leaks = any(
        f.id == "leakage" and f.outcome == "failed" for j in jobs for f in j.result.findings
    )
    unsure = any(unknown_patients(j.result, p) for j in jobs for p in ("train", "test"))
    outcome: Outcome = "ok"
    if leaks or (known and max(known) > 0):
        outcome = "failed"
    elif len(known) < len(shares) or unsure:
        outcome = "unknown"
    said = {
        "low": min(known, default=None),
        "high": max(known, default=None),
        "known": len(known),
        "jobs": len(jobs),
        "at_least": unsure,
    }
    weight = {"failed": 90, "unknown": 55, "ok": 0}[outcome]
    return [Found("leakage", outcome, weight, "data", said)]


def _checks(facts: Facts) -> list[Found]:
    """Each check that failed in a job, once, with the numbers that it makes suspect."""
    cases: dict[str, list[dict[str, object]]] = {}
    checks: dict[str, str] = {}
    taints: dict[str, set[Condition]] = {}
    for job in facts.study.jobs:
        for finding in job.result.failed():
            # These stand by themselves, over all jobs, seeds and folds.
            if finding.id in {"leakage", "one_sided", "few_patients"}:
                continue
            several = len(job.result.model.batchnorm) > 1
            cases.setdefault(finding.title, []).append(
                {
                    "job": job.name,
                    "batchnorm": finding.batchnorm if several else None,
                    "evidence": finding.evidence,
                }
            )
            made = taints.setdefault(finding.title, set())
            for arm in facts.study.arms:
                if job in arm.jobs and finding.batchnorm in (None, arm.variant):
                    made.update(facts.study.tainted(arm, finding))
            checks[finding.title] = finding.id
    return [
        Found(
            "check_failed",
            "failed",
            100,
            "findings",
            {
                "title": title,
                "check": checks[title],
                "cases": of_title,
                "suspect": _texts(taints[title]),
            },
            taints=tuple(c.id for c in ordered(taints[title])),
        )
        for title, of_title in cases.items()
    ]


def _texts(tainted: set[Condition]) -> list[str]:
    """What they are called, the strengths of one series together."""
    of_series: dict[str, list[Condition]] = {}
    for condition in ordered(tainted):
        of_series.setdefault(condition.series, []).append(condition)
    return [
        found[0].text if found[0].clean else f"{found[0].label} {amounts(found)}"
        for found in of_series.values()
    ]


def _size(facts: Facts) -> list[Found]:
    """A test set of few patients or images; with patients enough, of few on one side."""
    small = [of for arm in facts.study.arms for of in tested(facts, arm) if of.small]
    if not small:
        return _sides(facts)
    least = min(small, key=lambda of: (of.patients or of.images, of.images))
    very = least.patients is not None and least.patients + least.unknown < VERY_FEW_PATIENTS
    said = {
        "images": least.images,
        "patients": least.patients,
        "unknown": least.unknown,
        "very": very,
        "folds": any(arm.folds for arm in facts.study.arms),
    }
    found = [Found("small_test_set", "unknown", 82 if very else 65, "data", said)]
    return found if very else [*found, *_sides(facts)]


def _sides(facts: Facts) -> list[Found]:
    """Rates of the ill, or of the well, that rest on very few patients."""
    few: dict[str, int] = {}
    for arm in facts.study.arms:
        if any(unknown_patients(job.result, "test") for job in arm.jobs):
            continue  # some of the others may be patients too
        for metric in ("sensitivity", "specificity"):
            rate = facts.number(arm, CLEAN, metric)
            count = None if rate is None else rate.n_patients
            if count is not None and count < min(VERY_FEW_PATIENTS, few.get(metric, count + 1)):
                few[metric] = count
    return [Found("few_of_a_side", "unknown", 64, "data", {"few": few})] if few else []


@dataclass(frozen=True)
class Tested:
    """What a model, or those of all folds together, was tested on.

    Attributes:
        images: number of test images.
        patients: number of known patients; ``None`` where none is known.
        unknown: images whose patient is unknown.
    """

    images: int
    patients: int | None
    unknown: int

    @property
    def small(self) -> bool:
        """Whether too few to show what is not large."""
        few = self.patients is not None and self.patients + self.unknown < FEW_PATIENTS
        return few or self.images < FEW_IMAGES


def tested(facts: Facts, arm: Arm) -> list[Tested]:
    """What the models of an arm were tested on: one by one, or the folds of a seed together."""
    unknown = [unknown_patients(job.result, "test") for job in arm.jobs]
    if arm.folds:
        clean = facts.clean(arm)
        seeds = len(arm.seeds)
        return [Tested(clean.n // seeds, clean.n_patients, sum(unknown) // seeds)]
    rows = [job.result.clean_rows()[0] for job in arm.jobs]
    return [Tested(row.n, row.n_patients, count) for row, count in zip(rows, unknown, strict=True)]


def _folds(facts: Facts) -> list[Found]:
    """What was taken together of cross-validations, and folds that nobody tested."""
    found = []
    for arm in facts.study.arms:
        tried = sorted({job.result.data.fold or 0 for job in arm.jobs})
        most = max((job.result.data.folds or 0 for job in arm.jobs), default=0)
        absent = [fold for fold in range(1, most + 1) if fold not in tried]
        if absent:
            said = {"of": arm.name, "folds": tried, "absent": absent}
            found.append(Found("folds_missing", "unknown", 76, "data", said, about=arm.name))
    if any(arm.folds for arm in facts.study.arms):
        found.append(Found("folds_pooled", "unknown", 19, "method"))
    return found
