"""One paragraph on what the numbers bear, and no more."""

from __future__ import annotations

from collections.abc import Sequence

from bcadv.report.answers import CLEAN
from bcadv.report.arms import Arm, undefended
from bcadv.report.defence import on_the_defence
from bcadv.report.differences import differences
from bcadv.report.facts import Facts, commonest_share, patients_text, unknown_patients
from bcadv.report.jobs import Job
from bcadv.report.numbers import (
    attack_name,
    attack_of,
    conditions,
    several_seeds,
    strengths,
    together,
)
from bcadv.report.prose import plural
from bcadv.report.study import Study

FEW_PATIENTS, VERY_FEW_PATIENTS, FEW_IMAGES = 50, 10, 200


def verdict(study: Study) -> str:
    """The verdict on a study, in plain English."""
    found = conditions(study.measures)
    attack = attack_of(found)
    facts = Facts(
        study,
        together(study.measures),
        attack,
        strengths(found, attack),
        differences(study.comparisons, attack),
    )
    shown = undefended(study.arms) or study.arms[:1]
    said = []
    if study.synthetic:
        said.append(
            f"{'Some' if study.partly_real else 'The'} images are synthetic: numbers of them show "
            "that the programs work, and say nothing about medicine."
        )
    for arm in shown:
        said += _fall(facts, arm)
    said += on_the_defence(facts)
    said += _limits(facts)
    return " ".join(said)


def _fall(facts: Facts, arm: Arm) -> list[str]:
    """How far an arm falls, at which epsilon."""
    clean = facts.number(arm, CLEAN)
    if clean is None:
        return []
    of = plural(clean.n, "test image")
    if len(arm.seeds) > 1:
        of = f"{clean.n:,} predictions of {len(arm.seeds)} models (seeds) on test images"
    patients = patients_text(clean.n_patients, arm.jobs)
    commonest = commonest_share(arm.jobs)
    more = ", which is more" if commonest > clean.value else ""
    said = [
        f"Without attack “{arm.name}” is right on {clean.rate} % ({clean.k} of {of}{patients})"
        f"; always naming the commonest class would be right on {100 * commonest:.1f} %{more}."
    ]
    unknown = max(unknown_patients(job, "test") for job in arm.jobs)
    if clean.n_patients is not None and clean.n_patients + unknown < VERY_FEW_PATIENTS:
        said.append(
            f"{plural(clean.n_patients, 'patient')} are too few for any number of it to be relied "
            "on."
        )
    if facts.attack is None:
        return [*said, "Nothing was attacked, so nothing can be said about robustness."]
    name = attack_name(facts.attack)
    tried = [
        (size, number)
        for size in facts.sizes
        if (number := facts.number(arm, (*facts.attack, size))) is not None
    ]
    if not tried:
        return [*said, f"It was not attacked with {name}."]
    first = next(((size, number) for size, number in tried if number.high < clean.low), None)
    lowest = min(tried, key=lambda pair: pair[1].value)
    if first is None:
        return [
            *said,
            f"Under {name} its accuracy is lowest at ε={lowest[0]:g}/255, {lowest[1].rate} %; at "
            f"no strength up to {tried[-1][0]:g}/255 does its interval lie below that without "
            "attack.",
        ]
    fall = (
        f"Under {name} its accuracy falls to {first[1].rate} % at ε={first[0]:g}/255, the smallest "
        "strength whose interval lies below that without attack"
    )
    if lowest[0] != first[0]:
        fall += f", and at worst to {lowest[1].rate} % (ε={lowest[0]:g}/255)"
    return [*said, f"{fall}."]


def _limits(facts: Facts) -> list[str]:
    """Why not to rely on it."""
    study = facts.study
    said = leakage_in_short(study.jobs)
    small = [job for job in study.jobs if _is_small(job)]
    if small:
        rows = [job.results["clean"][0] for job in small]
        row = min(rows, key=lambda row: (int(row["n"]), row["n_patients"] or 0))
        of = patients_text(row["n_patients"], small)
        said.append(
            f"The test set is small ({plural(row['n'], 'image')}{of}): what is not shown here may "
            "still be so."
        )
    if not several_seeds(study.arms):
        said.append("Each model was trained once; another seed may give other numbers.")
    elif study.arms:
        said.append(
            "The intervals take the trained models as they are; other seeds may lie outside them."
        )
    tests = sum(len(of) for of in facts.differences.values())
    if tests > 1:
        said.append(
            f"{tests} comparisons were made without adjusting for their number: were there no "
            "difference at all, about one in twenty would still look certain, and more where "
            "patients are few. What differs between these trained models may also be chance of "
            "training, which is not in the intervals."
        )
    if facts.attack is not None:
        said.append(
            f"{attack_name(facts.attack)} is a weak attack of one step: a model that resists it "
            "has not been shown to resist anything stronger."
        )
    return said


def _is_small(job: Job) -> bool:
    row = job.results["clean"][0]
    known = row["n_patients"]
    few = known is not None and known + unknown_patients(job, "test") < FEW_PATIENTS
    return few or int(row["n"]) < FEW_IMAGES


def leakage_in_short(jobs: Sequence[Job]) -> list[str]:
    """How much of the test set comes from patients in training."""
    shares = [job.results["data"]["overlap"].get("patient_overlap") for job in jobs]
    known = [share for share in shares if share is not None]
    said = []
    if len(known) < len(shares):
        said.append(
            "Whether test patients are also in training is unknown"
            + (" for some jobs." if known else ".")
        )
    if known and max(known) > 0:
        low, high = (_rounded(end) for end in (min(known), max(known)))
        span = f"{high} %" if low == high else f"{low} to {high} %, depending on the job,"
        if any(unknown_patients(job, part) for job in jobs for part in ("train", "test")):
            span = f"at least {span}"
        said.append(
            f"Of the test images, {span} come from patients who are also in training, so little is "
            "said about new patients."
        )
    return said


def _rounded(share: float) -> str:
    """In per cent; 0 and 100 only where they are exact."""
    if 0 < share < 0.005:
        return "less than 1"
    return "more than 99" if 0.995 <= share < 1 else f"{100 * share:.0f}"
