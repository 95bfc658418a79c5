"""The machine-readable twin of the page: ``summary.json``, with the same words and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from bcadv.report.draft import Draft
from bcadv.report.sections.data import line
from bcadv.report.words import say, sentence, verdict_text
from bcadv.results.condition import CLEAN, Condition
from bcadv.study.differences import Difference
from bcadv.study.found import Found
from bcadv.study.headline import Answer, Conclusion
from bcadv.study.numbers import Number
from bcadv.study.study import Study

VERSION = 1


Signs: TypeAlias = Callable[[Found], Mapping[str, str]]
"""The signs beside the numbers of a finding, see `Draft.marks_of`."""


def unmarked(found: Found) -> Mapping[str, str]:
    """No signs: for what only a program reads, which is told of them elsewhere."""
    return {}


def answer_text(answer: Answer, signs: Signs = unmarked) -> str:
    """How far a model falls, and what its defence is worth, without its name."""
    said = sentence(answer.fall, signs(answer.fall))
    if answer.defence is None:
        return said
    return f"{said}. Defence {verdict_text(answer.defence)}: {sentence(answer.defence)}"


def brief_text(answer: Answer, signs: Signs = unmarked) -> str:
    """The same in a line."""
    said = say("brief_fall", answer.fall.facts, marks=signs(answer.fall))
    if answer.defence is None:
        return said
    return f"{say('brief_defence', answer.defence.facts)}; {said}"


def headline(conclusion: Conclusion, signs: Signs = unmarked) -> str:
    """The answer in a sentence or two: the page, the console and the tracker say the same."""
    return f"{conclusion.word.capitalize()}: {answer(conclusion, signs)}"


def answer(conclusion: Conclusion, signs: Signs = unmarked) -> str:
    """The headline without its first word."""
    first = conclusion.first
    return say(
        "headline",
        word=conclusion.word,
        name=f"“{first.arm}”",
        fall=sentence(first.fall, signs(first.fall)),
        defended=[a.arm for a in conclusion.answers if a.defence is not None],
        verdicts=dict(conclusion.verdicts),
        verdict=next(
            (verdict_text(a.defence) for a in conclusion.answers if a.defence is not None), ""
        ),
    )


def summary(draft: Draft) -> dict[str, Any]:
    """The content of ``summary.json``; what is undefined is ``null``.

    Returns:
        ``headline``, ``answer`` (a word), ``tested``, ``synthetic``, ``prevalence``, ``models``
        (name, answer, fall with its numbers, verdict on the defence and
        the strengths that it holds up to), ``findings`` (the gravest
        first: id, outcome, about, sentence, section, taints), ``numbers`` (a row per model,
        condition and metric, all seeds together; shares in [0, 1]), ``corruption_errors`` (a row
        per model and corruption, and one of all, see `bcadv.study.corruption`), ``queries`` (a row
        per model, strength of a black box and number of queries that a table of the page tells, see
        `bcadv.study.queries`). ``suspect`` beside
        a number: ids of the failed checks that make it so; each is the ``check`` of a finding.
    """
    conclusion, study = draft.conclusion, draft.study
    corrupted = [c for series in study.corruptions for c in series.conditions]

    def suspect(of: str, *conditions: Condition) -> dict[str, Any]:
        return {"suspect": list(draft.study.suspect(of, *conditions))}

    return {
        "schema_version": VERSION,
        "headline": headline(conclusion),
        "answer": conclusion.word,
        "tested": line(draft),
        "synthetic": study.synthetic,
        "prevalence": draft.facts.prevalence,
        "models": [_model(answer, suspect) for answer in conclusion.answers],
        "findings": [
            {
                "id": found.id,
                "outcome": found.outcome,
                "about": found.about or None,
                "sentence": sentence(found),
                "section": found.section,
                "taints": list(found.taints),
                "check": found.facts.get("check"),
            }
            for found in conclusion.findings
        ],
        "numbers": [
            {
                "model": name,
                **_condition(condition),
                "metric": metric,
                **_number(number),
                **suspect(name, condition),
            }
            for (name, condition, metric), number in study.numbers.items()
        ],
        "corruption_errors": [
            {str(name): _known(value) for name, value in row.items()}
            | suspect(str(row["arm"]), *corrupted)
            for row in study.corruption_errors.to_dict("records")
        ],
        "queries": _queries(study),
    }


def _queries(study: Study) -> list[dict[str, Any]]:
    rows = study.queries
    if rows.empty:
        return []
    by_id = {condition.id: condition for condition in study.conditions}
    return [
        {
            "model": row["arm"],
            **_condition(by_id[row["condition"]]),
            **{name: int(row[name]) for name in ("queries", "k", "n")},
            **{name: _known(float(row[name])) for name in ("value", "low", "high")},
            "suspect": list(study.suspect(row["arm"], by_id[row["condition"]])),
        }
        for row in rows[rows["told"]].to_dict("records")
    ]


def _model(answer: Answer, suspect: Callable[..., dict[str, Any]]) -> Mapping[str, Any]:
    facts = answer.fall.facts
    points = {name: facts[name] for name in ("first", "lowest")}
    return {
        "name": answer.arm,
        "answer": answer.word,
        "fooled": answer.fooled,
        "defence": answer.helps,
        "up_to": [_condition(row.condition) for row in _up_to(answer)],
        "sentence": answer_text(answer),
        "clean": {**_number(facts["clean"]), **suspect(answer.arm, CLEAN)},
        **{
            name: None
            if point is None
            else {**_condition(point[0]), **_number(point[1]), **suspect(answer.arm, point[0])}
            for name, point in points.items()
        },
    }


def _up_to(answer: Answer) -> Sequence[Difference]:
    """Where a defence was last seen to hold, in each norm."""
    found: Sequence[Difference] = () if answer.defence is None else answer.defence.facts["up_to"]
    return found


def _condition(condition: Condition) -> dict[str, Any]:
    names = ("id", "kind", "label", "norm", "strength", "unit")
    found = {name: getattr(condition, name) for name in names}
    return {"condition": found.pop("id"), **found}


def _number(number: Number) -> dict[str, Any]:
    names = ("value", "low", "high", "k", "n", "n_patients")
    values = {name: getattr(number, name) for name in names}
    return {name: _known(value) for name, value in values.items()}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
