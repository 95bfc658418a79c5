"""Ctrl-C is not lost, and whoever ends a command otherwise is heard as well."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

_AGAIN_S = 0.05


def heard(handler: Callable[[int, FrameType | None], object] | None = None) -> None:
    """From now on, a Ctrl-C that Python throws away is raised once more.

    Python runs a signal's handler between any two steps of the main thread, and of an exception
    within a ``__del__`` or a weak reference's callback nothing remains but a note on standard
    error. Lightning's ``Profiler`` has a ``__del__``, so of those who press Ctrl-C while the
    objects of an earlier job are being collected, some would be ignored.

    Args:
        handler: of Ctrl-C, which is put back first; for one that hears a single one.
    """
    before = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            before(lost)
            return
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        # Not at once: that would be raised, and lost, in here.
        timer = threading.Timer(_AGAIN_S, _interrupt)
        timer.daemon = True
        timer.start()

    sys.unraisablehook = hook


def terminable() -> None:
    """From now on SIGTERM, as of ``kill`` or a cluster at its time limit, is heard like Ctrl-C.

    Lightning by itself notes it and goes on: in training to the end of a batch, and in an
    evaluation, of which a batch may take minutes, as if nothing had been said. Whoever hears it
    already, such as a launcher, goes on doing so.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _interrupt() -> None:
    # A signal of its own: what Python offers for this does not wake who sleeps or waits.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
