"""One run in one store: found or begun, filled with what is missing, ended.

Everything here may be done twice. What the store already has is not logged again.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcadv.results.schema import Result
from bcadv.tracking.curves import Point, curve_tags, history_points, result_points
from bcadv.tracking.dataset import inputs_of
from bcadv.tracking.describe import description, headline_of
from bcadv.tracking.record import Record
from bcadv.tracking.store import patiently

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as Entity

KEY_TAG = "job_key"
NOTE_TAG = "mlflow.note.content"
OUR_NOTE_TAG = "note_digest"
HEADLINE_TAG = "headline"
DRIFT_TAG = "param_drift"
FAILURE_TAG = "failure"

ARTIFACTS = (
    ".hydra/*.yaml",
    "results.json",
    "predictions.parquet",
    "split.csv",
    "history.csv",
    "model.json",
    "summary.json",
    "*.html",
    "*.log",
    "figures/*.png",
    "figures/*.svg",
)
"""What a job folder shows in MLflow. Its checkpoint goes there as a model, see `log_model`."""

_VALUE_LENGTH = 500
_TAG_LENGTH = 5000
# What says how a job was started, not what it does: it differs whenever a job is resumed.
_NO_DRIFT = ("resume", "reuse", "tracking.", "paths.")


@dataclass(frozen=True)
class Files:
    """A finished job, as its files tell.

    Attributes:
        folder: of the job.
        history: a row per epoch.
        result: the content of ``results.json``.
        params: the settings by dotted name.
        checkpoint: the evaluated model, if there is one.
        statistics: BatchNorm choice -> file of its statistics, for those other than as trained.
    """

    folder: Path
    history: list[dict[str, float]]
    result: Result
    params: Mapping[str, Any]
    checkpoint: Path | None
    statistics: Mapping[str, Path] = field(default_factory=dict)


@dataclass
class Run:
    """A run that can be logged to.

    Attributes:
        client: of its store.
        run_id: the store's name of it.
        experiment_id: the store's name of its experiment.
        logged: metric and step -> the value that the store has.
        tags: those that the run had when it was found or begun.
    """

    client: MlflowClient
    run_id: str
    experiment_id: str
    logged: dict[tuple[str, int], float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def log(self, points: Iterable[tuple[Point, int]]) -> None:
        """Logs metrics with their times (ms since 1970), leaving out what the store has."""
        from mlflow.entities import Metric

        fresh = [(p, t) for p, t in points if not _same(self.logged.get((p.name, p.step)), p.value)]
        metrics = [Metric(p.name, p.value, t, p.step) for p, t in fresh]
        patiently(lambda: self.client.log_batch(self.run_id, metrics=metrics))
        self.logged |= {(p.name, p.step): p.value for p, _ in fresh}

    def tag(self, name: str, value: str) -> None:
        """Sets a tag."""
        patiently(lambda: self.client.set_tag(self.run_id, name, value[:_TAG_LENGTH]))

    def end(self, status: str, when: int | None = None) -> None:
        """Ends the run: FINISHED, FAILED or KILLED."""
        patiently(lambda: self.client.set_terminated(self.run_id, status, when))

    def complete(self, files: Files) -> None:
        """Logs all that a finished job has and the store lacks, and ends the run."""
        from bcadv.tracking.model import log_model

        result = files.result
        when = _milliseconds(result.run.finished)
        points = [*history_points(files.history), *result_points(result)]
        self.log((point, when) for point in points)
        for name, value in curve_tags(result).items():
            self.tag(name, value)
        patiently(lambda: self.client.log_inputs(self.run_id, inputs_of(result, files.params)))
        for pattern in ARTIFACTS:
            for file in sorted(files.folder.glob(pattern)):
                place = str(file.parent.relative_to(files.folder))
                self.client.log_artifact(self.run_id, str(file), None if place == "." else place)
        if files.checkpoint is not None:
            preparation = {
                "classes": list(result.task.classes),
                "crop": result.model.crop,
                "resize": result.model.resize,
                "white": result.training.shape.get("data.white"),
                "batchnorm": list(result.model.batchnorm),
            }
            default = log_model(
                self.client, self.run_id, files.checkpoint, preparation, files.statistics
            )
            self.tag("model_batchnorm", default)
        self._describe(files)
        self.end("FINISHED", when)

    def _describe(self, files: Files) -> None:
        """Writes the run's description, unless a person has written another."""
        headline = headline_of(files.folder)
        if headline is not None:
            self.tag(HEADLINE_TAG, headline)
        theirs = self.tags.get(NOTE_TAG)
        if theirs is not None and _digest(theirs) != self.tags.get(OUR_NOTE_TAG):
            return
        pages = f"#/experiments/{self.experiment_id}/runs/{self.run_id}/artifacts"
        note = description(files.result, files.folder, headline=headline, artifacts=pages)
        self.tag(NOTE_TAG, note)
        self.tag(OUR_NOTE_TAG, _digest(note[:_TAG_LENGTH]))

    def _check_params(self, known: Mapping[str, str], params: Mapping[str, Any]) -> None:
        """Logs parameters; those that changed since become a tag, because MLflow keeps the old."""
        from mlflow.entities import Param

        wanted = {name: str(value)[:_VALUE_LENGTH] for name, value in params.items()}
        fresh = [Param(name, value) for name, value in wanted.items() if name not in known]
        if fresh:
            patiently(lambda: self.client.log_batch(self.run_id, params=fresh))
        drift = {
            name: [known[name], value]
            for name, value in wanted.items()
            if known.get(name, value) != value and not name.startswith(_NO_DRIFT)
        }
        if drift:
            self.tag(DRIFT_TAG, json.dumps(drift))
        elif DRIFT_TAG in self.tags:  # a job that has its first settings again
            patiently(lambda: self.client.delete_tag(self.run_id, DRIFT_TAG))


