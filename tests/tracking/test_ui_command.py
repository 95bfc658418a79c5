"""``bcadv ui``: which server is started, and over which store."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from bcadv.cli.main import main
from bcadv.tracking import store_uri


def test_it_becomes_mlflows_server_over_the_projects_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, list[str], Mapping[str, str]]] = []
    monkeypatch.setattr("os.execve", lambda *given: started.append(given))
    outputs = tmp_path / "out puts%"
    outputs.mkdir()
    (outputs / "mlflow.db").touch()
    monkeypatch.setattr("bcadv.tracking.ui.follow_move", lambda _: None)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        one.listen()
        assert main(["ui", f"outputs={outputs}", f"port={port}"]) == 2
    assert started == []
    main(["ui", f"outputs={outputs}", f"port={port}"])
    [(program, line, environment)] = started
    assert program == sys.executable
    assert line[1:4] == ["-m", "mlflow", "ui"]
    given = dict(zip(line[4::2], line[5::2], strict=True))
    assert given["--host"] == "127.0.0.1"
    assert given["--port"] == str(port)
    assert given["--backend-store-uri"] == store_uri(outputs)
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment.items() >= dict(os.environ).items()


def test_without_a_store_there_is_nothing_to_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", f"outputs={tmp_path}"]) == 2
    assert "holds no mlflow.db" in capsys.readouterr().err
