"""Whether a defence helps: matched by strength, on the same images, under the worst attack tried.

What is measured and what the checks found are gathered here; `bcadv.results.verdict` decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Finding, Outcome
from bcadv.results.verdict import MARGIN, Checked, Decision, Step, Verdict, decide, fold
from bcadv.study.arms import Arm
from bcadv.study.differences import Difference
from bcadv.study.facts import Facts, commonest_share, unknown_patients
from bcadv.study.found import Found
from bcadv.study.limits import VERY_FEW_PATIENTS
from bcadv.study.numbers import positive_of

OUTCOMES: Mapping[Verdict, Outcome] = {
    "robust": "ok",
    "masked": "failed",
    "no better": "failed",
    "undecided": "unknown",
}


def defence(facts: Facts, arm: Arm) -> list[Found]:
    """The verdict on a defended model, and what speaks against what it gains."""
    rows = facts.differences.get(arm.name, [])
    by_condition = {row.condition: row for row in rows}
    attacked = _worst_cases(facts, arm, by_condition)
    better = [row for row in attacked if row.better]
    worse = [row for row in attacked if row.worse]
    found = _batchnorm(facts, arm)
    checked = checks_of(arm, batchnorm=_falls(facts, arm, found))
    decision, few = _decide(facts, arm, attacked, checked), few_patients(arm, rows)
    if few is not None and decision.verdict == "robust":
        decision = replace(decision, verdict="undecided", up_to=())
    up_to = {(step.norm, step.strength) for step in decision.up_to}
    gone = decision.verdict == "masked" or facts.flaw(arm)
    judged = Found(
        "defence",
        OUTCOMES[decision.verdict],
        70,
        "defence",
        {
            "verdict": decision.verdict,
            "reason": decision.reason,
            "better": better,
            "worse": worse,
            "tried": attacked,
            "most": max(attacked, key=lambda row: row.value, default=None),
            "margin": MARGIN,
            "of": arm.name,
            "up_to": [row for row in attacked if _place(row.condition) in up_to],
            "checks": [facts.study.asked.get(name, name) for name in decision.checks],
            "few": few,
        },
        about=arm.name,
        taints=tuple(row.condition.id for row in better) if gone else (),
    )
    made = [judged]
    clean = by_condition.get(CLEAN)
    if clean is not None and clean.worse:
        facts_of = {"of": arm.name, "difference": clean}
        made.append(Found("clean_cost", "failed", 50, "defence", facts_of, about=arm.name))
    return [*made, *_one_attack_only(facts, by_condition, better, arm), *found]


def _decide(facts: Facts, arm: Arm, attacked: Sequence[Difference], checked: Checked) -> Decision:
    if facts.study.reference is None:
        return Decision("undecided", "no_reference")
    if not facts.differences.get(arm.name):
        return Decision("undecided", "not_compared")
    steps = [_step(facts, arm, row) for row in attacked]
    return decide(steps, checked, flaw=facts.flaw(arm), commonest=commonest_share(arm))


def _step(facts: Facts, arm: Arm, row: Difference) -> Step:
    """A row of `_worst_cases` as what is decided on."""
    reference = facts.reference_of(arm) or arm
    theirs = facts.number(reference, row.condition)
    right = row.value if theirs is None else theirs.value + row.value
    return Step(
        norm=row.condition.norm,
        strength=row.condition.strength,
        better=row.better,
        worse=row.worse,
        low=row.low,
        high=row.high,
        right=right,
        fallen=0.0 if theirs is None else facts.clean(reference).value - theirs.value,
    )


def checks_of(arm: Arm, *, batchnorm: bool = False) -> Checked:
    """What the checks found on the models of an arm.

    Args:
        arm: the defended one.
        batchnorm: whether its gain is gone with BatchNorm statistics of clean images.
    """
    of_seeds: dict[int, list[Finding]] = {}
    for job in arm.jobs:
        about = [f for f in job.result.findings if f.batchnorm in (None, arm.variant)]
        of_seeds.setdefault(job.seed, []).extend(about)
    return fold(of_seeds.values(), batchnorm=batchnorm)


def _falls(facts: Facts, arm: Arm, found: Sequence[Found]) -> bool:
    """Whether BatchNorm statistics of clean images lower the arm beyond its interval."""
    for each in found:
        for row in each.facts["lost"]:
            number = facts.number(arm, row.condition)
            again = facts.study.numbers.get((each.facts["twin"], row.condition, "accuracy"))
            if number is not None and again is not None and again.value < number.low:
                return True
    return False


def few_patients(arm: Arm, rows: Sequence[Difference]) -> int | None:
    """How many patients a comparison rests on, where they are too few to bear a verdict."""
    if any(unknown_patients(job.result, "test") for job in arm.jobs):
        return None
    counts = [row.patients for row in rows if row.patients is not None]
    return min(counts) if counts and min(counts) < VERY_FEW_PATIENTS else None


def _worst_cases(facts: Facts, arm: Arm, rows: Mapping[Condition, Difference]) -> list[Difference]:
    """What is gained at each strength when each model is under the attack that is worst for it.

    Attacks count that both were under: one that the undefended model was spared shows no loss. The
    paired difference is that under the attack worst for the undefended model. It is lowered by
    what the defended model loses to another attack, as strong, that is worse for it.
    """
    reference = facts.reference_of(arm)
    if reference is None:
        return []
    own = {_place(c): n.value for pairs in facts.worst(arm, rows).values() for c, n in pairs}
    found = []
    for pairs in facts.worst(reference, rows).values():
        for condition, _ in pairs:
            row, number = rows[condition], facts.number(arm, condition)
            lost = 0.0 if number is None else number.value - own[_place(condition)]
            low, high = row.low - lost, row.high - lost
            certain = row.certain and (low > 0 or high < 0) and (row.value > 0) == (low > 0)
            value = row.value - lost
            found.append(replace(row, value=value, low=low, high=high, certain=certain))
    return found


def _place(condition: Condition) -> tuple[str | None, float]:
    """Norm and strength: attacks of one place are as strong."""
    return condition.norm, condition.strength


def flaws(facts: Facts, arm: Arm) -> list[Found]:
    """A model that names one class, which looks sturdy and is not."""
    flaw = facts.flaw(arm)
    if not flaw:
        return []
    return [
        Found(
            flaw,
            "failed",
            85,
            "metrics",
            {
                "of": arm.name,
                "clean": facts.clean(arm),
                "commonest": commonest_share(arm),
                "sensitivity": facts.number(arm, CLEAN, "sensitivity"),
                "specificity": facts.number(arm, CLEAN, "specificity"),
                "positive": positive_of(arm.jobs[-1]),
            },
            about=arm.name,
        )
    ]


def _one_attack_only(
    facts: Facts, rows: Mapping[Condition, Difference], better: list[Difference], arm: Arm
) -> list[Found]:
    """A gain under one attack that another, as strong and in the same norm, takes away."""
    sure = {_place(row.condition) for row in better}
    gains = [row for row in rows.values() if row.attacked and row.better]
    worst = [rows[c] for pairs in facts.worst(arm, rows).values() for c, _ in pairs]
    taken = {_place(row.condition): row for row in worst if not row.better}
    lone = [r for r in gains if _place(r.condition) in taken and _place(r.condition) not in sure]
    if not lone:
        return []
    places = {_place(row.condition) for row in lone}
    others = [row for place, row in taken.items() if place in places]
    return [
        Found(
            "one_attack_only",
            "failed",
            78,
            "defence",
            {"of": arm.name, "lone": lone, "others": others},
            about=arm.name,
            taints=tuple(row.condition.id for row in lone),
        )
    ]


def _batchnorm(facts: Facts, arm: Arm) -> list[Found]:
    """A gain that is gone with BatchNorm statistics from clean images: not of sturdier weights."""
    if arm.variant != "as_trained":
        return []
    twin = next(
        (
            other
            for other in facts.study.arms
            if other.variant == "clean"
            and other.training == arm.training
            and other.name in facts.differences
        ),
        None,
    )
    gains = [r for r in facts.differences.get(arm.name, []) if r.attacked and r.better]
    if twin is None or not gains:
        return []
    again = {row.condition: row for row in facts.differences[twin.name]}
    there = [again[row.condition] for row in gains if row.condition in again]
    lost = [row for row in there if not row.better]
    if not lost:
        return []
    return [
        Found(
            "batchnorm_gain",
            "failed",
            77,
            "defence",
            {"of": arm.name, "twin": twin.name, "lost": lost, "kept": len(there) - len(lost)},
            about=arm.name,
            taints=tuple(row.condition.id for row in lost),
        )
    ]
