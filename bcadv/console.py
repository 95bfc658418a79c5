"""What a terminal is told: text is printed as text, never as markup.

Rich takes ``[x]`` for markup and ``:x:`` for an emoji in every string it is given; class names,
file names and messages of others may hold both, and control characters besides.
"""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from bcadv.text import shown


def say(console: Console, text: str, style: str = "", *, lines: bool = False) -> None:
    """Prints a text as it is, unbroken, so that a path in it can be copied.

    Args:
        console: to print to.
        text: from anywhere.
        style: of rich, such as ``bold red``; of the whole text.
        lines: the text has several lines; otherwise the end of a line becomes an escape, for a
            name may not begin a line of its own.
    """
    console.print(Text(_fit(console, text, lines=lines), style), soft_wrap=True)


def label(console: Console, word: str, style: str, text: str, *, lines: bool = False) -> None:
    """Prints a coloured word, a colon and a text as it is, as `say` does.

    Args:
        console: to print to.
        word: such as ``NOTE``.
        style: of the word.
        text: from anywhere.
        lines: as for `say`.
    """
    console.print(
        Text.assemble(
            (_fit(console, word, lines=False), style), ": ", _fit(console, text, lines=lines)
        ),
        soft_wrap=True,
    )


def _fit(console: Console, text: str, *, lines: bool) -> str:
    """The text in characters that the console's stream can take."""
    fit = shown(text, keep="\n" if lines else "")
    return fit.encode(console.encoding, "backslashreplace").decode(console.encoding)
