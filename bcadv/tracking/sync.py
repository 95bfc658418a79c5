"""`bcadv sync`, `python -m bcadv.tracking.sync`: uploads the finished jobs that MLflow lacks.

Result files are the truth; what MLflow has of them is left as it is, so that running it again
does nothing.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from rich.console import Console

from bcadv.arguments import FOLDER, HELP, TEXT, Command, Option, from_flags
from bcadv.console import label, say
from bcadv.errors import BcadvError
from bcadv.results.files import HISTORY, RESULTS, unharmed
from bcadv.results.schema import read_result
from bcadv.store.models import REFERENCE, Entry, job_folders
from bcadv.text import printable
from bcadv.tracking import record as records
from bcadv.tracking.record import Record, RunRecord
from bcadv.tracking.run import Files, attach, is_deleted, locate
from bcadv.tracking.store import connect, first_line, public, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LOCK = ".sync.lock"

COMMAND = Command(
    "bcadv sync",
    "Uploads the finished jobs that MLflow lacks, as after a time without a server. Doing it twice "
    "does no harm.",
    (
        Option("outputs", FOLDER, "The folder that holds the jobs.", Path("outputs")),
        Option("uri", TEXT, "Of an MLflow server or database. Default: of each job its own."),
    ),
    (("bcadv sync uri=http://127.0.0.1:5000", "everything to one server"),),
)


@dataclass
class Outcome:
    """What became of the jobs, by folder.

    Attributes:
        uploaded: were missing or incomplete.
        present: had been there.
        deleted: a person deleted their run in MLflow; they stay deleted.
        unfinished: have no results yet.
        untracked: ran without tracking.
        failed: could not be uploaded, with the reason.
    """

    uploaded: list[Path] = field(default_factory=list)
    present: list[Path] = field(default_factory=list)
    deleted: list[Path] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)
    untracked: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)


def sync(outputs: Path, uri: str | None = None) -> Outcome:
    """Uploads what is missing.

    Args:
        outputs: the output folder.
        uri: of the store to fill; ``None``: of each job its own.

    Returns:
        What became of each job.

    Raises:
        BcadvError: there is no such folder, or a store cannot be reached.
    """
    if not outputs.is_dir():
        raise BcadvError(f"outputs={outputs} is not a folder: name the one that holds the jobs.")
    outcome = Outcome()
    jobs: list[tuple[Path, Record]] = []
    for folder in _folders(outputs):
        record, finished = records.read(folder), (folder / RESULTS).is_file()
        if record is None:
            outcome.untracked.append(folder)
        elif not finished:
            outcome.unfinished.append(folder)
        else:
            jobs.append((folder, record))
    # One name for the embedded store: none, as in the records.
    everywhere = "" if uri == store_uri(outputs) else uri
    by_store: dict[str, list[tuple[Path, Record]]] = {}
    for folder, record in jobs:
        address = (record.uri or "") if everywhere is None else everywhere
        by_store.setdefault(address, []).append((folder, record))
    # Two at a time would each find the same runs missing.
    with FileLock(outputs / _LOCK):
        for address, own in by_store.items():
            client, ids = _reach(outputs, address or None, own)
            for folder, record in own:
                try:
                    place = _upload(client, ids[record.experiment], folder, record, address)
                    getattr(outcome, place).append(folder)
                except Exception as error:  # one job's trouble must not keep the others back
                    outcome.failed.append((folder, first_line(error)))
    return outcome


def _folders(outputs: Path) -> list[Path]:
    """Job folders with a record or with results."""
    return job_folders(outputs, [records.RUN_FILE, RESULTS])


def _reach(
    outputs: Path, uri: str | None, jobs: Iterable[tuple[Path, Record]]
) -> tuple[MlflowClient, dict[str, str]]:
    try:
        return connect(outputs, uri, sorted({record.experiment for _, record in jobs}))
    except Exception as error:  # whatever a server, a proxy or a database may say
        raise BcadvError(
            f"MLflow at {public(uri or store_uri(outputs))} cannot be used "
            f"({first_line(error)}): start it, or name another with uri=. Nothing is lost: all "
            f"results stand below {outputs}."
        ) from error


def _upload(
    client: MlflowClient, experiment_id: str, folder: Path, record: Record, address: str
) -> str:
    """Uploads one job; returns the field of `Outcome` that it belongs into."""
    uri = public(address) or None
    found = locate(client, experiment_id, record, uri)
    if found is not None and is_deleted(found):
        return "deleted"
    known = record.run(uri)
    if found is not None and known is not None and known.complete:
        return "present"
    files = _read(folder, record)
    run = attach(client, experiment_id, record, found)
    record.with_run(RunRecord(uri, run.run_id)).write(folder)
    run.complete(files)
    record.with_run(RunRecord(uri, run.run_id, complete=True)).write(folder)
    return "uploaded"


def _read(folder: Path, record: Record) -> Files:
    result = read_result(folder)[0]
    for name, wanted in result.files.items():
        # What the tracker shows is to be what the numbers were made from.
        if (folder / name).is_file():
            unharmed(folder, name, wanted)
    history: list[dict[str, float]] = []
    if (folder / HISTORY).is_file():
        try:
            with (folder / HISTORY).open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            history = [{k: float(v) for k, v in row.items() if v != ""} for row in rows]
        except (ValueError, TypeError, csv.Error) as error:
            raise BcadvError(
                f"{folder / HISTORY} is damaged ({error}); run the job again."
            ) from error
    checkpoint = _checkpoint(folder)
    statistics = {}
    if checkpoint is not None:
        entry = Entry(checkpoint.parent)
        statistics = entry.estimated(result.training.checkpoint, result.model.batchnorm)
    return Files(folder, history, result, record.params, checkpoint, statistics)


def _checkpoint(folder: Path) -> Path | None:
    """The model that the job refers to, unless it was removed from the store since."""
    try:
        name = json.loads((folder / REFERENCE).read_text(encoding="utf-8"))["checkpoint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    path = (folder / str(name)).resolve()
    return path if path.is_file() else None


def run(options: Mapping[str, Any], others: Sequence[str]) -> int:
    """Uploads, and says what became of each job; returns the exit status.

    Raises:
        BcadvError: there is no such folder, or a store cannot be reached.
    """
    outputs = options["outputs"]
    outcome = sync(outputs, options["uri"])
    console = Console(stderr=True)
    for folder in outcome.uploaded:
        say(console, f"uploaded {folder}")
    for folder, reason in outcome.failed:
        label(console, "NOT UPLOADED", "bold red", f"{folder} ({reason})")
    counts: dict[str, Sequence[object]] = {
        "uploaded": outcome.uploaded,
        "there already": outcome.present,
        "deleted in MLflow, left so": outcome.deleted,
        "not finished": outcome.unfinished,
        "run without tracking": outcome.untracked,
        "failed": outcome.failed,
    }
    said = ", ".join(f"{len(found)} {what}" for what, found in counts.items() if found)
    say(console, f"{said or f'there are no jobs below {outputs}'}.")
    return 1 if outcome.failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    given = from_flags(sys.argv[1:] if arguments is None else arguments)
    if not HELP.isdisjoint(given):
        sys.stdout.write(f"{COMMAND.help()}\n")
        return 0
    try:
        return run(*COMMAND.parse(given))
    except BcadvError as error:
        sys.stderr.write(f"bcadv: {printable(str(error))}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
