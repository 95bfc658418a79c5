"""Findings -> sentences: the templates beside this file, and how numbers are written in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import jinja2

from bcadv.report.templates import bare
from bcadv.results.condition import Condition
from bcadv.study.differences import Difference
from bcadv.study.fall import Count
from bcadv.study.found import Found
from bcadv.study.naming import variant_name
from bcadv.study.numbers import UNDEFINED, amounts
from bcadv.study.prose import plural
from bcadv.text import listed


def percent(share: float) -> str:
    """A share in per cent without decimals, unless these are all there is: ``58``, ``0.4``."""
    if math.isnan(share):
        return UNDEFINED
    value = 100 * share
    # A rounded 0 or 100 would read as none or all.
    near = 0 < value < 1 or 99 < value < 100
    return f"{min(max(value, 0.1), 99.9):.1f}" if near else f"{value:.0f}"


def counted(number: float, of: float) -> str:
    """A number of patients; finer the fewer they are counted on."""
    if math.isnan(number):
        return UNDEFINED
    # Five ill of a thousand, rounded to whole patients, would read as certainly none missed.
    text = f"{number:.{0 if of >= 100 else 1 if of >= 10 else 2}f}"
    return text if float(text) or number < 1e-6 else f"{number:.1g}"


def count_text(count: Count) -> str:
    """A number of patients with its interval: ``8 [3, 12]``."""
    value, low, high = (counted(number, count.of) for number in count[:3])
    return value if math.isnan(count.low) else f"{value} [{low}, {high}]"


def per_patients(count: Count | None) -> str:
    """The same with those it is counted on: ``8 [3, 12] of 100``."""
    return "unknown" if count is None else f"{count_text(count)} of {count.of:g}"


def folds(numbers: Sequence[int]) -> str:
    """Folds of a split: ``fold 2``, ``folds 1, 2 and 3``."""
    return f"fold{'' if len(numbers) == 1 else 's'} {listed([str(n) for n in numbers])}"


def where(rows: Sequence[Difference]) -> str:
    """The conditions of some differences: ``FGSM 1 and 2/255; PGD-20 1/255``."""
    of_series: dict[str, list[Condition]] = {}
    for row in rows:
        of_series.setdefault(row.condition.label, []).append(row.condition)
    return "; ".join(f"{label} {amounts(found)}" for label, found in of_series.items())


def p_text(p: float) -> str:
    """A p-value for a table."""
    if math.isnan(p):
        return UNDEFINED
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def strengths(conditions: Iterable[Condition]) -> str:
    """``ε=1 and 4/255; ε=0.5 (L2)``: those of two norms do not compare."""
    of_norm: dict[str | None, list[Condition]] = {}
    for condition in conditions:
        of_norm.setdefault(condition.norm, []).append(condition)
    return "; ".join(
        f"{found[0].symbol}={amounts(found)}{'' if norm in (None, 'inf') else f' (L{norm})'}"
        for norm, found in of_norm.items()
    )


def _mark(facts: Mapping[str, Any], point: str) -> str:
    """The sign beside a number of a finding; none where nobody asked for signs."""
    found = facts.get("marks", {}).get(point)
    return f" {found}" if found else ""


@cache
def templates() -> jinja2.Environment:
    """The templates of the report, with what writes numbers in them."""
    environment = bare()
    environment.filters |= {
        "percent": percent,
        "folds": folds,
        "plural": plural,
        "listed": lambda values: listed([str(value) for value in values]),
        "where": where,
        "strengths": strengths,
        "strength": lambda condition: strengths([condition]),
        "variant": variant_name,
        "per_patients": per_patients,
        "best": lambda rows: max(rows, key=lambda row: row.value),
        "conditions": lambda rows: [row.condition for row in rows],
    }
    environment.globals |= {"counted": counted, "mark": _mark}
    return environment


def say(name: str, facts: Mapping[str, Any] | None = None, /, **more: Any) -> str:
    """A sentence, or several.

    Args:
        name: of the macro in ``sentences.j2``.
        facts: that it speaks of.
        more: more of them.
    """
    macro = getattr(templates().get_template("sentences.j2").module, name)
    return " ".join(str(macro({**(facts or {}), **more})).split())


def sentence(found: Found, marks: Mapping[str, str] | None = None) -> str:
    """A finding in words.

    Args:
        found: the finding.
        marks: signs beside its numbers, by the names that its sentence has for them.
    """
    return say(found.id, found.facts, outcome=found.outcome, marks=marks or {})


def verdict_text(judged: Found) -> str:
    """The verdict on a defence: ``no better``, ``robust up to ε=4/255``."""
    return say("verdict", judged.facts)
