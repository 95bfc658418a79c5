"""Reaching the store: whatever its folder is called, and said soon where it cannot be reached."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from bcadv.errors import BcadvError
from bcadv.tracking.store import connect, database_uri, first_line, prepare


@pytest.mark.long
@pytest.mark.parametrize("name", ["50%20", "50%", "o'brien", "[x]", "a b#c", "肺炎", "a=b&c"])
def test_the_database_lies_in_its_folder_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    outputs = tmp_path / name
    client, ids = connect(outputs, None, ["one"])
    run = client.create_run(ids["one"])
    client.log_metric(run.info.run_id, "accuracy", 0.5)
    assert (outputs / "mlflow.db").is_file()
    again, _ = connect(outputs, None, ["one"])
    assert again.get_run(run.info.run_id).data.metrics == {"accuracy": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing lies elsewhere"


def test_a_question_mark_in_the_name_works_or_is_said(tmp_path: Path) -> None:
    outputs, said = tmp_path / "what?mode=memory", ""
    try:
        connect(outputs, None, ["one"])
    except BcadvError as error:
        said = str(error)
    assert (outputs / "mlflow.db").is_file() or "question mark" in said
    assert not (tmp_path / "what").exists()


def test_plain_names_are_left_as_they_are() -> None:
    assert database_uri(Path("/a b/肺炎.db")) == "sqlite:////a b/肺炎.db"


def _answer(outputs: Path, uri: str) -> str:
    """What is said of a store that cannot be used, and that it is said soon."""
    begun = time.monotonic()
    with pytest.raises(BcadvError) as refused:
        connect(outputs, uri, ["one"])
    assert time.monotonic() - begun < 10
    return first_line(refused.value)


def test_a_database_that_cannot_be_opened_is_said_soon(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file" in _answer(tmp_path, f"sqlite:///{tmp_path}/file/mlflow.db")
    (tmp_path / "folder.db").mkdir()
    assert "unable to open" in _answer(tmp_path, f"sqlite:///{tmp_path}/folder.db")
    (tmp_path / "text.db").write_text("no database, and long enough to be seen to be none" * 9)
    assert "not a database" in _answer(tmp_path, f"sqlite:///{tmp_path}/text.db")


def test_a_database_that_does_not_answer_is_said_soon(tmp_path: Path) -> None:
    pytest.importorskip("psycopg2")
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        place = f"postgresql+psycopg2://me:secret@127.0.0.1:{mute.getsockname()[1]}/x"
        said = _answer(tmp_path, place)
    assert "does not answer within 5 s" in said
    assert "secret" not in said


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path) -> None:
    said = _answer(tmp_path, "mssql+pymssql://me:secret@127.0.0.1/x")
    assert said == "its driver pymssql is not installed: pip install it"


def test_a_database_of_a_newer_mlflow_is_said_with_what_helps(tmp_path: Path) -> None:
    outputs = tmp_path / "my outputs"
    connect(outputs, None, ["one"])
    database = outputs / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'feedfeedfeed'")
    with pytest.raises(BcadvError, match="newer MLflow") as refused:
        connect(outputs, None, ["one"])
    said = first_line(refused.value)
    assert "pip install --upgrade mlflow" in said
    assert f"mv '{database}' '{database}.newer'" in said
    assert "python -m bcadv.tracking.sync" in said
    database.rename(f"{database}.newer")
    connect(outputs, None, ["one"])


def test_a_store_out_of_reach_costs_a_sweep_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    prepare(tmp_path, f"sqlite:///{tmp_path}/file/mlflow.db", ["one"])
    assert "file" in caplog.text


def test_a_number_that_is_no_user_has_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object) -> str:
        raise KeyError("getpwuid(): uid not found")

    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # so that it is put back as it was
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    client, ids = connect(tmp_path / "outputs", None, ["one"])
    assert client.get_experiment(ids["one"]).name == "one"
    assert os.environ["HOME"] == str(tmp_path / f"bcadv-{os.getuid()}")
