"""Work on many small files in threads, in order, with a bar where somebody watches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import track

_T = TypeVar("_T")
_S = TypeVar("_S")

TOGETHER = 16
"""So many small images are decoded in a thread before it hands them over."""


def in_parallel(
    function: Callable[[_S], _T], arguments: Sequence[_S], workers: int, together: int = 1
) -> Iterator[_T]:
    """Maps in threads, results in order, never more than a few of them waiting in memory.

    Args:
        function: what is done.
        arguments: to each of these.
        workers: number of threads.
        together: so many are done at once in a thread: waking it costs as much as a small image.
    """
    waiting: deque[Future[list[_T]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for begin in range(0, len(arguments), together):
            some = arguments[begin : begin + together]
            waiting.append(pool.submit(_each, function, some))
            if len(waiting) >= 4 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _each(function: Callable[[_S], _T], some: Sequence[_S]) -> list[_T]:
    return [function(one) for one in some]


def shown(items: Iterable[_T], what: str, total: int, progress: bool) -> Iterable[_T]:
    console = Console(stderr=True)
    if not (progress and console.is_terminal):
        return items
    return track(items, what, total, console=console, transient=True)
