"""Fixtures that every test folder shares."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.http_server import Server

# Before anything counts the cores: several processes share them, and what is computed is small.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """How long an example of a property takes says more about the machine than about the code."""
    # Here, because processes that run no property import this module as well.
    from hypothesis import settings

    settings.register_profile("unhurried", deadline=None)
    settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts whole jobs first: begun last, they would keep one process busy when the others end."""
    items.sort(key=lambda item: item.path.parent != REPOSITORY / "tests")


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """Whoever starts the tests in the background lets them, and their processes, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def painted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where synthetic tissue is painted for all tests, on each of their processes."""
    from tests.painted import painted_once

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # these have folders of their own in a common one
        folder = folder.parent
    with painted_once(folder / "tissue"):
        os.environ["BCADV_TESTS_TISSUE"] = str(folder / "tissue")
        yield folder / "tissue"


@pytest.fixture
def undrawn() -> Iterator[None]:
    """For tests that look at a job's numbers and at none of its pictures."""
    from tests.jobs import undrawn

    with undrawn():
        yield


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server that is asked again without a pause."""
    from bcadv import fetch
    from tests.http_server import running_server

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.0)
    with running_server() as running:
        yield running


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("BCADV_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real images are not at {folder} (set BCADV_SHARED_DATA)")
    return folder
