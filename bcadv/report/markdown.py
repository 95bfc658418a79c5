"""The report as Markdown, beside its figures and tables."""

from __future__ import annotations

from bcadv.report.document import (
    FIGURES,
    Block,
    Bullets,
    Command,
    Document,
    Paragraph,
    Picture,
    Pictures,
)
from bcadv.report.escape import code_block, markdown_text
from bcadv.report.table import markdown_head, markdown_line
from bcadv.report.tabular import Table


def markdown(document: Document) -> str:
    """The whole report; figures are linked as they stand beside it."""
    lines = [f"# {markdown_text(document.title)}", ""]
    if document.warning:
        lines += [_strong(document.warning), ""]
    for part in document.sections:
        lines += [f"## {markdown_text(part.title)}", ""]
        for block in part.blocks:
            lines += [*_lines(block), ""]
    return "\n".join(lines)


def _strong(text: str) -> str:
    return f"**{markdown_text(text)}**"


def _lines(block: Block) -> list[str]:
    match block:
        case Paragraph(text, strong):
            return [_strong(text) if strong else markdown_text(text)]
        case Bullets(items):
            return [f"- {markdown_text(item)}" for item in items]
        case Command(text):
            return code_block(text, "console")
        case Pictures(pictures):
            return [line for picture in pictures for line in (*_picture(picture), "")][:-1]
        case table:
            return table_lines(table)


def _picture(picture: Picture) -> list[str]:
    if picture.failure:
        return [_strong(picture.failure)]
    # Brackets that do not match would end the text.
    alt = markdown_text(picture.alt.replace("[", "(").replace("]", ")"))
    lines = [f"![{alt}]({FIGURES}/{picture.name}.png)"]
    return [*lines, "", markdown_text(picture.caption)] if picture.caption else lines


def table_lines(table: Table) -> list[str]:
    """A table with its title above and its notes below."""
    return [
        _strong(table.title),
        "",
        *markdown_head(list(table.shown.columns)),
        *(markdown_line(list(map(str, row))) for row in table.shown.itertuples(index=False)),
        "",
        *(f"- {markdown_text(note)}" for note in table.notes),
    ]
