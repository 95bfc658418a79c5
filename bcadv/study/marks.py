"""Which failed check makes which number suspect: decided here, printed by the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from bcadv.results.checks import APART, NAMES
from bcadv.results.condition import Condition
from bcadv.results.schema import Finding, Result

Checks: TypeAlias = tuple[str, ...]
"""Ids of the failed checks that make a number suspect, in the order of `NAMES`."""

_ANSWERS = ("same_answers", "repeatable")
"""Of a model whose answers do not repeat every number is suspect, that of clean images too."""

_MODEL = ("logits",)
"""What these say of a model weakens whatever attacks it."""

_GRADIENT = ("gradient", "zero_gradient")
"""What these say weakens every attack that follows the gradient, in whichever norm."""

_NORM = (
    "saturation",
    "one_step",
    "black_box",
    "noise",
    "transfer",
    "unbounded",
    "converged",
)
"""What these say weakens every attack that follows the gradient in this norm: they ask at one
strength, or find at some what is no better at the others."""

_NO_MARK = {*APART, "leakage"}
"""What says nothing of the attacks, or stands above the whole page."""


def suspect(
    findings: Iterable[Finding], accuracy: Mapping[Condition, float]
) -> dict[Condition, Checks]:
    """The numbers that failed checks make suspect, and which checks.

    Args:
        findings: about one model under one choice of BatchNorm statistics.
        accuracy: of that model, under everything that it was measured under.
    """
    found: dict[Condition, set[str]] = {}
    for finding in findings:
        for condition in tainted(finding, accuracy):
            found.setdefault(condition, set()).add(finding.id)
    return {
        condition: ordered_checks(found[condition]) for condition in accuracy if condition in found
    }


def ordered_checks(ids: Iterable[str]) -> Checks:
    """Ids of checks, each once, in the order of `NAMES`; unknown ones last."""
    places = {name: place for place, name in enumerate(NAMES)}
    return tuple(sorted(set(ids), key=lambda name: (places.get(name, len(places)), name)))


def tainted(finding: Finding, accuracy: Mapping[Condition, float]) -> list[Condition]:
    """The conditions whose numbers one finding makes suspect.

    A check that finds attacks too weak says that accuracy may be lower than it was measured: where
    no image is right there is nothing to be suspected.

    Args:
        finding: of any outcome; one that did not fail taints nothing.
        accuracy: as in `suspect`.
    """
    if finding.outcome != "failed" or finding.id in _NO_MARK:
        return []
    if finding.id in _ANSWERS:
        return list(accuracy)
    attacked = [
        c for c, right in accuracy.items() if c.kind == "attack" and c.strength > 0 and right > 0
    ]
    named = [c for c in accuracy if c.id in finding.taints]
    if finding.id in _MODEL or not finding.taints:
        return attacked
    if finding.id in _GRADIENT:
        return [c for c in attacked if c.follows_gradient]
    if finding.id in _NORM:
        norms = {c.norm for c in named}
        return [c for c in attacked if c.norm in norms and c.follows_gradient]
    return [c for c in named if c in attacked or c.kind != "attack"]


def of_result(result: Result, batchnorm: str) -> dict[Condition, Checks]:
    """As `suspect`, of one job under one choice of BatchNorm statistics."""
    accuracy = {
        result.condition_of(row): row.metrics["accuracy"].value or 0.0
        for row in result.rows
        if row.batchnorm == batchnorm
    }
    return suspect((f for f in result.findings if f.batchnorm in (None, batchnorm)), accuracy)


def titles(results: Iterable[Result]) -> dict[str, str]:
    """What each check asks for, in a few words; its title of one that is not known here."""
    found = {f.id: f.title for result in results for f in result.failed()}
    return {**found, **NAMES}
