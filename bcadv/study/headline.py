"""The answer of a study: a fold over its findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from bcadv.study.defence import defence, flaws
from bcadv.study.facts import Facts
from bcadv.study.fall import fall, missed
from bcadv.study.found import Found
from bcadv.study.limits import limits
from bcadv.study.study import Study

Word: TypeAlias = Literal["fooled", "undecided", "not attacked", "no better", "masked", "robust"]
"""The answer on a model, or on its defence."""

FIRST = 5
"""Findings that stand on the first screen."""


@dataclass(frozen=True)
class Answer:
    """The answer on one arm.

    Attributes:
        arm: its name.
        fall: the finding on how far it falls.
        defence: the verdict on its defence; ``None`` of an undefended one.
    """

    arm: str
    fall: Found
    defence: Found | None

    @property
    def fooled(self) -> Word:
        """Whether the model can be fooled."""
        if not self.fall.facts["strongest"]:
            return "not attacked"
        return "fooled" if self.fall.outcome == "failed" else "undecided"

    @property
    def helps(self) -> Word | None:
        """Whether its defence helps."""
        if self.defence is None:
            return None
        word: Word = self.defence.facts["verdict"]
        return word

    @property
    def word(self) -> Word:
        """The one word beside its name."""
        return self.helps or self.fooled


@dataclass(frozen=True)
class Conclusion:
    """Everything that a study shows.

    Attributes:
        facts: the study, looked up.
        answers: one per arm, the undefended ones first.
        findings: all others, the gravest first.
    """

    facts: Facts
    answers: tuple[Answer, ...]
    findings: tuple[Found, ...]

    @property
    def study(self) -> Study:
        return self.facts.study

    @cached_property
    def first(self) -> Answer:
        """The model that the headline is about: the one that others are compared with."""
        reference = self.study.reference
        names = [a for a in self.answers if reference is not None and a.arm == reference.name]
        return (names or list(self.answers))[0]

    @cached_property
    def verdicts(self) -> Counter[str]:
        """How many defended models got which verdict."""
        return Counter(a.helps for a in self.answers if a.helps is not None)

    @property
    def word(self) -> Word:
        """The answer in a word: can the model be fooled?"""
        return self.first.fooled

    @cached_property
    def foremost(self) -> tuple[Found, ...]:
        """The gravest findings, one of each kind."""
        by_kind: dict[tuple[str, str], Found] = {}
        for found in self.findings:
            if found.outcome != "ok":
                # Several checks that failed are several findings; of other kinds the first counts.
                by_kind.setdefault((found.id, str(found.facts.get("title", ""))), found)
        return tuple(by_kind.values())[:FIRST]

    def of(self, kind: str) -> Sequence[Found]:
        """The findings of a kind."""
        return [found for found in self.findings if found.id == kind]


def conclude(study: Study, prevalence: float) -> Conclusion:
    """Decides what a study shows.

    Args:
        study: one or more arms.
        prevalence: share of patients with the disease that consequences are stated at, in (0, 1).
    """
    facts = Facts(study, prevalence)
    answers, findings = [], limits(facts)
    for arm in study.arms:
        fallen = fall(facts, arm)
        judged = [] if arm.defence.none else defence(facts, arm)
        answers.append(Answer(arm.name, fallen, next(iter(judged), None)))
        findings += [*judged[1:], *flaws(facts, arm)]
        if arm.defence.none or study.reference is None:
            findings += missed(facts, arm)
    if not any(not arm.defence.none for arm in study.arms):
        findings.append(Found("no_defence", "unknown", 15, "defence"))
    findings.sort(key=lambda found: -found.weight)
    return Conclusion(facts, tuple(answers), tuple(findings))
