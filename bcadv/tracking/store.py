"""The tracking store: where it is, how it is made once, how long one waits for it."""

from __future__ import annotations

import getpass
import logging
import os
import re
import shlex
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from filelock import FileLock

from bcadv.errors import BcadvError
from bcadv.tracking.describe import EXPERIMENT_TAGS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_LOCK = ".mlflow.lock"
_LOCK_SECONDS = 120.0
_REACH_SECONDS = 5.0

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
    return database_uri((outputs / "mlflow.db").resolve())


def database_uri(path: Path) -> str:
    """The address of an SQLite file, whatever its name holds.

    SQLAlchemy reads ``%`` and ``?`` in an address as its own, and since 2.1 undoes quoting.
    """
    if not {"%", "?"} & set(str(path)):
        return f"sqlite:///{path}"
    # With the driver's name, MLflow makes no folder named like the quoted path.
    as_it_is = f"sqlite+pysqlite:///{path}"
    return as_it_is if _leads_to(as_it_is, path) else f"sqlite+pysqlite:///{quote(str(path))}"


def _leads_to(address: str, path: Path) -> bool:
    from sqlalchemy.engine import make_url

    return make_url(address).database == str(path)


def public(text: str) -> str:
    """An address, or a text with addresses, without the passwords they may hold."""
    return re.sub(r"(://[^:/@\s]*):[^/@\s]*@", r"\1:***@", text)


def first_line(error: Exception) -> str:
    """What a person needs of an exception, at most 200 characters and no password.

    Words of our own are whole sentences, and stay whole.
    """
    if isinstance(error, BcadvError):
        return public(str(error)).rstrip(".")
    return public((str(error).splitlines() or [type(error).__name__])[0])[:200]


def patiently(action: Callable[[], _T]) -> _T:
    """Tries again where the store was busy or another process was quicker.

    The action must be one that may happen twice.

    A server that cannot be reached is not tried again here: its absence must be known in seconds.
    """
    from mlflow.exceptions import MlflowException

    for pause in _PAUSES:
        try:
            return action()
        except MlflowException as error:
            if error.error_code not in _BUSY and not _lost_a_race(error):
                raise
            time.sleep(pause)
    return action()


def _lost_a_race(error: MlflowException) -> bool:
    """Whether a database refused a row because another process had just written the same.

    MLflow looks whether a data set is known and then writes it, so that of jobs which end together
    on the same images one comes too late. At the next attempt it finds what the other one wrote.
    """
    said = str(error).lower()
    return error.error_code == "BAD_REQUEST" and ("unique" in said or "duplicate" in said)


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
        BcadvError: a database cannot be opened, or was made by a newer MLflow.
        Exception: anything else, where the store cannot be reached or made.
    """
    _settle()
    from mlflow import MlflowClient

    address = uri or store_uri(outputs)
    if uri is None and not _leads_to(address, (outputs / "mlflow.db").resolve()):
        raise BcadvError(
            "its folder's name holds a question mark, which SQLAlchemy before 2.1 has no address "
            "for: pip install --upgrade sqlalchemy, or rename the folder"
        )
    if _is_database(address):
        reach(address)
    # Connecting creates the schema, which eight processes at once would trip over.
    with alone(outputs, address):
        if address == store_uri(outputs):
            follow_move(outputs)
        client = MlflowClient(address)
        ids = {name: patiently(partial(_ensure, client, outputs, name)) for name in experiments}
    return client, ids


def reach(address: str) -> None:
    """Opens a database once, because MLflow tries ten times, over minutes and in silence.

    Raises:
        BcadvError: it cannot be opened, does not answer, lacks its driver, or was made by a newer
            MLflow.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        place = make_url(address)
        if place.get_backend_name() == "sqlite" and place.database not in {None, "", ":memory:"}:
            Path(str(place.database)).parent.mkdir(parents=True, exist_ok=True)
        revision = _within(_REACH_SECONDS, partial(_revision, address))
    except ImportError as error:
        raise BcadvError(f"its driver {error.name} is not installed: pip install it") from error
    except TimeoutError:
        raise BcadvError(f"it does not answer within {_REACH_SECONDS:g} s") from None
    except OSError as error:
        raise BcadvError(f"{error.filename or 'it'}: {error.strerror or error}") from error
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error)
        raise BcadvError(f"it cannot be opened: {(cause.splitlines() or [''])[0][:200]}") from error
    known = _known_revisions()
    if revision is not None and known and revision not in known:
        raise BcadvError(_too_new(place.database, revision, embedded=address.startswith("sqlite")))


def _too_new(database: str | None, revision: str, *, embedded: bool) -> str:
    from importlib.metadata import version

    aside = ""
    if embedded and database:
        new = f"{database}.newer"
        aside = (
            f", or move it aside (mv {shlex.quote(database)} {shlex.quote(new)}) and upload the "
            "jobs to a fresh one with python -m bcadv.tracking.sync"
        )
    return (
        f"its tables (revision {revision}) were made by a newer MLflow than the one installed "
        f"here, {version('mlflow')}: pip install --upgrade mlflow{aside}"
    )


def _revision(address: str) -> str | None:
    """Of the tables in a database; ``None`` where there are none, or it is busy."""
    from sqlalchemy import NullPool, create_engine, inspect, text
    from sqlalchemy.exc import OperationalError

    engine = create_engine(address, poolclass=NullPool)
    try:
        if "alembic_version" not in inspect(engine).get_table_names():
            return None
        with engine.connect() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if found is None else str(found)
    except OperationalError as error:
        if "locked" in str(error):  # by a writer, whom MLflow waits for
            return None
        raise
    finally:
        engine.dispose()


def _known_revisions() -> set[str]:
    """Of the tables, as this MLflow can bring them up to date; none where it hides them."""
    import mlflow

    versions = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
    return {file.name.partition("_")[0] for file in versions.glob("*_*.py")}


def _within(seconds: float, action: Callable[[], _T]) -> _T:
    """The result of an action, unless it takes too long; it is then left to itself.

    Raises:
        TimeoutError: it took too long.
        Exception: whatever the action raised.
    """
    outcome: Future[_T] = Future()

    def act() -> None:
        try:
            outcome.set_result(action())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=act, daemon=True).start()
    return outcome.result(timeout=seconds)


def prepare(outputs: Path, uri: str | None, experiments: Sequence[str]) -> None:
    """Creates store and experiments once, before the jobs of a sweep start.

    A store that cannot be reached costs a warning: the jobs run, and their files stand.

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
    _have_a_home()
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


def _have_a_home() -> None:
    """Names a folder where there is no home, as under a number no user has: MLflow wants one."""
    try:
        Path.home()
    except RuntimeError:
        home = Path(tempfile.gettempdir()) / f"bcadv-{os.getuid()}"
        home.mkdir(parents=True, exist_ok=True)
        os.environ["HOME"] = str(home)
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


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
            return str(client.create_experiment(name, files, dict(EXPERIMENT_TAGS)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            # Another process was faster, through a server or from another machine.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    for tag, value in EXPERIMENT_TAGS.items():
        if tag not in found.tags:  # an experiment that was made without them
            client.set_experiment_tag(found.experiment_id, tag, value)
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
