"""Fixtures of the tracking tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcadv.tracking import prepare, store_uri
from tests.tracking import made, stores


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded store with nothing in it; making one takes seconds."""
    outputs = tmp_path_factory.mktemp("empty")
    prepare(outputs, None, [])
    return Path(store_uri(outputs).removeprefix("sqlite:///"))


@pytest.fixture
def outputs(tmp_path: Path, empty_store: Path) -> Path:
    """An output folder whose embedded store exists."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    shutil.copy(empty_store, folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model of a few layers."""
    path = tmp_path_factory.mktemp("trained") / "last.ckpt"
    made.write_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server with PostgreSQL behind it."""
    folder = tmp_path_factory.mktemp("server")
    with stores.postgres() as database, stores.mlflow_server(database, folder) as url:
        yield url


@pytest.fixture
def wire(server: str) -> Iterator[stores.Wire]:
    """The way to the server, which can be cut."""
    made_wire = stores.Wire(server)
    yield made_wire
    made_wire.close()
