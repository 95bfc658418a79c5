"""Rows on standard output as soon as they are there, and on standard error what is going on."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from itertools import zip_longest
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tests.benchmarks.measure import Row

HEADER = Row("", "ours", "other side", "result", "target")
_OUTCOME, _SIDE, _WHAT = 12, 24, 20
_FRAME = len("│  │  │  │  │  │")


class Table:
    """A table that is written row by row; its widths cannot wait for the longest cell.

    Args:
        stream: where to.
        width: of the whole, in characters.
    """

    def __init__(self, stream: TextIO, width: int) -> None:
        room = width - _FRAME - 2 * _OUTCOME
        side = min(_SIDE, max(_OUTCOME - 2, (room - _WHAT) // 2))
        self._stream = stream
        self._widths = (max(_WHAT, room - 2 * side), side, side, _OUTCOME, _OUTCOME)

    def head(self, title: str) -> None:
        """Begins a benchmark."""
        self._write([f"\n{title}", *self._lines(HEADER), self._rule("├", "┼", "┤")])

    def row(self, row: Row) -> None:
        """Adds a row."""
        self._write(self._lines(row))

    def foot(self) -> None:
        """Ends a benchmark."""
        self._write([self._rule("└", "┴", "┘")])

    def _rule(self, left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (width + 2) for width in self._widths) + right

    def _lines(self, row: Row) -> list[str]:
        cells = [
            textwrap.wrap(text, width)
            for text, width in zip(astuple(row), self._widths, strict=True)
        ]
        return [
            "│ " + " │ ".join(map(str.ljust, line, self._widths)) + " │"
            for line in zip_longest(*cells, fillvalue="")
        ]

    def _write(self, lines: Sequence[str]) -> None:
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()  # whoever reads a pipe wants the row now


class Progress:
    """Says what is being measured and for how long: a status on a terminal, else a line per step.

    Args:
        stream: where to.
        clock: seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._begun = clock()
        self._what = ""
        console = Console(file=stream)
        self._live: Live | None = None
        if stream.isatty() and not console.is_dumb_terminal:
            self._live = Live(
                console=console,
                get_renderable=self._status,
                refresh_per_second=2,
                transient=True,
                # Rows may go to a file while the status is on a terminal.
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def step(self, benchmark: str, what: str) -> None:
        """From now on this is being measured."""
        self._what = f"{benchmark}: {what}"
        if self._live is None:
            self._stream.write(f"{self._line()}\n")
            self._stream.flush()
        else:
            self._live.start(refresh=True)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Takes the status away while something else is written to the terminal."""
        running = self._live is not None and self._live.is_started
        self.close()
        yield
        if running and self._live is not None:
            self._live.start(refresh=True)

    def close(self) -> None:
        """Takes the status away."""
        if self._live is not None:
            self._live.stop()

    def _line(self) -> str:
        minutes, seconds = divmod(int(self._clock() - self._begun), 60)
        return f"[{minutes:02d}:{seconds:02d}] {self._what}"

    def _status(self) -> Text:
        return Text(self._line(), style="dim", no_wrap=True, overflow="ellipsis")
