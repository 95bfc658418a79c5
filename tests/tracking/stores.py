"""Stores for tests: a PostgreSQL cluster, an MLflow server, and a wire that can be cut."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

SERVER_SECONDS = 90


def free_port() -> int:
    """A port on the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL cluster of its own, on a socket in a folder that goes with it.

    Yields:
        Its address for SQLAlchemy.
    """
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name))
    found = shutil.which("initdb")
    binaries = Path(found).parent if found else (places[-1] if places else None)
    if binaries is None or not (binaries / "pg_ctl").is_file():
        pytest.skip("PostgreSQL's server programs are not installed (Debian: postgresql)")
    # PostgreSQL refuses to run as root, and its user cannot look into root's temporary folders.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = tempfile.mkdtemp(prefix="pg", dir="/tmp")
    if as_user:
        shutil.chown(folder, "postgres")

    def call(program: str, *arguments: str) -> None:
        command = [*as_user, str(binaries / program), "-D", f"{folder}/data", *arguments]
        # Into a file: the server inherits a pipe and would keep it open.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(command, stdout=said, stderr=said, cwd="/", check=False)
            said.seek(0)
            assert done.returncode == 0, said.read().decode()

    try:
        call("initdb", "-A", "trust", "-U", "postgres", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        call("pg_ctl", "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg2://postgres@/postgres?host={folder}"
        finally:
            call("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def mlflow_server(store: str, folder: Path) -> Iterator[str]:
    """An MLflow server on the loopback interface.

    Args:
        store: address of its database.
        folder: gets its log and the artifacts that clients upload.

    Yields:
        Its address.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
    command += ["--artifacts-destination", str(folder / "files"), "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    # No queue for background jobs: fewer processes, and it starts sooner.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = folder / "server.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            command,
            stdout=said,
            stderr=said,
            cwd=folder,
            env=os.environ | quiet,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + SERVER_SECONDS
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, f"no answer from MLflow: {log.read_text()}"
            with suppress(URLError, OSError), urlopen(f"{url}/health", timeout=1):
                break
            time.sleep(0.1)
        yield url
    finally:
        # The server has children, which outlive a signal to it alone.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Wire:
    """Forwards connections to a server, until it is cut or made to hang.

    Attributes:
        url: where clients connect.
    """

    def __init__(self, url: str) -> None:
        self._target = int(url.rsplit(":", 1)[1])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._mode = "works"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Drops what is connected and whoever connects from now on."""
        self._set("cut")

    def hang(self) -> None:
        """Accepts, and never answers again."""
        self._set("hangs")

    def mend(self) -> None:
        """Forwards again."""
        self._set("works")

    def close(self) -> None:
        """Stops listening."""
        self._set("cut")
        self._listener.close()

    def _set(self, mode: str) -> None:
        self._mode = mode
        connected, self._open = self._open, []
        for one in connected:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._mode == "cut":
                client.close()
                continue
            self._open.append(client)
            if self._mode == "works":
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open.append(server)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
