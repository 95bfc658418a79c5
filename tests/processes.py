"""The command line as processes of their own, to be watched and killed."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from tests.conftest import REPOSITORY
from tests.painted import painted_once

DEADLINE_S = 400


@dataclass
class Command:
    """A running command, leader of a process group.

    Attributes:
        process: of the command.
        log: what it said, on either stream.
    """

    process: Any
    log: Path

    @property
    def said(self) -> str:
        """Its output so far, as one line: a terminal's width breaks sentences anywhere."""
        return " ".join(self.log.read_text(encoding="utf-8").split())

    def until(self, happened: Callable[[], bool]) -> None:
        """Waits for something that it does."""
        end = time.monotonic() + DEADLINE_S
        while not happened():
            assert self.status() is None, self.log.read_text(encoding="utf-8")
            if time.monotonic() > end:
                self._give_up()
            time.sleep(0.005)

    def status(self) -> int | None:
        """Its exit status; ``None`` while it runs."""
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll()
        status: int | None = self.process.exitcode
        return status

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        end = time.monotonic() + DEADLINE_S
        while (status := self.status()) is None:
            if time.monotonic() > end:
                self._give_up()
            time.sleep(0.05)
        return status

    def _give_up(self) -> NoReturn:
        # SIGINT, so that whatever it started on the side is ended too.
        self.send(signal.SIGINT)
        raise AssertionError(f"too slow: {self.log.read_text(encoding='utf-8')}")

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the whole group, as a terminal does."""
        os.killpg(self.process.pid, number)


def _log(cwd: Path) -> Path:
    return cwd / f"log-{len(list(cwd.glob('log-*')))}.txt"


def start(cwd: Path, arguments: Sequence[str], **environment: str) -> Command:
    """`python -m bcadv.run`, as a person starts it."""
    log = _log(cwd)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bcadv.run", *arguments],
            cwd=cwd,
            env={"PYTHONPATH": str(REPOSITORY)} | os.environ | {"COLUMNS": "200"} | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Command(process, log)


WARM = multiprocessing.get_context("forkserver")
"""Starts processes that have imported already what takes seconds.

Python has one such server, which imports what was asked for last before it started: whoever names
modules elsewhere takes these away from everybody.
"""
WARM.set_forkserver_preload(
    [
        "bcadv.job",
        "bcadv.tracking.run",
        "hydra",
        "mlflow",
        "mlflow.store.tracking.sqlalchemy_store",
    ]
)


@contextmanager
def warm() -> Iterator[None]:
    """Warm processes stand in for new ones, whose imports would take most of the time."""
    plain = multiprocessing.get_context

    def context(method: str | None = None) -> Any:
        return WARM if method == "spawn" else plain(method)

    with patch.object(multiprocessing, "get_context", context):
        yield


def fork(cwd: Path, arguments: Sequence[str]) -> Command:
    """The same from a warm process, which saves most of the time; draws no pictures either.

    A launcher that starts processes of its own gains nothing by it.
    """
    log = _log(cwd)
    log.touch()
    process = WARM.Process(
        target=_main, args=(cwd, log, list(arguments), os.environ["BCADV_TESTS_TISSUE"])
    )
    process.start()
    # The group must exist before anyone signals it.
    while process.exitcode is None and os.getpgid(process.pid or 0) != process.pid:
        time.sleep(0.005)
    return Command(process, log)


def _main(cwd: Path, log: Path, arguments: list[str], tissue: str) -> None:
    os.setsid()
    # As from a terminal, even where the server of warm processes was started with it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.environ["COLUMNS"] = "200"
    os.chdir(cwd)
    sys.argv = ["bcadv.run", *arguments]
    with patch("bcadv.job.render", return_value=""), painted_once(Path(tissue)):
        runpy.run_module("bcadv.run", run_name="__main__", alter_sys=True)
