"""Ctrl-C at bad moments."""

from __future__ import annotations

import signal
import sys
import time
import weakref
from collections.abc import Callable

import pytest

from bcadv.interrupt import heard
from bcadv.launch import _only_once


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
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  not from the call, but soon after it
        at()
        time.sleep(10)
    assert time.monotonic() - begun < 5, "who waits is woken"
    assert not others


def test_the_one_that_a_process_of_several_hears_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", print)
    before = signal.signal(signal.SIGINT, _only_once)
    try:
        heard(_only_once)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  as above
            in_a_finalizer()
            time.sleep(10)
        signal.raise_signal(signal.SIGINT)  # the next ones do not stop it on its way out
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_errors_of_finalizers_go_where_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __del__(self) -> None:
            raise ValueError("odd")

    others: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", others.append)
    heard()
    Failing()
    assert len(others) == 1
