"""What a terminal is told: text is printed as text, never as markup.

Rich takes ``[x]`` for markup and ``:x:`` for an emoji in every string it is given; class names,
file names and messages of others may hold both, and control characters besides.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from rich.cells import cell_len
from rich.console import (
    Console,
    ConsoleOptions,
    ConsoleRenderable,
    NewLine,
    RenderHook,
    RenderResult,
)
from rich.control import Control
from rich.segment import Segment
from rich.text import Text

from bcadv.badge import badge
from bcadv.text import shorten, shown

_NARROWEST = 40
"""Columns that are left to a table beside the badge of a job."""

_FOR_PROGRAMMERS = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")
_WARNED = re.compile(r"(?P<path>.+?):\d+: (?P<category>\w+): (?P<said>.*)", re.DOTALL)


def say(
    console: Console, text: str, style: str = "", *, lines: bool = False, red: str = "$^"
) -> None:
    """Prints a text as it is, unbroken, so that a path in it can be copied.

    Args:
        console: to print to.
        text: from anywhere.
        style: of rich, such as ``bold red``; of the whole text.
        lines: the text has several lines; otherwise the end of a line becomes an escape, for a
            name may not begin a line of its own.
        red: regular expression of what is red in it.
    """
    made = Text(_fit(console, text, lines=lines), style)
    made.highlight_regex(red, "bold red")
    console.print(made, soft_wrap=True)


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


def cell(console: Console, text: str, style: str = "") -> Text:
    """A text from anywhere for a cell of a table, as `say` would print it.

    Args:
        console: that the table is printed to.
        text: from anywhere.
        style: of rich.
    """
    return Text(_fit(console, text, lines=False), style)


def _fit(console: Console, text: str, *, lines: bool) -> str:
    """The text in characters that the console's stream can take."""
    fit = shown(text, keep="\n" if lines else "")
    return fit.encode(console.encoding, "backslashreplace").decode(console.encoding)


@cache
def terminal() -> Console:
    """Where this process speaks: standard error, with the job's badge before every line."""
    console = Console(stderr=True)
    console.push_render_hook(_Badges())
    return console


class _Badges(RenderHook):
    """Puts the badge before what is printed."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        worn = badge()
        # Mere movements of the cursor, such as a bar's, are no lines.
        if not worn or all(isinstance(each, Control | NewLine | Bare) for each in renderables):
            return renderables
        return [_Badged(worn, renderables)]


class Bare:
    """A line that is not of the present job, or bears its badge already.

    Args:
        text: the line.
    """

    def __init__(self, text: str) -> None:
        self.text = Text(text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Badged:
    def __init__(self, worn: str, renderables: Sequence[ConsoleRenderable]) -> None:
        self.worn, self.renderables = worn, renderables

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        worn = f"{self.worn} "
        if not options.no_wrap and options.max_width - cell_len(worn) < _NARROWEST:
            # The number alone, so that a table keeps its digits.
            worn = f"{self.worn.split()[0].rstrip(']')}] "
        narrower = options.update_width(max(1, options.max_width - cell_len(worn)))
        segments = [piece for each in self.renderables for piece in console.render(each, narrower)]
        for line in Segment.split_lines(segments):
            yield Segment(worn, console.get_style("dim"))
            yield from line
            yield Segment.line()


class Lines(logging.Handler):
    """Shows log records as lines of ours; the whole of them is in the job's log file.

    Of other libraries only what they warn of is shown, and of that not what is meant for their
    programmers.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record, above a bar where one is drawn."""
        try:
            if getattr(record, "on_bar", False):
                return
            said = self.format(record)
            if record.name == "py.warnings":
                found = _WARNED.match(said)
                if found is not None:
                    if found["category"] in _FOR_PROGRAMMERS:
                        return
                    said = found["said"].rpartition("\n  ")[0] or found["said"]
            elif not f"{record.name}.".startswith("bcadv.") and record.levelno < logging.WARNING:
                return
            said = shorten(said.strip())
            if record.levelno < logging.WARNING:
                say(terminal(), said, lines=True)
            else:
                colour = "yellow" if record.levelno < logging.ERROR else "red"
                label(terminal(), record.levelname, f"bold {colour}", said, lines=True)
        except Exception:
            self.handleError(record)


@contextmanager
def warnings_logged() -> Iterator[None]:
    """Within it, warnings are log records, so that `Lines` shows them like any other."""
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
