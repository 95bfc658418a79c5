"""Starts the processes of a job that wants several, watches over them, and ends them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.distributed import FileStore  # type: ignore[attr-defined]

from bcadv import hardware, interrupt
from bcadv.badge import badge, worn
from bcadv.config import Config
from bcadv.console import Lines
from bcadv.distributed import joined
from bcadv.errors import BcadvError
from bcadv.world import World, started_outside

T = TypeVar("T")

_FAREWELL_S = 10.0
"""How long the leader may take to write down how it ended, once another process has failed."""

_CTRL_C_S = 60.0
"""How long the leader may take to end after Ctrl-C."""


def together(config: Config, function: Callable[..., T], *arguments: Any) -> T:
    """Calls a function in as many processes as a job asks for, each knowing the others.

    Processes that srun or torchrun started join each other here. Where there is only this one, it
    starts the others on this machine and does none of the work: it stays as it is whatever
    becomes of them, and may go on with another job.

    Args:
        config: of the job.
        function: of a module, so that new processes find it; they import what it needs.
        arguments: of the function.

    Returns:
        What the function returns in the leading process.

    Raises:
        BcadvError: there are fewer devices or other processes than asked for, or one was killed.
        KeyboardInterrupt: stopped by a person.
        Exception: what the first process to fail raised, with its traceback as a note.
    """
    wanted = config.trainer.devices * config.trainer.nodes
    _check_devices(config)
    world = started_outside(os.environ)
    if world is not None:
        if world.size != wanted:
            raise BcadvError(
                f"{world.size} processes were started, but trainer.devices="
                f"{config.trainer.devices} on trainer.nodes={config.trainer.nodes} make {wanted}: "
                "start as many, or set trainer.devices (per machine) and trainer.nodes (machines) "
                "to fit."
            )
        with joined(config, world):
            return function(*arguments)
    if config.trainer.nodes > 1:
        raise BcadvError(
            f"trainer.nodes={config.trainer.nodes}: processes on other machines must be started "
            f"there; put srun --nodes={config.trainer.nodes} "
            f"--ntasks-per-node={config.trainer.devices} before the command, or use torchrun."
        )
    return _start(config, function, arguments)


def _check_devices(config: Config) -> None:
    if not hardware.use_gpu(config.trainer.accelerator):
        return
    found = torch.cuda.device_count()
    if config.trainer.devices > found:
        raise BcadvError(
            f"trainer.devices={config.trainer.devices}, but this machine has {found} GPUs: lower "
            "trainer.devices, or train in several CPU processes with trainer.accelerator=cpu."
        )


def _start(config: Config, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    context = multiprocessing.get_context("spawn")
    pipes: dict[Connection, BaseProcess] = {}
    with tempfile.TemporaryDirectory(prefix="bcadv-") as meeting, _logged(context) as log:
        try:
            with _uninterrupted(), _spawning():
                for rank in range(config.trainer.devices):
                    ours, theirs = context.Pipe(duplex=False)
                    world = World(rank, config.trainer.devices, rank)
                    more = (config, world, Path(meeting) / "store", theirs, log, badge())
                    process: BaseProcess = context.Process(
                        target=_work, args=(*more, function, arguments), name=f"process {rank}"
                    )
                    process.start()
                    # The pipe then ends with the process, also with one that is killed.
                    theirs.close()
                    pipes[ours] = process
            result: T = _outcome(pipes)
            return result
        finally:
            for process in pipes.values():
                process.kill()
                process.join()


def _outcome(pipes: dict[Connection, BaseProcess]) -> Any:
    """What the leader returned; what the first process to fail raised."""
    leader = next(iter(pipes.values()))
    result = None
    running = dict(pipes)
    try:
        while running:
            for pipe in connection.wait(list(running)):
                assert isinstance(pipe, Connection)
                process = running.pop(pipe)
                value = _received(pipe, process)
                result = value if process is leader else result
    except KeyboardInterrupt:
        _interrupt(leader)
        raise
    except Exception:
        leader.join(_FAREWELL_S)
        raise
    return result


def _received(pipe: Connection, process: BaseProcess) -> Any:
    try:
        value = pickle.loads(pipe.recv_bytes())  # noqa: S301 - from our own process
    except EOFError:
        process.join()
        raise BcadvError(
            f"{process.name} of the training ended without a word (status {process.exitcode}). If "
            "it was killed for want of memory (-9), lower data.batch_size or trainer.devices."
        ) from None
    if isinstance(value, BaseException):
        raise value
    return value


def _interrupt(leader: BaseProcess) -> None:
    """Lets the leader end as after its own Ctrl-C, which a terminal sends to both."""
    end = time.monotonic() + _CTRL_C_S
    while leader.is_alive() and time.monotonic() < end:
        assert leader.pid is not None
        # Again and again: it may not have been ready to hear.
        os.kill(leader.pid, signal.SIGINT)
        leader.join(0.5)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started inside of it ignore Ctrl-C until they say otherwise."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _spawning() -> Iterator[None]:
    """New processes are told this start method: joblib's own means nothing to them."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)


@contextmanager
def _logged(context: Any) -> Iterator[Any]:
    """A queue whose log records go where those of this process go, and the level that counts.

    Beside them, whether the leader shows its records itself: above its own bar.
    """
    root = logging.getLogger()
    queue = context.Queue()
    others = [handler for handler in root.handlers if not isinstance(handler, Lines)]
    listener = QueueListener(queue, *others, respect_handler_level=True)
    listener.start()
    try:
        shows = len(others) < len(root.handlers)
        yield (queue, root.level, shows) if root.handlers else None
    finally:
        listener.stop()


def _work(
    config: Config,
    world: World,
    meeting: Path,
    pipe: Connection,
    log: tuple[Any, int, bool] | None,
    wearing: str,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    """The life of a started process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if world.rank == 0:
        signal.signal(signal.SIGINT, _only_once)
        interrupt.heard(_only_once)
        if log is not None:
            queue, level, shows = log
            if shows:
                logging.getLogger().addHandler(Lines())
                logging.captureWarnings(True)
            logging.getLogger().addHandler(QueueHandler(queue))
            logging.getLogger().setLevel(level)
    _stay_on_this_machine()
    store = FileStore(str(meeting), world.size)
    with joined(config, world, store), worn(wearing):
        try:
            result = function(*arguments)
            # Not send, which would share a tensor's memory with a process about to end.
            pipe.send_bytes(pickle.dumps(result if world.rank == 0 else None))
        except BaseException as error:
            # Said before the connections close: what the others then raise is not the cause.
            pipe.send_bytes(_portable(error))
            sys.exit(1)


def _portable(error: BaseException) -> bytes:
    """An error that can be sent, with its traceback where it is not the user's mistake."""
    if isinstance(error, BcadvError | KeyboardInterrupt):
        return pickle.dumps(error)
    trace = "In a process of the training:\n" + traceback.format_exc()
    error.add_note(trace)
    try:
        sent = pickle.dumps(error)
        pickle.loads(sent)  # noqa: S301 - made here a moment ago
    except Exception:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note(trace)
        return pickle.dumps(plain)
    return sent


def _only_once(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _stay_on_this_machine() -> None:
    """Nobody else needs to reach these processes."""
    for _, name in socket.if_nameindex():
        if name in {"lo", "lo0"}:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
