"""The report as Markdown, beside its figures and tables."""

from __future__ import annotations

from collections.abc import Sequence

from bcadv.report.document import (
    FIGURES,
    Block,
    Bullets,
    Code,
    Picture,
    Pictures,
    Section,
    Table,
    Text,
)
from bcadv.report.draft import Draft
from bcadv.report.escape import code_block, markdown_text
from bcadv.report.sections.data import line
from bcadv.report.summary import answer_text, headline
from bcadv.report.table import warning_of
from bcadv.report.words import sentence


def markdown(draft: Draft, made: Sequence[Section]) -> str:
    """The whole report; figures are linked as they stand beside it."""
    conclusion = draft.conclusion
    lines = [f"# {markdown_text(headline(conclusion, draft.marks_of))}", ""]
    if draft.study.synthetic:
        lines += [_strong(warning_of(draft.study)), ""]
    lines += [markdown_text(f"Tested: {line(draft)}"), ""]
    lines += [
        f"- {_strong(f'{answer.arm}: {answer.word}')}. "
        f"{markdown_text(answer_text(answer, draft.marks_of))}."
        for answer in conclusion.answers
    ]
    foremost = (sentence(found, draft.marks_of(found)) for found in conclusion.foremost)
    lines += ["", *(f"- {markdown_text(text)}" for text in foremost), ""]
    lines += _legend(draft, lines)
    for part in made:
        lines += [f"## {markdown_text(part.title)}", ""]
        for block in part.blocks:
            told = _lines(block)
            lines += [*told, "", *_legend(draft, told)]
    return "\n".join(lines)


def _legend(draft: Draft, lines: Sequence[str]) -> list[str]:
    """What the signs in some lines stand for."""
    notes = [f"- {markdown_text(text)}" for text in draft.notes.legend(lines)]
    return [*notes, ""] if notes else []


def _strong(text: str) -> str:
    return f"**{markdown_text(text)}**"


def _lines(block: Block) -> list[str]:
    match block:
        case Text(text, strong):
            return [_strong(text) if strong else markdown_text(text)]
        case Bullets(items):
            return [f"- {markdown_text(item)}" for item in items]
        case Code(text):
            return code_block(text, "console")
        case Pictures(pictures):
            return [line for picture in pictures for line in (*_picture(picture), "")][:-1]
        case table:
            return _table(table)


def _picture(picture: Picture) -> list[str]:
    if picture.failure:
        return [_strong(picture.failure)]
    # Brackets that do not match would end the text.
    alt = markdown_text(picture.alt.replace("[", "(").replace("]", ")"))
    ending = "svg" if picture.svg else "png"
    lines = [f"![{alt}]({FIGURES}/{picture.name}.{ending})"]
    return [*lines, "", markdown_text(picture.caption)] if picture.caption else lines


def _table(table: Table) -> list[str]:
    rows = [[name, *(" ".join(filter(None, cell)) for cell in cells)] for name, cells in table.rows]
    rule = ["---", *["---:"] * (len(table.head) - 1)]
    return [
        _strong(table.title),
        "",
        _row(table.head),
        f"| {' | '.join(rule)} |",
        *map(_row, rows),
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(markdown_text, cells))} |"
