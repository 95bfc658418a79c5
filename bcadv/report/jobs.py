"""Finding and reading the result files of finished jobs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcadv.errors import BcadvError
from bcadv.store import NOT_JOBS

SCHEMA_VERSION = 3
RESULTS = "results.json"
PREDICTIONS = "predictions.parquet"
SWEEPS = "sweeps"
SWEEP_RECORD = "sweep.json"

_SECTIONS = ("run", "data", "training", "pictures", "clean", "perturbed")
_NEEDED = {
    "run": ("experiment", "finished", "seed"),
    "data": ("source", "synthetic", "split", "classes", "positive", "counts", "overlap"),
    "training": ("fingerprint", "shape", "checkpoint", "weights"),
    "pictures": ("batchnorm",),
}
_ROW = ("batchnorm", "perturbation", "norm", "eps_px", "n", "n_patients", "metrics")
_METRICS = ("accuracy", "sensitivity", "specificity")
_ENTRY = ("value", "n", "ci_low", "ci_high", "ci_kind")


@dataclass(frozen=True)
class Job:
    """A finished job: its folder and the contents of its ``results.json``."""

    folder: Path
    results: dict[str, Any]

    @property
    def experiment(self) -> str:
        return str(self.results["run"].get("experiment") or self.folder.name)

    @property
    def name(self) -> str:
        """What people call it: sweep and number, or its folder."""
        return str(self.results["run"].get("name") or self.folder.name)

    @property
    def finished(self) -> str:
        """Time of the end, ISO 8601; empty where the job did not end."""
        return str(self.results["run"].get("finished") or "")

    @property
    def seed(self) -> int:
        return int(self.results["run"]["seed"])

    @property
    def weights(self) -> str:
        """Digest of the tested weights, which tells two trainings of equal settings apart."""
        return str(self.results["training"]["weights"])

    @property
    def pictured(self) -> str:
        """Choice of BatchNorm statistics that the pictures are of."""
        return str(self.results["pictures"]["batchnorm"])

    @property
    def shape(self) -> Mapping[str, Any]:
        """Everything that shaped the model: dotted option -> value."""
        shape: Mapping[str, Any] = self.results["training"]["shape"]
        return shape


def load_job(folder: Path) -> Job:
    """Reads a job folder.

    Raises:
        BcadvError: if ``results.json`` is missing, damaged or of another schema version.
    """
    return _load(folder / RESULTS)[0]


def _load(path: Path) -> tuple[Job, bytes]:
    """The job, and a digest of its file."""
    try:
        content = path.read_bytes()
        results = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise BcadvError(f"{path} cannot be read: {error}") from error
    version = results.get("schema_version") if isinstance(results, dict) else None
    if version != SCHEMA_VERSION:
        raise BcadvError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; "
            "run the job again with this version."
        )
    absent = _absent(results)
    if absent:
        raise BcadvError(f"{path} lacks {', '.join(absent)}; run the job again.")
    return Job(path.parent, results), hashlib.sha256(content).digest()


def _absent(results: Mapping[str, Any]) -> list[str]:
    """What a report needs and the file does not have."""
    sections = [name for name in _SECTIONS if name not in results]
    if sections:
        return sections
    absent = [
        f"{section}.{name}"
        for section, names in _NEEDED.items()
        for name in names
        if not isinstance(results[section], dict) or name not in results[section]
    ]
    for part in ("clean", "perturbed"):
        rows = results[part]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            absent.append(f"a list of rows under {part}")
            continue
        missing = {name for row in rows for name in _ROW if name not in row}
        entries = [] if missing else [row["metrics"] for row in rows]
        missing |= {f"metrics.{name}" for of in entries for name in _METRICS if name not in of}
        missing |= {
            f"metrics.{metric}.{name}"
            for of in entries
            for metric, entry in of.items()
            for name in _ENTRY
            if name not in entry
        }
        absent += [f"{part}.{name}" for name in sorted(missing)[:3]]
    return absent or ([] if results["clean"] else ["a row under clean"])


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
                job, digest = _load(folder / RESULTS)
            except BcadvError as error:
                left_out.append(str(error))
                continue
            if not job.finished:
                left_out.append(f"{folder / RESULTS} has no end time: the job did not finish.")
            elif digest not in seen:
                seen.add(digest)
                jobs.append(job)
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
    one of these finished later.

    Args:
        outputs: the output folder.

    Returns:
        As `find_jobs`.
    """
    apart = NOT_JOBS | {SWEEPS}
    roots = [folder for folder in outputs.glob("*/") if folder.name not in apart]
    single, left_out = find_jobs(sorted(roots))
    alone = newest_of_each(single)
    latest = max((job.finished for job in alone), default="")
    sweeps = sorted((outputs / SWEEPS).glob("*/"), key=lambda folder: folder.name, reverse=True)
    for sweep in sweeps:
        jobs, of_sweep = find_jobs([sweep])
        if jobs:
            if max(job.finished for job in jobs) < latest:
                break
            return jobs, of_sweep
    return alone, left_out


def newest_of_each(jobs: Iterable[Job]) -> list[Job]:
    """Keeps the job of each experiment that finished last, in alphabetical order."""
    newest: dict[str, Job] = {}
    for job in sorted(jobs, key=lambda job: job.finished):
        newest[job.experiment] = job
    return [newest[name] for name in sorted(newest)]
