"""Whether the defence helps, in sentences: matched by epsilon, on the same images."""

from __future__ import annotations

from collections.abc import Sequence

from bcadv.study.arms import Arm
from bcadv.study.differences import Difference
from bcadv.report.facts import Facts, commonest_share
from bcadv.study.numbers import amounts, positive_of
from bcadv.study.prose import listed, plural
from bcadv.results.schema import CLEAN, Condition

_SPELLED_OUT = 4
"""Up to so many defended models are judged one by one; more are counted."""


def on_the_defence(facts: Facts) -> list[str]:
    """Whether the defended models do better on the same images."""
    study = facts.study
    defended = [arm for arm in study.arms if not arm.defence.none]
    if not defended:
        return ["No defended model was tested, so nothing can be said about the defence."]
    if study.reference is None:
        return [
            "No undefended model stands beside it, so whether the defence helps cannot be said."
        ]
    compared = [arm for arm in defended if arm.name in facts.differences]
    said = []
    if len(compared) < len(defended):
        said.append(
            f"{plural(len(defended) - len(compared), 'defended model')} could not be compared with "
            "an undefended one on the same images."
        )
    if len(compared) <= _SPELLED_OUT:
        for arm in compared:
            said += _judge(facts, arm)
    else:
        said += _count(facts, compared)
    for arm in compared:
        if arm.variant == "as_trained":
            said += _batchnorm(facts, arm, compared)
        said += _disagreement(facts, arm)
    return said


def _disagreement(facts: Facts, arm: Arm) -> list[str]:
    """Attacks under which a defence looks otherwise: the gain may be a matter of the attack."""
    said = []
    for norm in dict.fromkeys(series.first.norm for series in facts.study.attacks):
        # A gain in one norm promises none in another, nor one at weaker strengths.
        rows = [
            row
            for row in facts.differences[arm.name]
            if row.attacked and row.condition.norm == norm
        ]
        helped = {row.condition.series: row.condition.label for row in rows if row.better}
        strengths = {row.condition.strength for row in rows if row.better}
        others = {
            row.condition.series: row.condition.label
            for row in rows
            if row.condition.series not in helped and row.condition.strength in strengths
        }
        if others:
            said.append(
                f"“{arm.name}” is better under {listed(list(helped.values()))} and not under "
                f"{listed(list(others.values()))}, as strong: a gain that another attack does not "
                "show is no robustness."
            )
    return said


def _better(facts: Facts, arm: Arm) -> list[Difference]:
    """Attacked conditions under which an arm is certainly better."""
    return [row for row in facts.differences[arm.name] if row.attacked and row.better]


def _judge(facts: Facts, arm: Arm) -> list[str]:
    """One defended model, matched by epsilon."""
    rows = facts.differences[arm.name]
    clean = next((row for row in rows if row.condition.clean), None)
    said = []
    if clean is not None:
        if clean.worse:
            cost = f"costs clean accuracy: {clean.text} points"
        elif clean.better:
            cost = f"has higher clean accuracy: {clean.text} points"
        else:
            cost = f"shows no certain change of clean accuracy ({clean.text} points)"
        said.append(f"“{arm.name}”, compared on the same images, {cost}.")
    said += _flaws(facts, arm)
    attacked = [row for row in rows if row.attacked]
    if not attacked:
        return said
    better = [row for row in attacked if row.better]
    worse = [row for row in attacked if row.worse]
    open_ = len(attacked) - len(better) - len(worse)
    words = []
    for found, word, best in ((better, "better", max), (worse, "worse", min)):
        if found:
            most = best(found, key=lambda row: row.value)
            words.append(
                f"it is {word} at {where(found)} "
                + (
                    f"(the most: {most.text} points, at {most.condition.text})"
                    if len(found) > 1
                    else f"({most.text} points)"
                )
            )
    if open_ == len(attacked):
        words.append(
            f"none of the {plural(open_, 'strength')} shows a difference that could not be chance"
        )
    elif open_:
        others = "strength" if open_ == 1 else f"{open_} strengths"
        words.append(f"at the other {others} the difference may be chance")
    return [*said, f"Attacked alike, {'; '.join(words)}."]


def where(rows: Sequence[Difference]) -> str:
    """The conditions of some differences: ``FGSM 1 and 2/255; PGD-20 1/255``."""
    of_series: dict[str, list[Condition]] = {}
    for row in rows:
        of_series.setdefault(row.condition.label, []).append(row.condition)
    return "; ".join(f"{label} {amounts(found)}" for label, found in of_series.items())


