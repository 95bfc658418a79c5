"""The tracking store: where it is, how it is made once, how long one waits for it."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_LOCK = ".mlflow.lock"
_LOCK_SECONDS = 120.0

# Between attempts at something that the store was too busy for.
_PAUSES = (0.5, 2.0)
_BUSY = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")


def store_uri(outputs: Path) -> str:
    """The embedded store: SQLite below the output folder.

    It keeps SQLite's rollback journal. A write-ahead log would let readers and a writer overlap,
    but needs memory that all processes share, which the nodes of a cluster that work in one
    network folder do not. Instead every process writes seldom (see `Tracker.epoch`), waits 20 s
    for the others (mlflow sets SQLite's busy timeout in each of its sessions, and never turns a
    read into a write within one, so that waiting always helps), and then tries again.
    """
    return f"sqlite:///{(outputs / 'mlflow.db').resolve()}"


def public(text: str) -> str:
    """An address, or a text with addresses, without the passwords they may hold."""
    return re.sub(r"(://[^:/@\s]*):[^/@\s]*@", r"\1:***@", text)


def first_line(error: Exception) -> str:
    """What a person needs of an exception, at most 200 characters and no password."""
    return public((str(error).splitlines() or [type(error).__name__])[0])[:200]


def patiently(action: Callable[[], _T]) -> _T:
    """Tries again where the store was busy; the action must be one that may happen twice.

    A server that cannot be reached is not tried again here: its absence must be known in seconds.
    """
    from mlflow.exceptions import MlflowException

    for pause in _PAUSES:
        try:
            return action()
        except MlflowException as error:
            if error.error_code not in _BUSY:
                raise
            time.sleep(pause)
    return action()


def connect(
    outputs: Path, uri: str | None, experiments: Sequence[str]
) -> tuple[MlflowClient, dict[str, str]]:
    """Reaches the store; makes it and its experiments where they are missing.

    Args:
        outputs: holds the embedded store, the files of runs in a database, and the lock that lets
            one process at a time create things.
        uri: of the store; ``None`` for the embedded one.
        experiments: names.

    Returns:
        A client, and the id of each experiment.

    Raises:
        Exception: anything, where the store cannot be reached or made.
    """
    _settle()
    from mlflow import MlflowClient

    address = uri or store_uri(outputs)
    # Connecting creates the schema, which eight processes at once would trip over.
    with alone(outputs, address):
        if address == store_uri(outputs):
            follow_move(outputs)
        client = MlflowClient(address)
        ids = {name: patiently(partial(_ensure, client, outputs, name)) for name in experiments}
    return client, ids


def prepare(outputs: Path, uri: str | None, experiments: Sequence[str]) -> None:
    """Creates store and experiments once, before the jobs of a sweep start.

    A server that cannot be reached costs a warning: the jobs run, and their files stand.

    Args:
        outputs: the output folder.
        uri: of the store; ``None`` for the embedded one.
        experiments: names.
    """
    try:
        connect(outputs, uri, experiments)
    except Exception as error:  # a tracker may fail in any way; the sweep goes on
        log.warning(
            "MLflow at %s: could not prepare the experiments (%s). The jobs run all the same.",
            public(uri or store_uri(outputs)),
            first_line(error),
        )


def _settle() -> None:
    # Read when mlflow is imported or asks. A server that is gone or hangs must be noticed in
    # seconds, and nothing about anybody's runs is reported to anyone. No retries by the HTTP
    # layer: it would also repeat a request to create a run that was answered late.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Else a lock file of uv that happens to lie in the current folder is taken for the model's.
    os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")
    import mlflow  # noqa: F401  its import sets the level of its logger

    logging.getLogger("alembic").setLevel(logging.WARNING)
    # What mlflow logs as an error it raises as well; the caller says it once.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)


@contextmanager
def alone(outputs: Path, address: str) -> Iterator[None]:
    """Keeps other processes from creating things in a database meanwhile."""
    if not _is_database(address):
        yield  # a server serialises by itself; jobs in a queue for a hanging one would add up
        return
    outputs.mkdir(parents=True, exist_ok=True)
    with FileLock(outputs / _LOCK, timeout=_LOCK_SECONDS):
        yield


def _is_database(address: str) -> bool:
    return address.partition(":")[0].partition("+")[0] in _DATABASES


def _ensure(client: MlflowClient, outputs: Path, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        files = None
        if _is_database(client.tracking_uri):
            files = _artifacts(outputs, name)
        try:
            return str(client.create_experiment(name, files))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            # Another process was faster, through a server or from another machine.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _artifacts(outputs: Path, experiment: str) -> str:
    return (outputs / "mlartifacts" / experiment).resolve().as_uri()


def follow_move(outputs: Path) -> None:
    """Tells the embedded store where its files are, in case the output folder was moved or copied.

    MLflow keeps absolute addresses, and has no way to change them.
    """
    if not (outputs / "mlflow.db").is_file():
        return
    with closing(sqlite3.connect(outputs / "mlflow.db", timeout=_LOCK_SECONDS)) as db, db:
        try:
            known = db.execute(
                "SELECT experiment_id, name, artifact_location FROM experiments"
            ).fetchall()
        except sqlite3.OperationalError:
            return  # killed before it had tables
        for number, name, old in known:
            new = _artifacts(outputs, name)
            if old == new or not str(old).endswith(f"/mlartifacts/{quote(name)}"):
                continue
            log.info("The files of MLflow's experiment %s are now below %s.", name, outputs)
            db.execute(
                "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
                (new, number),
            )
            db.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
                "WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
                (new, len(old) + 1, number, len(old), old),
            )
