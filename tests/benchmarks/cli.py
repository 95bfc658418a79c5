"""How long the command line takes to answer when there is nothing to compute."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.measure import REPOSITORY, Options, Row, alternate

QUESTIONS = {
    "help": ("--help", ["--help"], 0),
    "mistake": ("a mistake: sigma=abc", ["sigma=abc"], 2),
}
"""Row -> what is asked, its arguments and the exit status of the right answer."""


def ask(folder: Path, arguments: list[str], status: int, *python: str) -> str:
    """Runs the command in a folder of its own; returns its standard error.

    Raises:
        RuntimeError: it ended otherwise than it should.
    """
    done = subprocess.run(
        [sys.executable, *python, "-m", "bcadv.run", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != status:
        raise RuntimeError(f"bcadv.run {arguments} ended with {done.returncode}: {done.stderr}")
    return done.stderr


def imports(folder: Path, arguments: list[str], status: int) -> set[str]:
    """Every module that the command imports."""
    lines = ask(folder, arguments, status, "-X", "importtime").splitlines()
    return {line.split("|")[-1].strip() for line in lines if line.startswith("import time:")}


def run(options: Options) -> Iterator[Row]:
    """Wall time of help and of a mistake, and whether torch was imported for it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for row, (what, arguments, status) in QUESTIONS.items():
            if not options.wants(row):
                continue
            side = partial(ask, folder, arguments, status)
            timed = alternate({what: side}, options.rounds, tell=options.tell)[what]
            yield Row(what, str(timed), "-", f"{timed.median:.2f} s", "<= 3 s")
            with_torch = "torch" in imports(folder, arguments, status)
            answer = "imported" if with_torch else "not imported"
            yield Row(f"{what}: torch", "-", "-", answer, "not imported")
