"""``python -m bcadv.report [runs=DIR ...] [out=DIR] [prevalence=0.1]``: the report on some jobs.

Without ``runs``: the newest sweep below ``outputs``, or the newest finished job of each
experiment, as far as they are of one data set, that of the newest job. With ``runs=DIR``, as often
as wanted: every finished job in and below these folders.
Reads result files only.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bcadv.console import label, say
from bcadv.errors import BcadvError
from bcadv.report.console import console_comparison
from bcadv.report.options import COMMAND, OUTPUTS
from bcadv.report.page import tell, write_report
from bcadv.study.jobs import Job, default_jobs, find_jobs


@dataclass(frozen=True)
class Arguments:
    """What stands on the command line."""

    runs: tuple[Path, ...]
    out: Path
    prevalence: float


def arguments_of(options: Mapping[str, Any]) -> Arguments:
    """The options of `COMMAND` as a report takes them.

    Raises:
        BcadvError: there are no jobs to look for, or the page cannot be written there.
    """
    if not options["runs"] and not OUTPUTS.is_dir():
        raise BcadvError(f"There is no folder {OUTPUTS}; name a folder of jobs: runs=DIR.")
    out = options["out"]
    if out.exists() and not out.is_dir():
        raise BcadvError(f"{out} is no folder; name another: out=DIR.")
    return Arguments(options["runs"], out, options["prevalence"])


def remake(arguments: Arguments, jobs: Sequence[Job]) -> str:
    """The command that makes this very report again, when other jobs have ended since."""
    runs = arguments.runs or _folders(jobs)
    words = [f"runs={run}" for run in runs]
    words += [f"out={arguments.out}", f"prevalence={arguments.prevalence:g}"]
    return shlex.join(["python", "-m", "bcadv.report", *words])


def _folders(jobs: Sequence[Job]) -> tuple[Path, ...]:
    """The sweep's folder where all jobs are of one sweep, or else those of the jobs."""
    parents = {job.folder.parent for job in jobs}
    if len(parents) == 1 and (next(iter(parents)) / "sweep.json").is_file():
        return tuple(parents)
    return tuple(job.folder for job in jobs)


def report(arguments: Arguments, console: Console) -> Path:
    """Writes the report and prints the comparison in short.

    Returns:
        The path of the page.

    Raises:
        BcadvError: if there is no readable result of a finished job, or the report cannot be
            written.
    """
    named = arguments.runs
    jobs, left_out = find_jobs(named) if named else default_jobs(OUTPUTS)
    for sentence in left_out:
        say(console, f"Left out: {sentence}", "yellow")
    if not jobs:
        raise BcadvError(
            f"No finished job in or below {', '.join(map(str, named or [OUTPUTS]))}; run one first "
            "(python -m bcadv.run) or name its folder: runs=DIR."
        )
    written = write_report(
        jobs,
        left_out,
        arguments.out,
        prevalence=arguments.prevalence,
        command=remake(arguments, jobs),
    )
    console.print(console_comparison(written.study, written.notes))
    tell(console, written)
    for sentence in written.failures:
        label(console, "WARNING", "bold yellow", sentence)
    say(console, f"Report: {written.page.resolve()}")
    return written.page


def main(arguments: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    try:
        report(arguments_of(COMMAND.parse(arguments)[0]), Console())
    except BcadvError as error:
        say(Console(stderr=True), str(error), "bold red")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
