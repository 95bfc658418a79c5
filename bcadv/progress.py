"""How far a long work is: a bar on a terminal, a line now and then in a file. Imports no torch."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bcadv.badge import badge, written_above
from bcadv.console import Bare, terminal
from bcadv.text import printable

log = logging.getLogger(__name__)

_LEAST_S = 30.0
"""Seconds between two lines at least, but for those at each tenth of the work."""

_MOST_LINES = 100
_LONGEST_S = 600.0
_WINDOW_S = 120.0
_MARKS = 1000


class Pace:
    """How long the rest of a work will take, from what the last of it took.

    Args:
        total: units of work.
        clock: the time in seconds.
    """

    def __init__(self, total: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done, self._clock = total, 0.0, clock
        self._free = 0.0
        self._begun = self._last = clock()
        self._marks = deque([(self._begun, 0.0)])

    @property
    def seconds(self) -> float:
        """Since the work began here."""
        return self._clock() - self._begun

    @property
    def share(self) -> float:
        """What is done, from 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 1.0

    def skip(self, units: float) -> None:
        """Counts what an earlier command has done."""
        self.done += units
        self._free += units

    def reach(self, done: float) -> None:
        """Counts work up to this many units of the total."""
        now = self._clock()
        self.done, self._last = max(self.done, done), now
        since = now - self._marks[-1][0]
        if since >= (now - self._begun) / _MARKS:
            self._marks.append((now, self.done - self._free))
        # The latest half of the time tells more than the whole: machines get busy and idle again.
        window = max(_WINDOW_S, (now - self._begun) / 2)
        while len(self._marks) > 2 and now - self._marks[1][0] > window:
            self._marks.popleft()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Within it, time does not count as time for the work."""
        before = self._clock()
        yield
        lost = self._clock() - before
        self._marks = deque((when + lost, done) for when, done in self._marks)
        self._last += lost

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take; ``None`` where nothing tells."""
        since, had = self._marks[0]
        done = self.done - self._free - had
        if done <= 0 or self._last <= since:
            return None
        rest = (self.total - self.done) * (self._last - since) / done
        return max(0.0, rest - (self._clock() - self._last))


def duration(seconds: float) -> str:
    """Seconds as people say them, such as ``2 h 5 min``."""
    whole = round(seconds)
    for unit, smaller, size, small in (
        ("d", "h", 86_400, 3_600),
        ("h", "min", 3_600, 60),
        ("min", "s", 60, 1),
    ):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def on_terminal() -> bool:
    """Whether there is a terminal, and for this job alone, to draw a bar on."""
    return (
        sys.stderr.isatty()
        and os.environ.get("BCADV_PROGRESS") != "lines"
        and not terminal().is_dumb_terminal
    )


class Meter:
    """Shows how far a work is, and how long the rest of it will take.

    On a terminal it draws a bar. Lines go to the log as well, at the end of the first step, and
    then at each tenth of the work and twice a minute, less often where it takes hours; they are
    shown where no bar is.

    Args:
        total: units of work.
        at_most: the work may end before all units are done.
        clock: the time in seconds.
    """

    def __init__(
        self,
        total: float = 1.0,
        *,
        at_most: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pace = Pace(total, clock)
        self.at_most, self._clock = at_most, clock
        self._headline = self._detail = ""
        self._said, self._tenth = clock(), 0
        self._first = True
        self._live: Live | None = None
        self._around = ExitStack()

    def __enter__(self) -> Meter:
        """Draws the bar, if there is a terminal."""
        if on_terminal():
            self._live = Live(
                console=terminal(),
                get_renderable=self._drawn,
                refresh_per_second=4,
                transient=True,
            )
            self._around.enter_context(written_above(self._above))
            self._around.enter_context(self._live)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Removes the bar."""
        self._around.close()
        self._live = None

    def begin(self, total: float, *, done: float = 0.0) -> None:
        """Starts the clock.

        Args:
            total: units of work.
            done: units of it that were done before.
        """
        self.pace = Pace(total, self._clock)
        self.pace.skip(done)
        self._said = self._clock()

    def show(self, headline: str, detail: str = "") -> None:
        """What the work is at, in a few words, and more where there is room."""
        self._headline, self._detail = headline, detail

    def tell(self, *, step: bool = False) -> None:
        """Writes a line, if it is time for one.

        Args:
            step: a step of the work has ended.
        """
        now, tenth = self._clock(), int(10 * self.pace.share)
        most = (self.pace.seconds + (self.pace.left or 0)) / _MOST_LINES
        rest = min(_LONGEST_S, max(_LEAST_S, most))
        if not (step and (self._first or tenth > self._tenth)) and now - self._said < rest:
            return
        self._said = now
        if step:
            self._first, self._tenth = False, tenth
        detail = f": {self._detail}" if self._detail else ""
        log.info("%s%s; %s", self._headline, detail, self._time(), extra=self._marked())

    def _marked(self) -> dict[str, bool]:
        return {"on_bar": self._live is not None}

    def _time(self) -> str:
        left = self.pace.left
        gone = f"{duration(self.pace.seconds)} gone"
        if left is None or self.pace.share == 1:
            return gone
        return f"{gone}, {self._left(left)}"

    def _left(self, seconds: float) -> str:
        return f"{'at most ' if self.at_most else ''}about {duration(seconds)} left"

    def _drawn(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        # The one that gives way where a terminal is narrow.
        grid.add_column()
        grid.add_column(width=16, no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        begins = Text(no_wrap=True, overflow="ellipsis")
        begins.append(f"{badge()} " if badge() else "", "dim").append(printable(self._headline))
        bar = ProgressBar(total=1.0, completed=self.pace.share)
        grid.add_row(begins, bar, Text(f"{100 * self.pace.share:.0f} %, {self._time()}"))
        detail = Text(printable(self._detail), "dim", no_wrap=True, overflow="ellipsis")
        return Group(grid, detail) if self._detail else grid

    def _above(self, line: str) -> None:
        terminal().print(Bare(line), soft_wrap=True)
