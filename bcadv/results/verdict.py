"""The verdict on a defence: a fold over what was measured and what the checks found.

It knows no files and no networks, so that a study and an audit of one model come to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bcadv.results.checks import APART, MASKING, NEEDED, outcome_of
from bcadv.results.schema import Finding

Verdict: TypeAlias = Literal["robust", "masked", "no better", "undecided"]

Reason: TypeAlias = Literal[
    "no_reference",
    "not_compared",
    "not_attacked",
    "no_better_than_one_class",
    "one_sided",
    "worse",
    "margin",
    "chance",
    "no_gradient",
    "checks_failed",
    "batchnorm",
    "checks_doubted",
    "checks_missing",
    "small_gain",
    "not_throughout",
    "holds",
]

MARGIN = 0.10
"""A defence is no better where gains of this much accuracy or more can be ruled out, and robust
where they are certain: two trainings of one kind may differ by less."""


@dataclass(frozen=True)
class Step:
    """What a defence gains at one strength, each model under the attack that is worst for it.

    Attributes:
        norm: of the attacks.
        strength: in the unit of the norm.
        better: whether the paired interval of the gain lies above 0, and the gain is certain.
        worse: whether it lies below 0, likewise.
        low: lower end of that interval.
        high: upper end.
        right: accuracy of the defended model.
        fallen: accuracy that the undefended model lost from clean images.
    """

    norm: str | None
    strength: float
    better: bool
    worse: bool
    low: float
    high: float
    right: float
    fallen: float


@dataclass(frozen=True)
class Checked:
    """What came of the checks on the defended model, by their ids.

    Attributes:
        masking: failed, and say that attacks failed for another reason than robustness.
        doubts: others that failed.
        missing: needed for *robust*, and not known to hold.
        no_gradient: whether the model has none at all, so that no white box could be tried.
        batchnorm: whether the gain is gone with BatchNorm statistics of clean images.
    """

    masking: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    no_gradient: bool = False
    batchnorm: bool = False


def fold(of_models: Iterable[Sequence[Finding]], *, batchnorm: bool = False) -> Checked:
    """What the findings on one model, or on those of several seeds, mean for their defence.

    A check that failed for any of them counts; one that is needed has to hold for each.

    Args:
        of_models: the findings of each.
        batchnorm: whether the gain is gone with BatchNorm statistics of clean images.
    """
    models = list(of_models)
    known = {finding.id for found in models for finding in found}
    failed = {f.id for found in models for f in found if f.outcome == "failed"}
    return Checked(
        masking=tuple(name for name in MASKING if name in failed),
        doubts=tuple(sorted(failed - {*MASKING, *APART})),
        missing=tuple(n for n in NEEDED if any(outcome_of(found, n) != "ok" for found in models)),
        # Whoever can look whether it is zero has a gradient.
        no_gradient="gradient" in failed and "zero_gradient" not in known,
        batchnorm=batchnorm,
    )


@dataclass(frozen=True)
class Decision:
    """The verdict and what it rests on.

    Attributes:
        verdict: the word.
        reason: why, as a word.
        up_to: *robust*: the largest strength of each norm that it holds up to.
        checks: ids of the checks that decided it.
    """

    verdict: Verdict
    reason: Reason
    up_to: tuple[Step, ...] = ()
    checks: tuple[str, ...] = ()


def decide(
    steps: Sequence[Step], checked: Checked, *, flaw: str = "", commonest: float = 0.0
) -> Decision:
    """Decides on a defence.

    *no better*: at no strength a certain gain, and either certainly less at some or gains of
    `MARGIN` ruled out at all; or a model that has nothing to lose. What breaks an image proves that
    it can be broken, so no check on the model can take this back.
    *masked*: a check of masking failed, or BatchNorm statistics of clean images take the gain away.
    *robust up to*: no check failed, those of `bcadv.results.checks.NEEDED` passed, the gain is
    certainly `MARGIN` or more there, and certain at every smaller strength, other than those at
    which the undefended model has not yet lost `MARGIN` (there is nothing to gain; but nothing may
    be lost either).
    *undecided*: all else.

    Args:
        steps: strengths that both models were attacked at, of each norm rising.
        checked: what the checks found.
        flaw: ``no_better_than_one_class`` or ``one_sided``, of the defended model on clean images.
        commonest: accuracy of naming one class always; what is not above it is no robustness.
    """
    better, worse = ([s for s in steps if getattr(s, way)] for way in ("better", "worse"))
    up_to = _up_to(steps, commonest)
    no_gradient, no_gain = checked.no_gradient, not better and not checked.no_gradient
    ruled_out = max((step.high for step in steps), default=1.0) < MARGIN
    in_order: list[tuple[bool, Verdict, Reason, tuple[str, ...]]] = [
        (no_gradient and not steps, "masked", "no_gradient", ("gradient",)),
        (not steps, "undecided", "not_attacked", ()),
        (flaw == "no_better_than_one_class", "no better", "no_better_than_one_class", ()),
        (bool(flaw), "no better", "one_sided", ()),
        (no_gain and bool(worse), "no better", "worse", ()),
        (no_gain and ruled_out, "no better", "margin", ()),
        (no_gradient, "masked", "no_gradient", ("gradient",)),
        (bool(checked.masking), "masked", "checks_failed", checked.masking),
        (not better, "undecided", "chance", ()),
        (checked.batchnorm, "masked", "batchnorm", ()),
        (bool(checked.doubts), "undecided", "checks_doubted", checked.doubts),
        (bool(checked.missing), "undecided", "checks_missing", checked.missing),
        (all(step.low < MARGIN for step in better), "undecided", "small_gain", ()),
        (not up_to, "undecided", "not_throughout", ()),
    ]
    for holds, verdict, reason, checks in in_order:
        if holds:
            return Decision(verdict, reason, checks=checks)
    return Decision("robust", "holds", up_to)


def _up_to(steps: Sequence[Step], commonest: float) -> tuple[Step, ...]:
    """The largest strength of each norm that the gain holds up to; none where it is worse once."""
    by_norm: dict[str | None, list[Step]] = {}
    for step in steps:
        by_norm.setdefault(step.norm, []).append(step)
    found = []
    for of_norm in by_norm.values():
        last, gained = None, False
        for step in sorted(of_norm, key=lambda step: step.strength):
            nothing_to_gain = not gained and step.fallen < MARGIN
            if step.worse or not (step.better or nothing_to_gain) or step.right <= commonest:
                break
            gained |= step.better
            last = step if step.low >= MARGIN else last
        if last is not None:
            found.append(last)
    return tuple(found)
