"""Sweeps: judged as a whole before they start, gone on with where they were left. Imports no torch.

Hydra runs the jobs. What it lacks is done in the parent process: mistakes in any job are said at
once, the MLflow store exists before jobs race for it, the same sweep goes on in the same folder,
and the end is a summary instead of the first job's exception.
"""

from __future__ import annotations

import json
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

from filelock import FileLock

from bcadv.badge import write_line
from bcadv.config import Config, validate
from bcadv.errors import BcadvError
from bcadv.files import write_atomically
from bcadv.keys import job_key, result_key
from bcadv.results.files import FAILED, RESULTS, SWEEP_RECORD, SWEEPS, unharmed
from bcadv.results.schema import read_result
from bcadv.text import brief, printable, shorten

_LOOK_EVERY_S = 0.5
_MOST_NAMED = 10
_LONGEST_BADGE = 60


def finished(folder: Path, raw: Mapping[str, Any]) -> bool:
    """Whether a folder holds the results that a job of these settings would have."""
    if (folder / FAILED).exists():
        return False
    try:
        result, _ = read_result(folder / RESULTS)
        if result.run.key != result_key(raw):
            return False
        for name, wanted in result.files.items():
            unharmed(folder, name, wanted)
    except (OSError, BcadvError):
        return False
    return True


@dataclass(frozen=True)
class Job:
    """A job of a sweep before it runs.

    Attributes:
        overrides: Hydra's, of this job alone.
        raw: the resolved configuration.
        config: the same, validated; ``None`` where it cannot be used.
        mistake: why it cannot be used.
    """

    overrides: tuple[str, ...]
    raw: Mapping[str, Any]
    config: Config | None
    mistake: str | None


def judge(overrides: Sequence[str], raw: Mapping[str, Any]) -> Job:
    """Validates a job."""
    try:
        return Job(tuple(overrides), raw, validate(raw), None)
    except BcadvError as error:
        return Job(tuple(overrides), raw, None, str(error))