def _no_better_than_naming_one_class(facts: Facts, arm: Arm) -> list[str]:
    """A model that has learnt nothing has nothing to lose to an attack."""
    clean = facts.number(arm, CLEAN)
    commonest = commonest_share(arm.jobs)
    if clean is None or clean.low > commonest:
        return []
    return [
        f"With {clean.rate} % without attack it is not certainly better than always naming the "
        f"commonest class ({100 * commonest:.1f} %); a model that is right by naming one class has "
        "little to lose to an attack."
    ]


def _one_sided(facts: Facts, arm: Arm) -> list[str]:
    """A model that calls nearly everything one class looks sturdy on the images of that class."""
    sensitivity = facts.number(arm, CLEAN, "sensitivity")
    specificity = facts.number(arm, CLEAN, "specificity")
    positive = positive_of(arm.jobs[-1])
    if sensitivity is None or specificity is None:
        return []
    if specificity.value < 0.5 < sensitivity.value:
        return [
            f"It calls most negative images {positive} even without attack (specificity "
            f"{specificity.rate} %), so its accuracy on {positive} images alone, the paper's "
            "measure, is no sign of robustness, and a gain in accuracy may come from that alone."
        ]
    if sensitivity.value < 0.5 < specificity.value:
        return [
            f"It calls most {positive} images negative even without attack (sensitivity "
            f"{sensitivity.rate} %)."
        ]
    return []


def _count(facts: Facts, compared: Sequence[Arm]) -> list[str]:
    """Many defended models, counted."""
    rows = {arm.name: facts.differences[arm.name] for arm in compared}
    clean = [row for of in rows.values() for row in of if row.condition.clean]
    attacked = [row for of in rows.values() for row in of if row.attacked]
    better = [row for row in attacked if row.better]
    worse = [row for row in attacked if row.worse]
    gains = sum(any(row.better and row.attacked for row in of) for of in rows.values())
    said = [
        f"Of {len(compared)} defended models (defence × BatchNorm statistics), compared on the "
        f"same images, {_none(sum(row.worse for row in clean))} lose clean accuracy and "
        f"{_none(sum(row.better for row in clean))} gain some.",
    ]
    flawed = [arm for arm in compared if _flaws(facts, arm)]
    if flawed:
        said.append(
            f"{len(flawed)} of them call most images one class, or are not certainly better than "
            "always naming the commonest class, even without attack: a gain of these is no sign "
            "of robustness."
        )
    if not attacked:
        return said
    said.append(
        f"Attacked alike, {_none(gains)} are better than the undefended model at some "
        "strength; "
        f"of the {plural(len(attacked), 'comparison')} {_none(len(better))} are better, "
        f"{_none(len(worse))} worse, and the rest may be chance."
    )
    names = {arm.name for arm in flawed}
    sound = [row for row in better if row.arm not in names]
    for found, of in ((sound, " of the others" if flawed else ""), (better, ", of one of these")):
        if found:
            most = max(found, key=lambda row: row.value)
            said.append(
                f"The largest gain{of}: “{most.arm}”, {most.text} points at {most.condition.text}."
            )
            break
    return said


def _flaws(facts: Facts, arm: Arm) -> list[str]:
    """Why a gain of a model is no sign of robustness."""
    return [*_no_better_than_naming_one_class(facts, arm), *_one_sided(facts, arm)]


def _none(count: int) -> str:
    return str(count) if count else "none"


def _batchnorm(facts: Facts, arm: Arm, compared: Sequence[Arm]) -> list[str]:
    """Whether a gain outlives BatchNorm statistics from clean images."""
    twin = next(
        (
            other
            for other in compared
            if other.variant == "clean" and other.training == arm.training
        ),
        None,
    )
    gains = _better(facts, arm)
    if twin is None or not gains:
        return []
    again = {row.condition: row for row in facts.differences[twin.name] if row.attacked}
    there = [again[row.condition] for row in gains if row.condition in again]
    if not there:
        return []
    kept = [row for row in there if row.better]
    lost = [row for row in there if not row.better]
    absent = [row for row in gains if row.condition not in again]
    said = f"With BatchNorm statistics from clean images (“{twin.name}”, the same weights) "
    if kept:
        said += f"there is a gain still at {where(kept)}"
        said += f", but none that could not be chance at {where(lost)}" if lost else ""
    else:
        best = max(there, key=lambda row: row.value)
        said += (
            f"no gain is left that could not be chance (the largest: {best.text} points): what was "
            "gained may be a matter of these statistics rather than of sturdier weights"
        )
    said += f"; at {where(absent)} that was not measured" if absent else ""
    return [f"{said}."]
