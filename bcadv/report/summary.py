"""The machine-readable twin of the page: ``summary.json``, with the same words and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bcadv.report.draft import Draft
from bcadv.report.sections.data import line
from bcadv.report.words import say, sentence, verdict_text
from bcadv.results.condition import Condition
from bcadv.study.differences import Difference
from bcadv.study.headline import Answer, Conclusion
from bcadv.study.numbers import Number

VERSION = 1


def answer_text(answer: Answer) -> str:
    """How far a model falls, and what its defence is worth, without its name."""
    said = sentence(answer.fall)
    if answer.defence is None:
        return said
    return f"{said}. Defence {verdict_text(answer.defence)}: {sentence(answer.defence)}"


def brief_text(answer: Answer) -> str:
    """The same in a line."""
    said = say("brief_fall", answer.fall.facts)
    if answer.defence is None:
        return said
    return f"{say('brief_defence', answer.defence.facts)}; {said}"


def headline(conclusion: Conclusion) -> str:
    """The answer in a sentence or two: the page, the console and the tracker say the same."""
    return f"{conclusion.word.capitalize()}: {answer(conclusion)}"


def answer(conclusion: Conclusion) -> str:
    """The headline without its first word."""
    first = conclusion.first
    return say(
        "headline",
        word=conclusion.word,
        name=f"“{first.arm}”",
        fall=sentence(first.fall),
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
        per model and corruption, and one of all, see `bcadv.study.corruption`).
    """
    conclusion, study = draft.conclusion, draft.study
    return {
        "schema_version": VERSION,
        "headline": headline(conclusion),
        "answer": conclusion.word,
        "tested": line(draft),
        "synthetic": study.synthetic,
        "prevalence": draft.facts.prevalence,
        "models": [_model(answer) for answer in conclusion.answers],
        "findings": [
            {
                "id": found.id,
                "outcome": found.outcome,
                "about": found.about or None,
                "sentence": sentence(found),
                "section": found.section,
                "taints": list(found.taints),
            }
            for found in conclusion.findings
        ],
        "numbers": [
            {"model": name, **_condition(condition), "metric": metric, **_number(number)}
            for (name, condition, metric), number in study.numbers.items()
        ],
        "corruption_errors": [
            {str(name): _known(value) for name, value in row.items()}
            for row in study.corruption_errors.to_dict("records")
        ],
    }


def _model(answer: Answer) -> Mapping[str, Any]:
    facts = answer.fall.facts
    points = {name: facts[name] for name in ("first", "lowest")}
    return {
        "name": answer.arm,
        "answer": answer.word,
        "fooled": answer.fooled,
        "defence": answer.helps,
        "up_to": [_condition(row.condition) for row in _up_to(answer)],
        "sentence": answer_text(answer),
        "clean": _number(facts["clean"]),
        **{
            name: None if point is None else {**_condition(point[0]), **_number(point[1])}
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