@dataclass(frozen=True)
class Sweep:
    """A sweep about to start, or to go on.

    Attributes:
        folder: holds a folder per job, named by its number.
        jobs: in Hydra's order.
        begun: whether an earlier command began it.
    """

    folder: Path
    jobs: tuple[Job, ...]
    begun: bool

    def badge(self, number: int) -> str:
        """What tells a job from the others of the sweep, such as ``[3/12 sigma=0.1]``."""
        return _badge([job.overrides for job in self.jobs], number)

    def start(self) -> None:
        """Writes the record, prepares the tracking store, and says what cannot work.

        Raises:
            BcadvError: no job of the sweep can be used.
        """
        usable = [job.config for job in self.jobs if job.config is not None]
        mistakes = {job.mistake for job in self.jobs if job.mistake is not None}
        if not usable:
            raise BcadvError("\n".join(sorted(mistakes)))
        wrong = [(n, job.mistake) for n, job in enumerate(self.jobs) if job.mistake is not None]
        for number, mistake in wrong[:_MOST_NAMED]:
            say(f"cannot run: {mistake} The other jobs go on.", self.badge(number))
        if len(wrong) > _MOST_NAMED:
            say(f"and {len(wrong) - _MOST_NAMED} more jobs cannot run.")
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {
            "command": shlex.join(["python", "-m", "bcadv.run", *sys.argv[1:]]),
            "jobs": [{"overrides": job.overrides, "key": job_key(job.raw)} for job in self.jobs],
        }
        write_atomically(self.folder / SWEEP_RECORD, json.dumps(record, indent=2) + "\n")
        done = self._done()
        begun = f": {len(done)} of {len(self.jobs)} jobs are done." if self.begun else ""
        say(f"{'Going on with' if self.begun else 'Results go to'} {self.folder}{begun}")
        tracked = [config for config in usable if config.tracking.enabled]
        if tracked and len(done) < len(self.jobs):
            from bcadv.tracking import prepare

            names = sorted({config.tracking.experiment for config in tracked})
            prepare(tracked[0].paths.outputs, tracked[0].tracking.uri, names)

    def missing(self) -> list[int]:
        """Numbers of the jobs without results."""
        done = self._done()
        return [number for number in range(len(self.jobs)) if number not in done]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Says it at once when a job fails, in whatever process and on whatever node it runs."""
        ended = Event()
        # What an earlier command left is gone over by the jobs themselves.
        told = self._failures()
        watcher = Thread(target=self._tell, args=(ended, told), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _tell(self, ended: Event, told: dict[int, int]) -> None:
        last = False
        while not last:
            last = ended.wait(_LOOK_EVERY_S)
            for number, when in self._failures().items():
                if told.get(number) != when and self.jobs[number].mistake is None:
                    place = self.folder / str(number) / FAILED
                    say(
                        f"failed: {_first_line(place)} The other jobs go on; the whole cause: "
                        f"{place}",
                        self.badge(number),
                    )
                    told[number] = when

    def _failures(self) -> dict[int, int]:
        """Number of each job that left a cause of failure -> when it did."""
        found = {}
        for number in range(len(self.jobs)):
            with suppress(FileNotFoundError):
                found[number] = (self.folder / str(number) / FAILED).stat().st_mtime_ns
        return found

    def _done(self) -> list[int]:
        return [n for n, job in enumerate(self.jobs) if finished(self.folder / str(n), job.raw)]

    def _missed_by_tracker(self, number: int) -> bool:
        config = self.jobs[number].config
        if config is None or not config.tracking.enabled:
            return False
        from bcadv.tracking.record import read

        record = read(self.folder / str(number))
        return record is None or not any(run.complete for run in record.runs)

    def show(self) -> None:
        """Prints a row per job: settings, clean and attacked accuracy, folder."""
        from bcadv.console import terminal
        from bcadv.sweep_table import Line, table

        done, failures = set(self._done()), self._failures()
        lines = [
            Line(
                number,
                dict(item.partition("=")[::2] for item in own),
                read_result(self.folder / str(number) / RESULTS)[0] if number in done else None,
                failed=self.jobs[number].mistake is not None or number in failures,
            )
            for number, own in enumerate(_own([job.overrides for job in self.jobs]))
        ]
        console = terminal()
        console.print(table(lines, self.folder, console))

    def summary(self) -> tuple[str, int]:
        """What became of the sweep, and the exit status it deserves."""
        done = self._done()
        lines = [f"{len(done)} of {len(self.jobs)} jobs are done: {self.folder}"]
        absent = [number for number in range(len(self.jobs)) if number not in done]
        for number in absent[:_MOST_NAMED]:
            cause = self.jobs[number].mistake or _first_line(self.folder / str(number) / FAILED)
            lines.append(shorten(f"  {self.badge(number)} {cause}", 300))
        if len(absent) > _MOST_NAMED:
            lines.append(f"  and {len(absent) - _MOST_NAMED} more")
        missed = sum(self._missed_by_tracker(number) for number in done)
        if missed:
            [outputs, *_] = {job.config.paths.outputs for job in self.jobs if job.config}
            lines.append(
                f"{missed} of them are not complete in MLflow: python -m bcadv.tracking.sync "
                f"--outputs {shlex.quote(str(outputs))}"
            )
        if len(done) < len(self.jobs):
            lines.append("The same command again does what is missing.")
            return "\n".join(lines), 1
        folds = any(job.config and job.config.data.fold for job in self.jobs)
        lines.append(
            f"To {'take the folds together' if folds else 'compare them'}: python -m bcadv.report "
            f"runs={shlex.quote(str(self.folder))}"
        )
        return "\n".join(lines), 0


def plan(jobs: Sequence[Job], outputs: Path, folder: Path | None = None) -> Sweep:
    """Finds the folder of the same sweep begun earlier, or names a new one.

    Args:
        jobs: of the sweep.
        outputs: the output folder.
        folder: where the user wants it; ``None`` leaves the choice here.
    """
    keys = [job_key(job.raw) for job in jobs]
    if folder is not None:
        return Sweep(folder, tuple(jobs), begun=_recorded(folder / SWEEP_RECORD, "key") == keys)
    anew = any(job.config is not None and not job.config.reuse for job in jobs)
    records = [] if anew else (outputs / SWEEPS).glob(f"*/{SWEEP_RECORD}")
    same = [record.parent for record in records if _recorded(record, "key") == keys]
    if same:
        return Sweep(max(same, key=lambda folder: folder.name), tuple(jobs), begun=True)
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S_%f}"
    return Sweep(outputs / SWEEPS / name, tuple(jobs), begun=False)


def _recorded(record: Path, what: str) -> list[Any]:
    """A piece of each job in a sweep's record; empty where there is no readable one."""
    try:
        return [job[what] for job in json.loads(record.read_text(encoding="utf-8"))["jobs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _own(jobs: Sequence[Sequence[str]]) -> list[list[str]]:
    """Of each job, the settings that not all jobs share."""
    common = set(jobs[0]).intersection(*jobs[1:])
    return [[item for item in job if item not in common] for job in jobs]


def _badge(jobs: Sequence[Sequence[str]], number: int) -> str:
    settings = printable(brief(shlex.join(_own(jobs)[number]), _LONGEST_BADGE))
    return f"[{number + 1}/{len(jobs)}{f' {settings}' if settings else ''}]"


def badge_of(folder: Path, number: int) -> str:
    """What every line of a job begins with, in whatever process it runs.

    Args:
        folder: of the job.
        number: of the job; all that is known where another sweeper than Hydra's own chose it.
    """
    jobs = _recorded(folder.parent / SWEEP_RECORD, "overrides")
    return _badge(jobs, number) if number < len(jobs) else f"[{number + 1}]"


def own(folder: Path) -> FileLock:
    """The right to work in a job's folder; the operating system frees that of a dead process."""
    locks = folder.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / f"{folder.name}.lock")


class JobFailed(BcadvError):  # noqa: N818  what happened, not what is wrong
    """A job of a sweep failed; its cause is written down."""


def note_failure(folder: Path, error: Exception) -> None:
    """Keeps the cause of a job's failure in its folder, where `Sweep.watched` finds it.

    Args:
        folder: of the job.
        error: that ended it.
    """
    cause = str(error).strip() or type(error).__name__
    text = cause if isinstance(error, BcadvError) else f"{type(error).__name__}: {cause}"
    if not isinstance(error, BcadvError):
        text += "\n\n" + "".join(traceback.format_exception(error))
    try:
        write_atomically(folder / FAILED, text + "\n")
    except OSError as unwritten:
        say(f"{folder}: {text.splitlines()[0]} (nor could that be written down: {unwritten})")


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return "was not run, or was stopped"


def say(message: str, by: str = "bcadv:") -> None:
    """A message on standard error, from whatever process.

    Args:
        message: of several lines or one.
        by: whose it is; the badge of a job.
    """
    write_line(f"{by} {printable(shorten(message))}")
