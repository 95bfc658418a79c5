"""The report as Markdown, beside its figures and tables."""

from __future__ import annotations

from bcadv.report.document import (
    FIGURES,
    Block,
    Bullets,
    Command,
    Document,
    Paragraph,
    Pictures,
)
from bcadv.report.table import markdown_head, markdown_line


def markdown(document: Document) -> str:
    """The whole report; figures are linked as they stand beside it."""
    lines = [f"# {document.title}", ""]
    if document.warning:
        lines += [f"**{document.warning}**", ""]
    for part in document.sections:
        lines += [f"## {part.title}", ""]
        for block in part.blocks:
            lines += [*_lines(block), ""]
    return "\n".join(lines)


def _lines(block: Block) -> list[str]:
    match block:
        case Paragraph(text, strong):
            return [f"**{text}**" if strong else text]
        case Bullets(items):
            return [f"- {item}" for item in items]
        case Command(text):
            return ["```console", text, "```"]
        case Pictures(pictures):
            lines = []
            for picture in pictures:
                alt = picture.alt.replace("[", "(").replace("]", ")")
                lines += [f"![{alt}]({FIGURES}/{picture.name}.png)", ""]
                lines += [picture.caption, ""] if picture.caption else []
            return lines[:-1]
        case table:
            return [
                f"**{table.title}**",
                "",
                *markdown_head(list(table.shown.columns)),
                *(
                    markdown_line(list(map(str, row)))
                    for row in table.shown.itertuples(index=False)
                ),
                "",
                *(f"- {note}" for note in table.notes),
            ]
