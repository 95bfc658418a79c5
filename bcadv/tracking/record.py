"""What a job folder knows about its runs, so that they can be continued or uploaded later."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from bcadv.files import write_atomically

RUN_FILE = "mlflow_run.json"


@dataclass(frozen=True)
class RunRecord:
    """A run in one store.

    Attributes:
        uri: of the store, without a password; ``None`` for the embedded one, which moves with the
            output folder.
        run_id: the store's name of the run.
        complete: whether everything has been uploaded.
    """

    uri: str | None
    run_id: str
    complete: bool = False


@dataclass(frozen=True)
class Record:
    """All that is needed to make the job's run anywhere, besides the result files.

    Attributes:
        experiment: its name in MLflow.
        name: of the run.
        tags: set on the run.
        params: the settings by dotted name.
        uri: of the store that the job was told to use, as in `RunRecord`.
        key: tag by which a run is found again whose id was lost in a crash.
        started: when the job first started, in ms since 1970.
        runs: one per store.
    """

    experiment: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    uri: str | None
    key: str = field(default_factory=lambda: uuid4().hex)
    started: int = field(default_factory=lambda: int(time.time() * 1000))
    runs: tuple[RunRecord, ...] = ()

    def run(self, uri: str | None) -> RunRecord | None:
        """The job's run in a store, if it has one there."""
        return next((run for run in self.runs if run.uri == uri), None)

    def with_run(self, run: RunRecord) -> Record:
        """The record with a run added, or put in the place of the one in the same store."""
        others = tuple(other for other in self.runs if other.uri != run.uri)
        return replace(self, runs=(*others, run))

    def write(self, folder: Path) -> None:
        """Puts the record into the job's folder, whole or not at all."""
        write_atomically(folder / RUN_FILE, json.dumps(asdict(self), indent=2) + "\n")


def read(folder: Path) -> Record | None:
    """The record of a job folder; ``None`` where there is none, or one that nobody can read."""
    try:
        raw = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        runs = tuple(RunRecord(**run) for run in raw.pop("runs"))
        return Record(**raw, runs=runs)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