def locate(
    client: MlflowClient, experiment_id: str, record: Record, uri: str | None
) -> Entity | None:
    """The job's run in a store, which may be a deleted one; ``None`` where it has none."""
    from mlflow.exceptions import MlflowException

    known = record.run(uri)
    if known is not None:
        try:
            return client.get_run(known.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    found = client.search_runs([experiment_id], f"tags.{KEY_TAG} = '{record.key}'")
    return found[0] if found else None


def is_deleted(run: Entity) -> bool:
    """Whether a person deleted the run in MLflow."""
    return bool(run.info.lifecycle_stage == "deleted")


def attach(client: MlflowClient, experiment_id: str, record: Record, found: Entity | None) -> Run:
    """Goes on with the job's run, or begins it.

    Args:
        client: of the store.
        experiment_id: where a new run belongs.
        record: the job's.
        found: the run to go on with; ``None`` begins one.
    """
    if found is None:
        tags = {**record.tags, KEY_TAG: record.key}
        run = patiently(
            lambda: client.create_run(
                experiment_id, start_time=record.started, tags=tags, run_name=record.name
            )
        )
        attached = Run(client, run.info.run_id, experiment_id, tags=run.data.tags)
        attached._check_params({}, record.params)
        return attached
    run_id = found.info.run_id
    patiently(lambda: client.update_run(run_id, "RUNNING", record.name))
    if FAILURE_TAG in found.data.tags:
        patiently(lambda: client.delete_tag(run_id, FAILURE_TAG))
    attached = Run(client, run_id, found.info.experiment_id, tags=found.data.tags)
    for name, value in record.tags.items():
        if found.data.tags.get(name) != value:
            attached.tag(name, value)
    for name in found.data.metrics:
        for metric in client.get_metric_history(run_id, name):
            attached.logged[name, metric.step] = metric.value
    attached._check_params(found.data.params, record.params)
    return attached


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _same(known: float | None, value: float) -> bool:
    if known is None:
        return False
    return known == value or (math.isnan(known) and math.isnan(value))


def _milliseconds(iso: str | None) -> int:
    return int((datetime.fromisoformat(iso).timestamp() if iso else time.time()) * 1000)
