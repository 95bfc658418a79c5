"""`bcadv ui`: MLflow's pages over the embedded store, for this machine alone."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bcadv.arguments import EXISTING, Command, Option, whole
from bcadv.errors import BcadvError
from bcadv.tracking.store import alone, follow_move, store_uri

_DATABASE = "mlflow.db"

HOST = "127.0.0.1"
"""Nobody else may look: MLflow asks for no password."""

_ENVIRONMENT = {
    # It would start processes that wait for jobs of MLflow's own kind.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Set unless the user has set it."""

COMMAND = Command(
    "bcadv ui",
    f"Shows the jobs in MLflow's pages, http://{HOST}:5000, for this machine alone until Ctrl-C.",
    (
        Option("outputs", EXISTING, "The folder that holds the jobs.", Path("outputs")),
        Option("port", whole(1024, 65_535), "Where a browser finds the pages.", 5000),
    ),
)


def run(options: Mapping[str, Any], others: Sequence[str]) -> int:
    """Becomes MLflow's server, so that signals reach it and its exit status is this command's.

    Raises:
        BcadvError: no job was logged there, or the port is taken.
    """
    outputs, port = options["outputs"], options["port"]
    if not (outputs / _DATABASE).is_file():
        raise BcadvError(
            f"outputs={outputs} holds no {_DATABASE}, as no job was logged there: run one, upload "
            "those whose database was lost (bcadv sync), or name another folder."
        )
    _check_free(port)
    with alone(outputs, store_uri(outputs)):
        follow_move(outputs)
    command = ["mlflow", "ui", "--workers", "1", "--host", HOST, "--port", str(port)]
    line = [sys.executable, "-m", *command, "--backend-store-uri", store_uri(outputs)]
    sys.stdout.flush()
    os.execve(sys.executable, line, _ENVIRONMENT | os.environ)  # noqa: S606  no shell is wanted


def _check_free(port: int) -> None:
    with socket.socket() as one:
        # As servers do: a port that was used a moment ago is free.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except OSError as error:
            raise BcadvError(
                f"port={port} cannot be used ({error.strerror}): another server may run there; "
                f"give another, as in port={port + 1 if port < 65_535 else port - 1}."
            ) from None
