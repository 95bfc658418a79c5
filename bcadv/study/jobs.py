"""Finding and reading the result files of finished jobs."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bcadv.errors import BcadvError
from bcadv.results.condition import Condition
from bcadv.results.files import RESULTS, SWEEP_RECORD, SWEEPS, unharmed
from bcadv.results.schema import Defence, Result, read_result
from bcadv.store import NOT_JOBS
from bcadv.study.data_sets import difference
from bcadv.study.prose import plural


@dataclass(frozen=True)
class Job:
    """A finished job: its folder and the content of its ``results.json``."""

    folder: Path
    result: Result

    @property
    def experiment(self) -> str:
        return self.result.run.experiment or self.folder.name

    @property
    def name(self) -> str:
        """What people call it: sweep and number, or its folder."""
        return self.result.run.name or self.folder.name

    @property
    def finished(self) -> str:
        """Time of the end, ISO 8601."""
        return self.result.run.finished

    @property
    def seed(self) -> int:
        return self.result.run.seed

    @property
    def weights(self) -> str:
        """Digest of the tested weights, which tells two trainings of equal settings apart."""
        return self.result.model.weights

    @property
    def defence(self) -> Defence:
        """What was done to make the model robust."""
        return self.result.model.defence

    @property
    def pictured(self) -> str:
        """Choice of BatchNorm statistics that the pictures are of."""
        return self.result.pictures.batchnorm

    @property
    def shape(self) -> Mapping[str, Any]:
        """Everything that shaped the model: dotted option -> value."""
        return self.result.training.shape

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the model's outputs."""
        return self.result.task.classes

    @property
    def synthetic(self) -> bool:
        """Whether the images are made up."""
        return self.result.data.synthetic

    def pictured_conditions(self) -> dict[float, Condition]:
        """Strength -> condition of the attack that the pictures show."""
        return {
            condition.strength: condition
            for condition in self.result.conditions
            if condition.series == self.result.pictures.series
        }

    def unharmed(self, name: str) -> Path:
        """Path of a file of the job that its results vouch for.

        Raises:
            BcadvError: the file is gone, or not the one that the results were written with.
        """
        wanted = self.result.files.get(name)
        return self.folder / name if wanted is None else unharmed(self.folder, name, wanted)


def load_job(folder: Path) -> Job:
    """Reads a job folder.

    Raises:
        BcadvError: if ``results.json`` is missing, damaged or of another schema version.
    """
    return Job(folder, read_result(folder / RESULTS)[0])


