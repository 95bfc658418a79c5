"""Plain text -> Markdown that shows this very text (CommonMark, with GitHub's extensions)."""

from __future__ import annotations

import re

from bcadv.text import shown

# Only what would act is escaped: an interval as [19.4, 37.4] stays readable unrendered.
_INLINE = re.compile(
    r"[\\`*~$|]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # no emphasis begins or ends within a word
    r"|!(?=\[)"
    r"|\](?=[(\[:])"  # a link or the definition of one
    r"|\[(?=\^)"  # a footnote
    r"|(?<=\s)#(?=#*$)"  # closes a heading
)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_BLOCK = re.compile(r"(?P<number>\d{1,9})(?=[.)](\s|$))|(?=[-+#=>:]|\[[ xX]\])")


def markdown_text(text: str) -> str:
    """The text for a paragraph, a heading, an item of a list, a cell or the stead of a figure.

    It stays in one line: ends of lines and control characters become escapes that can be read.
    """
    text = shown(text.strip())
    text = _INLINE.sub(r"\\\g<0>", text)
    text = _TAG.sub("&lt;", _ENTITY.sub("&amp;", text))
    # What begins a block does so at the beginning only.
    begins = _BLOCK.match(text)
    return f"{begins['number'] or ''}\\{text[begins.end() :]}" if begins else text


def code_block(text: str, language: str) -> list[str]:
    """Lines of a block of code, fenced by more backticks than stand in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", shown(text, keep="\n\t"), fence]
