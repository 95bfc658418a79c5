"""Result files -> MLflow; the only file that imports mlflow.

The files come first. Whatever happens to the tracking server costs a warning and never a training.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcadv.config import TrackingConfig

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

RUN_FILE = "mlflow_run.json"
_PARAM_LENGTH = 500


def store_uri(outputs: Path) -> str:
    """The embedded store: SQLite below the output folder."""
    return f"sqlite:///{(outputs / 'mlflow.db').resolve()}"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings -> dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, name)
        else:
            flat[name] = value
    return flat


class Tracker:
    """One MLflow run per job; a run that was begun is continued.

    Every call may fail without harm: the first failure is said once, live logging stops, and
    `finish` tries again at the end of the job.

    Args:
        folder: the job's folder; remembers the run's id.
        outputs: holds the embedded store.
        config: whether to track, where, and under which name.
        tags: set on the run.
    """

    def __init__(
        self, folder: Path, outputs: Path, config: TrackingConfig, tags: Mapping[str, str]
    ) -> None:
        self.folder, self.outputs, self.experiment = folder, outputs, config.experiment
        self.uri = config.uri or store_uri(outputs)
        self.tags = dict(tags)
        self.enabled = config.enabled
        # False until a run has begun, and again once the server was lost.
        self.alive = False
        self._client: MlflowClient | None = None
        self._run_id: str | None = None
        self._epochs: set[int] = set()

    def _guard(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a tracker may fail in any way; the training goes on
            self.alive = False
            first = (str(error).splitlines() or [type(error).__name__])[0]
            log.warning(
                "MLflow at %s: could not %s (%s). Training goes on; every result stands in %s.",
                self.uri,
                what,
                first[:200],
                self.folder,
            )

    def start(self, params: Mapping[str, Any]) -> None:
        """Begins the job's run, or goes on with it."""
        if self.enabled:
            self._guard("begin a run", lambda: self._start(params))

    def _start(self, params: Mapping[str, Any]) -> None:
        # Read when mlflow is imported. A server that is gone must be noticed in seconds, and
        # nothing about anybody's runs is reported to anyone.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.outputs.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(self.uri)
        run_file = self.folder / RUN_FILE
        if run_file.is_file():
            self._run_id = json.loads(run_file.read_text())["run_id"]
            client.update_run(self._run_id, status="RUNNING")
            self._client, self.alive = client, True
            return
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            experiment_id = found.experiment_id
        else:
            artifacts = None
            if self.uri.startswith("sqlite:"):
                artifacts = (self.outputs / "mlartifacts" / self.experiment).resolve().as_uri()
            experiment_id = client.create_experiment(self.experiment, artifacts)
        run = client.create_run(experiment_id, run_name=self._run_name(), tags=self.tags)
        self._run_id = run.info.run_id
        run_file.write_text(json.dumps({"run_id": self._run_id, "uri": self.uri}))
        client.log_batch(
            self._run_id,
            params=[Param(k, str(v)[:_PARAM_LENGTH]) for k, v in flatten(params).items()],
        )
        self._client, self.alive = client, True

    def _run_name(self) -> str:
        """The job's folder; in a sweep, whose folders are mere numbers, with the sweep's."""
        name = self.folder.name
        return f"{self.folder.parent.name}/{name}" if name.isdigit() else name

    def epoch(self, row: Mapping[str, float]) -> None:
        """Logs an epoch's losses and accuracies, unless the server was lost."""
        if self.alive:
            self._guard(
                "log an epoch", lambda: self._metrics(row, step=int(row["epoch"]), skip=("epoch",))
            )

    def _metrics(self, row: Mapping[str, float], *, step: int, skip: tuple[str, ...] = ()) -> None:
        from mlflow.entities import Metric

        assert self._client is not None
        assert self._run_id is not None
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._run_id,
            metrics=[Metric(k, float(v), now, step) for k, v in row.items() if k not in skip],
        )
        self._epochs.add(step)

    def finish(
        self,
        params: Mapping[str, Any],
        history: list[dict[str, float]],
        results: Mapping[str, Any],
    ) -> None:
        """Logs the robustness table and every file of the job, and ends the run.

        Begins the run first, and logs the epochs that are missing, where the server was away.
        """
        if not self.enabled:
            return
        if self._client is None:
            self._guard("begin a run", lambda: self._start(params))
        if self._client is not None:
            self._guard("log the results", lambda: self._finish(history, results))

    def _finish(self, history: list[dict[str, float]], results: Mapping[str, Any]) -> None:
        assert self._client is not None
        assert self._run_id is not None
        for row in history:
            if int(row["epoch"]) not in self._epochs:
                self._metrics(row, step=int(row["epoch"]), skip=("epoch",))
        for row in [*results["clean"], *results["perturbed"]]:
            scalars = {
                f"{row['batchnorm']}/{row['perturbation']}/{name}": entry["value"]
                for name, entry in row["metrics"].items()
                if entry["value"] is not None
            }
            # Hundredths of a grey level: a step must be a whole number, epsilon need not be.
            self._metrics(scalars, step=round(100 * row["eps_px"]))
        for file in sorted(self.folder.rglob("*")):
            if file.is_file() and file.name != RUN_FILE and file.suffix != ".part":
                place = file.relative_to(self.folder).parent
                self._client.log_artifact(self._run_id, str(file), str(place).strip("."))
        self._client.set_terminated(self._run_id)

    def interrupt(self) -> None:
        """Marks the run as stopped by a person."""
        client, run_id = self._client, self._run_id
        if client is not None and run_id is not None:
            self._guard("end the run", lambda: client.set_terminated(run_id, "KILLED"))
