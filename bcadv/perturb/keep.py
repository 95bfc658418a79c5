"""Where a search under way keeps what it knows: who is killed within a batch goes on in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

EVERY_S = 30.0
"""Seconds between two saves: a batch of images takes a fraction of one to write."""


class Keeper(Protocol):
    """Keeps the state of the search at hand."""

    def load(self) -> dict[str, Any] | None:
        """What was kept by a process that was killed since; ``None``: nothing."""
        ...

    def save(self, state: dict[str, Any]) -> None:
        """Keeps a state in place of the one before: tensors, numbers and texts by name."""
        ...


class Watcher(Protocol):
    """Whoever wants to know how far a search is."""

    def standing(self, images: int, of: int, member: str) -> None:
        """So many of the images at hand stand yet, after what this member has tried."""
        ...


_KEEPER: ContextVar[Keeper | None] = ContextVar("keeper", default=None)
_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def kept(keeper: Keeper | None, watcher: Watcher | None = None) -> Iterator[None]:
    """Within it, a search keeps its state, and says how far it is.

    Args:
        keeper: of the one search that is begun within.
        watcher: is told.
    """
    one, two = _KEEPER.set(keeper), _WATCHER.set(watcher)
    try:
        yield
    finally:
        _KEEPER.reset(one)
        _WATCHER.reset(two)


class Pace:
    """Saves now and then, and tells whoever watches."""

    def __init__(self) -> None:
        self.keeper, self.watcher = _KEEPER.get(), _WATCHER.get()
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """What was kept before."""
        return None if self.keeper is None else self.keeper.load()

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self.keeper is not None and time.monotonic() - self._last >= EVERY_S

    def save(self, state: dict[str, Any]) -> None:
        """Saves."""
        if self.keeper is not None:
            self.keeper.save(state)
            self._last = time.monotonic()
