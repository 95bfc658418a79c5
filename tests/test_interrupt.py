"""Ctrl-C at bad moments."""

from __future__ import annotations

import signal
import sys
import time
import weakref
from collections.abc import Callable

import pytest

from bcadv.interrupt import heard


class Dying:
    """Is interrupted while it is thrown away."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


class Watched:
    """Can be weakly referred to."""


def in_a_finalizer() -> None:
    Dying()


def in_a_callback() -> None:
    watched = Watched()
    kept = weakref.ref(watched, lambda _: signal.raise_signal(signal.SIGINT))
    del watched
    assert kept() is None


@pytest.mark.parametrize("at", [in_a_finalizer, in_a_callback])
def test_ctrl_c_is_heard_where_python_throws_it_away(
    at: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", others.append)
    heard()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  not from the call, but soon after it
        at()
        time.sleep(10)
    assert not others


def test_other_errors_of_finalizers_go_where_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __del__(self) -> None:
            raise ValueError("odd")

    others: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", others.append)
    heard()
    Failing()
    assert len(others) == 1
