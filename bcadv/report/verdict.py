"""One paragraph on what the numbers bear, and no more."""

from __future__ import annotations

from collections.abc import Sequence

from bcadv.study.arms import Arm, undefended
from bcadv.report.defence import on_the_defence
from bcadv.study.differences import differences
from bcadv.report.facts import Facts, commonest_share, patients_text, unknown_patients
from bcadv.study.jobs import Job
from bcadv.study.numbers import Number, Series, several_seeds
from bcadv.study.prose import listed, plural
from bcadv.study.study import Study
from bcadv.results.schema import CLEAN

_ALIKE = 0.005
"""Mean accuracies that differ by less hurt alike."""

FEW_PATIENTS, VERY_FEW_PATIENTS, FEW_IMAGES = 50, 10, 200


def verdict(study: Study) -> str:
    """The verdict on a study, in plain English."""
    facts = Facts(study, differences(study.comparisons, study.conditions))
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
    attacks = facts.study.attacks
    if not attacks:
        return [*said, "Nothing was attacked, so nothing can be said about robustness."]
    for attack in attacks:
        said.append(_fall_under(facts, arm, attack, clean))
    if len(attacks) > 1:
        said += _worst(facts, arm)
    return said


def _fall_under(facts: Facts, arm: Arm, attack: Series, clean: Number) -> str:
    """How far an arm falls under one attack."""
    tried = [
        (condition, number)
        for condition in attack.conditions
        if (number := facts.number(arm, condition)) is not None
    ]
    if not tried:
        return f"It was not attacked with {attack.label}."
    first = next((pair for pair in tried if pair[1].high < clean.low), None)
    lowest = min(tried, key=lambda pair: pair[1].value)
    if first is None:
        return (
            f"Under {attack.label} its accuracy is lowest at ε={lowest[0].amount}, "
            f"{lowest[1].rate} %; at no strength up to {tried[-1][0].amount} does its interval lie "
            "below that without attack."
        )
    fall = (
        f"Under {attack.label} its accuracy falls to {first[1].rate} % at ε={first[0].amount}, the "
        "smallest strength whose interval lies below that without attack"
    )
    if lowest[0] != first[0]:
        fall += f", and at worst to {lowest[1].rate} % (ε={lowest[0].amount})"
    return f"{fall}."


def _worst(facts: Facts, arm: Arm) -> list[str]:
    """Which of several attacks hurts most, norm by norm: strengths of two norms do not compare."""
    said = []
    by_norm: dict[str | None, list[Series]] = {}
    for attack in facts.study.attacks:
        by_norm.setdefault(attack.first.norm, []).append(attack)
    for attacks in by_norm.values():
        of_each = {
            attack.label: {
                c.strength: number.value
                for c in attack.conditions
                if (number := facts.number(arm, c)) is not None
            }
            for attack in attacks
        }
        of_each = {label: values for label, values in of_each.items() if values}
        shared = set.intersection(*map(set, of_each.values())) if len(of_each) > 1 else set()
        if not shared:
            continue
        mean = {k: sum(v[s] for s in shared) / len(shared) for k, v in of_each.items()}
        worst = min(mean, key=lambda label: mean[label])
        unlike = [label for label in mean if mean[label] - mean[worst] > _ALIKE]
        if unlike:
            said.append(
                f"Of {listed(list(mean))}, {worst} leaves it the least accuracy over the strengths "
                f"that they share ({100 * mean[worst]:.1f} % on average, "
                + listed([f"{100 * mean[label]:.1f} % under {label}" for label in unlike])
                + ")."
            )
    return said


def _limits(facts: Facts) -> list[str]:
    """Why not to rely on it."""
    study = facts.study
    said = leakage_in_short(study.jobs)
    small = [job for job in study.jobs if _is_small(job)]
    if small:
        rows = [job.result.clean_rows()[0] for job in small]
        row = min(rows, key=lambda row: (row.n, row.n_patients or 0))
        of = patients_text(row.n_patients, small)
        said.append(
            f"The test set is small ({plural(row.n, 'image')}{of}): what is not shown here may "
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
    if study.attacks and all(attack.first.steps == 1 for attack in study.attacks):
        names = listed([attack.label for attack in study.attacks])
        said.append(
            f"{names} take{'' if len(study.attacks) > 1 else 's'} one step, a weak attack: "
            "a model that resists has not been shown to resist anything stronger."
        )
    return said


def _is_small(job: Job) -> bool:
    row = job.result.clean_rows()[0]
    known = row.n_patients
    few = known is not None and known + unknown_patients(job, "test") < FEW_PATIENTS
    return few or row.n < FEW_IMAGES


def leakage_in_short(jobs: Sequence[Job]) -> list[str]:
    """How much of the test set comes from patients in training."""
    shares = [job.result.data.overlap.get("patient_overlap") for job in jobs]
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
