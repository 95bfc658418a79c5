"""Findings -> sentences: the templates beside this file, and how numbers are written in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from bcadv.results.condition import Condition
from bcadv.study.differences import Difference
from bcadv.study.fall import Count
from bcadv.study.found import Found
from bcadv.study.naming import variant_name
from bcadv.study.numbers import UNDEFINED, Number, amounts
from bcadv.study.prose import listed, plural


def percent(share: float) -> str:
    """A share in per cent without decimals, unless these are all there is: ``58``, ``0.4``."""
    if math.isnan(share):
        return UNDEFINED
    value = 100 * share
    # A rounded 0 or 100 would read as none or all.
    near = 0 < value < 1 or 99 < value < 100
    return f"{value:.1f}" if near else f"{value:.0f}"


def counted(number: float, of: float) -> str:
    """A number of patients; finer the fewer they are counted on."""
    if math.isnan(number):
        return UNDEFINED
    # Five ill of a thousand, rounded to whole patients, would read as certainly none missed.
    return f"{number:.{0 if of >= 100 else 1 if of >= 10 else 2}f}"


def per_patients(count: Count | None) -> str:
    """A number of patients with its interval and those it is counted on: ``8 [3, 12] of 100``."""
    if count is None:
        return "unknown"
    value, low, high = (counted(number, count.of) for number in count[:3])
    ends = "" if math.isnan(count.low) else f" [{low}, {high}]"
    return f"{value}{ends} of {count.of:g}"


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


def strength(condition: Condition) -> str:
    """``ε=4/255``; in L2 with its norm: strengths of two norms do not compare."""
    norm = " (L2)" if condition.norm == "2" else ""
    return f"{condition.symbol}={condition.amount}{norm}"


@cache
def templates() -> jinja2.Environment:
    """The templates of the report, with what writes numbers in them."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(
            lambda name: files("bcadv.report").joinpath(name).read_text(encoding="utf-8")
        ),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "plural": plural,
        "listed": lambda values: listed([str(value) for value in values]),
        "where": where,
        "strength": strength,
        "variant": variant_name,
        "per_patients": per_patients,
        "best": lambda rows: max(rows, key=lambda row: row.value),
    }
    environment.globals |= {"counted": counted}
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


def sentence(found: Found) -> str:
    """A finding in words."""
    return say(found.id, found.facts, outcome=found.outcome)


def with_interval(number: Number | None) -> tuple[str, str]:
    """A rate in per cent and its interval: ``("27.5", "[19.4, 37.4]")``."""
    if number is None or math.isnan(number.value):
        return UNDEFINED, ""
    return _split(number.rate)


def decimals(number: Number | None) -> tuple[str, str]:
    """A number to three places and its interval."""
    if number is None or math.isnan(number.value):
        return UNDEFINED, ""
    return _split(number.decimals)


def _split(text: str) -> tuple[str, str]:
    value, bracket, interval = text.partition(" [")
    return value, f"[{interval}" if bracket else ""
