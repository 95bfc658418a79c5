"""Finding and reading the result files of finished jobs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bcadv.errors import BcadvError

SCHEMA_VERSION = 1
RESULTS = "results.json"
PREDICTIONS = "predictions.parquet"

_SECTIONS = ("run", "data", "clean", "perturbed")


@dataclass(frozen=True)
class Job:
    """A finished job: its folder and the contents of its ``results.json``."""

    folder: Path
    results: dict[str, Any]

    @property
    def experiment(self) -> str:
        return str(self.results["run"].get("experiment") or self.folder.name)

    @property
    def finished(self) -> str:
        """Time of the end, ISO 8601; empty where the job did not end."""
        return str(self.results["run"].get("finished") or "")

    def predictions(self, columns: list[str]) -> pd.DataFrame:
        """Reads these columns of the predictions table."""
        path = self.folder / PREDICTIONS
        try:
            return pd.read_parquet(path, columns=columns)
        except (OSError, ValueError) as error:
            raise BcadvError(f"{path} cannot be read ({error}); run the job again.") from error


def load_job(folder: Path) -> Job:
    """Reads a job folder.

    Raises:
        BcadvError: if ``results.json`` is missing, damaged or of another schema version.
    """
    path = folder / RESULTS
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BcadvError(f"{path} cannot be read: {error}") from error
    version = results.get("schema_version") if isinstance(results, dict) else None
    if version != SCHEMA_VERSION:
        raise BcadvError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; "
            "run the job again with this version."
        )
    absent = [name for name in _SECTIONS if name not in results]
    if absent:
        raise BcadvError(f"{path} lacks {', '.join(absent)}; run the job again.")
    return Job(folder, results)


def find_jobs(roots: Iterable[Path]) -> tuple[list[Job], list[str]]:
    """Finds the finished jobs in and below some folders.

    A tracker may keep copies of result files below the same folder; of equal ones the file that
    lies highest counts.

    Returns:
        The jobs in the order of the roots, and one sentence for each result file
        that was left out.
    """
    jobs: list[Job] = []
    left_out: list[str] = []
    for root in roots:
        for path in sorted(root.rglob(RESULTS), key=lambda path: (len(path.parts), path)):
            try:
                job = load_job(path.parent)
            except BcadvError as error:
                left_out.append(str(error))
                continue
            if not job.finished:
                left_out.append(f"{path} has no end time: the job did not finish.")
            elif all(job.results != known.results for known in jobs):
                jobs.append(job)
    return jobs, left_out


def newest_of_each(jobs: Iterable[Job]) -> list[Job]:
    """Keeps the job of each experiment that finished last, in alphabetical order."""
    newest: dict[str, Job] = {}
    for job in sorted(jobs, key=lambda job: job.finished):
        newest[job.experiment] = job
    return [newest[name] for name in sorted(newest)]