def find_jobs(roots: Iterable[Path]) -> tuple[list[Job], list[str]]:
    """Finds the finished jobs in and below some folders.

    Folders of the tracker, of models and of caches are not entered. Of equal result files (copies)
    the one that lies highest counts.

    Returns:
        The jobs in the order of the roots, and one sentence for each job
        that was left out.
    """
    jobs: list[Job] = []
    left_out: list[str] = []
    seen: set[bytes] = set()
    visited: set[Path] = set()
    for root in roots:
        for folder, sentence in sorted(
            _candidates(root), key=lambda found: (len(found[0].parts), _natural(found[0]))
        ):
            place = folder.resolve()
            if place in visited:
                continue
            visited.add(place)
            if sentence is not None:
                left_out.append(sentence)
                continue
            try:
                result, content = read_result(folder / RESULTS)
            except BcadvError as error:
                left_out.append(str(error))
                continue
            if content not in seen:
                seen.add(content)
                jobs.append(Job(folder, result))
    return jobs, left_out


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorts job 2 before job 10."""
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in path.parts]


def _candidates(root: Path) -> Iterator[tuple[Path, str | None]]:
    """Job folders in and below a folder, with a sentence where one has no result file."""
    for place, folders, files in os.walk(root):
        folder = Path(place)
        if RESULTS in files:
            folders.clear()
            yield folder, None
            continue
        if ".hydra" in folders:
            folders.clear()
            yield folder, f"{folder} has no {RESULTS}: its job failed or did not finish."
            continue
        if SWEEP_RECORD in files:
            for number in _planned(folder / SWEEP_RECORD):
                if str(number) not in folders:
                    name = folder / str(number)
                    yield name, f"{name} is missing: this job of the sweep was not run."
        folders[:] = [f for f in folders if f not in NOT_JOBS and not f.startswith(".")]


def _planned(record: Path) -> range:
    """Numbers of the jobs that a sweep was to have; none where its record cannot be read."""
    try:
        return range(len(json.loads(record.read_text(encoding="utf-8"))["jobs"]))
    except (OSError, ValueError, KeyError, TypeError):
        return range(0)


def default_jobs(outputs: Path) -> tuple[list[Job], list[str]]:
    """The jobs that a report is about unless told otherwise.

    Those of the newest sweep that has a finished job, or the newest job of each experiment where
    one of these finished later. Only jobs of one data set, that of the newest of them: what
    differs between models of different images says nothing of the models.

    Args:
        outputs: the output folder.

    Returns:
        As `find_jobs`, and a sentence for each other data set: the command that reports on it.
    """
    apart = NOT_JOBS | {SWEEPS}
    roots = [folder for folder in outputs.glob("*/") if folder.name not in apart]
    single, left_out = find_jobs(sorted(roots))
    latest = max((job.finished for job in single), default="")
    sweeps = sorted((outputs / SWEEPS).glob("*/"), key=lambda folder: folder.name, reverse=True)
    for sweep in sweeps:
        jobs, of_sweep = find_jobs([sweep])
        if jobs:
            if max(job.finished for job in jobs) < latest:
                break
            return _first_only(by_data_set(jobs), of_sweep)
    return _first_only([newest_of_each(group) for group in by_data_set(single)], left_out)


def by_data_set(jobs: Sequence[Job]) -> list[list[Job]]:
    """Divides jobs by their data set, see `data_sets.difference`; that of the newest job first."""
    groups: list[list[Job]] = []
    for job in sorted(jobs, key=lambda job: job.finished, reverse=True):
        same = (group for group in groups if not difference(group[0].result, job.result))
        group = next(same, None)
        if group is None:
            groups.append([job])
        else:
            group.append(job)
    numbers = {id(job): n for n, group in enumerate(groups) for job in group}
    return [[job for job in jobs if numbers[id(job)] == n] for n in range(len(groups))]


def _first_only(
    groups: Sequence[Sequence[Job]], left_out: Sequence[str]
) -> tuple[list[Job], list[str]]:
    """The jobs of the first data set, and a sentence more for each other one that is left out."""
    if not groups:
        return [], list(left_out)
    newest = max(groups[0], key=lambda job: job.finished)
    said = []
    for group in groups[1:]:
        command = ["python", "-m", "bcadv.report", *(f"runs={job.folder}" for job in group)]
        said.append(
            f"{plural(len(group), 'job')} on another data set than {newest.folder}, the newest "
            f"({difference(group[0].result, newest.result)}). A report on it: {shlex.join(command)}"
        )
    return list(groups[0]), [*left_out, *said]


def told_apart(jobs: Iterable[Job]) -> list[Job]:
    """Jobs whose conditions of one label say by which settings they differ, where they do."""
    jobs = list(jobs)
    by_label: dict[str, dict[str, Condition]] = {}
    for condition in (c for job in jobs for c in job.result.conditions):
        by_label.setdefault(condition.label, {}).setdefault(condition.series, condition)
    labels: dict[str, str] = {}
    for label, of_series in by_label.items():
        options = sorted({name for c in of_series.values() for name in c.settings})
        differ = [
            name
            for name in options
            if len({repr(c.settings.get(name)) for c in of_series.values()}) > 1
        ]
        for series, condition in of_series.items():
            said = [
                f"{n} {setting_text(condition.settings[n])}"
                for n in differ
                if n in condition.settings
            ]
            labels[series] = f"{label} ({', '.join(said)})" if said else label
    return [
        replace(job, result=job.result.relabelled(labels))
        if any(labels[c.series] != c.label for c in job.result.conditions)
        else job
        for job in jobs
    ]


def setting_text(value: object) -> str:
    """An option's value, for a sentence."""
    if value is None:
        return "by default"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {setting_text(one)}" for name, one in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def newest_of_each(jobs: Iterable[Job]) -> list[Job]:
    """Keeps the job of each experiment that finished last, in alphabetical order."""
    newest: dict[str, Job] = {}
    for job in sorted(jobs, key=lambda job: job.finished):
        newest[job.experiment] = job
    return [newest[name] for name in sorted(newest)]
