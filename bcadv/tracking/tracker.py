"""Follows a job while it runs; see `bcadv.tracking.sync` for what was missed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from bcadv.results.schema import Result
from bcadv.store.fingerprint import flatten
from bcadv.tracking import record as records
from bcadv.tracking.curves import Point, history_points, used_params
from bcadv.tracking.naming import run_name, source_tags
from bcadv.tracking.record import Record, RunRecord
from bcadv.tracking.run import FAILURE_TAG, Files, Run, attach, is_deleted, locate
from bcadv.tracking.store import connect, first_line, public, store_uri

if TYPE_CHECKING:
    from bcadv.sections import TrackingConfig

log = logging.getLogger(__name__)

FLUSH_SECONDS = 3.0
"""Epochs that end within so much time of each other are logged together: a transaction per epoch
would make parallel jobs with short epochs queue for SQLite, which writes one at a time."""


class Tracker:
    """One MLflow run per job; a run that was begun is continued.

    Every call may fail without harm: the first failure is said once, live logging stops, and
    `finish` tries again at the end of the job.

    Args:
        folder: the job's folder; keeps in ``mlflow_run.json`` what `bcadv.tracking.sync` needs.
        outputs: holds the embedded store.
        config: whether to track, where, and under which name.
        tags: set on the run.
    """

    def __init__(
        self, folder: Path, outputs: Path, config: TrackingConfig, tags: Mapping[str, str]
    ) -> None:
        self.folder, self.outputs, self.config = folder, outputs, config
        self.tags = dict(tags)
        # None until a run has begun, and again once the store was lost.
        self.run: Run | None = None
        self._record: Record | None = None
        self._waiting: list[tuple[Point, int]] = []
        self._flushed = 0.0
        self._warned = False

    @property
    def alive(self) -> bool:
        """Whether what happens is being logged."""
        return self.run is not None

    def start(self, params: Mapping[str, Any]) -> None:
        """Begins the job's run, or goes on with it.

        Args:
            params: the job's settings, nested.
        """
        if self.config.enabled:
            self._guard("begin a run", lambda: self._start(params))

    def epoch(self, row: Mapping[str, float]) -> None:
        """Logs an epoch's losses and accuracies, unless the store was lost.

        They are written at once where the last writing is `FLUSH_SECONDS` ago, else with those of
        the next epochs, at the latest when the job ends.
        """
        if self.run is None:
            return
        now = int(time() * 1000)
        self._waiting += [(point, now) for point in history_points([row])]
        if monotonic() - self._flushed >= FLUSH_SECONDS:
            self._guard("log an epoch", self._flush)

    def finish(
        self,
        params: Mapping[str, Any],
        history: Sequence[Mapping[str, float]],
        result: Result,
        checkpoint: Path | None = None,
        statistics: Mapping[str, Path] | None = None,
    ) -> None:
        """Logs the robustness curves, the job's files and its model, and ends the run.

        Begins the run first, and logs the epochs that are missing, where the store was away.

        Args:
            params: the job's settings, nested.
            history: a row per epoch.
            result: the content of ``results.json``.
            checkpoint: the evaluated model; kept without the optimiser's state.
            statistics: BatchNorm choice -> file of its statistics.
        """
        if not self.config.enabled:
            return
        if self.run is None:
            self._guard("begin a run", lambda: self._start(params))
        files = Files(
            self.folder,
            [dict(row) for row in history],
            result,
            used_params(flatten(params)),
            checkpoint,
            statistics or {},
        )
        self._guard("log the results", lambda: self._finish(files))

    def interrupt(self) -> None:
        """Marks the run as stopped by a person."""
        self._guard("end the run", lambda: self._end("KILLED"))

    def fail(self, reason: str) -> None:
        """Marks the run as failed.

        Args:
            reason: becomes a tag.
        """
        self._guard("end the run", lambda: self._end("FAILED", reason))

    @property
    def _uri(self) -> str | None:
        """As the record keeps it."""
        return public(self.config.uri) if self.config.uri else None

    def _guard(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a tracker may fail in any way; the training goes on
            self.run = None
            self._waiting = []
            said = log.debug if self._warned else log.warning
            self._warned = True
            said(
                "MLflow at %s: could not %s (%s). Training goes on and every result stands in %s; "
                "to upload what is missing: python -m bcadv.tracking.sync --outputs %s",
                self._uri or store_uri(self.outputs),
                what,
                first_line(error),
                self.folder,
                self.outputs,
            )

    def _start(self, params: Mapping[str, Any]) -> None:
        self._save(self._renewed(used_params(flatten(params))))
        assert self._record is not None
        name = self._record.experiment
        client, ids = connect(self.outputs, self.config.uri, [name])
        found = locate(client, ids[name], self._record, self._uri)
        if found is not None and is_deleted(found):
            found = None
        run = attach(client, ids[name], self._record, found)
        self._save(self._record.with_run(RunRecord(self._uri, run.run_id)))
        self.run, self._flushed = run, monotonic()

    def _renewed(self, params: Mapping[str, Any]) -> Record:
        """The record with today's settings; of an earlier start it keeps which runs there are."""
        if "tracking.uri" in params:
            params = {**params, "tracking.uri": self._uri}
        name = run_name(str(params.get("experiment", self.config.experiment)), params, self.folder)
        tags = self.tags | source_tags(self.tags)
        fresh = Record(self.config.experiment, name, tags, params, self._uri)
        known = records.read(self.folder)
        if known is None:
            return fresh
        # What they hold are results that are about to be replaced.
        runs = tuple(replace(run, complete=False) for run in known.runs)
        return replace(fresh, key=known.key, started=known.started, runs=runs)

    def _save(self, record: Record) -> None:
        self._record = record
        self.folder.mkdir(parents=True, exist_ok=True)
        record.write(self.folder)

    def _flush(self) -> None:
        if self.run is not None and self._waiting:
            self.run.log(self._waiting)
            self._waiting = []
            self._flushed = monotonic()

    def _finish(self, files: Files) -> None:
        if self.run is None or self._record is None:
            return
        self._flush()
        self.run.complete(files)
        self._save(self._record.with_run(RunRecord(self._uri, self.run.run_id, complete=True)))

    def _end(self, status: str, reason: str | None = None) -> None:
        if self.run is None:
            return
        self._flush()
        if reason is not None:
            self.run.tag(FAILURE_TAG, reason)
        self.run.end(status)
