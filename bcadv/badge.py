"""Which job of a sweep this process speaks for. Imports nothing heavy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_worn = ""
_above: Callable[[str], None] | None = None


def badge() -> str:
    """What every line of the present job begins with, such as ``[3/12 sigma=0.1]``; else empty."""
    return _worn


@contextmanager
def worn(text: str) -> Iterator[None]:
    """Within it, `badge` is this text."""
    global _worn  # noqa: PLW0603  a process is at one job at a time
    before, _worn = _worn, text
    try:
        yield
    finally:
        _worn = before


@contextmanager
def written_above(write: Callable[[str], None]) -> Iterator[None]:
    """Within it, `write_line` leaves its lines to whoever draws on the terminal."""
    global _above  # noqa: PLW0603  there is one terminal
    before, _above = _above, write
    try:
        yield
    finally:
        _above = before


def write_line(text: str) -> None:
    """A line on standard error as it is, above a bar where one is drawn there."""
    if _above is not None:
        _above(text)
        return
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
