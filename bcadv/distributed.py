"""What the processes of one job say to each other; alone, a process talks to nobody."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed import FileStore  # type: ignore[attr-defined]

from bcadv.config import Config
from bcadv.hardware import use_gpu
from bcadv.world import World, meeting_point

T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""How long processes wait for each other. The leader may have to wait for another job that trains
the same model; a process that died is noticed by its closed connection, not by this."""


def active() -> bool:
    """Whether this process does its job together with others."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """Number of this process; 0 leads, and is also the number of one that is alone."""
    return distributed.get_rank() if active() else 0


def size() -> int:
    """How many processes do the job."""
    return distributed.get_world_size() if active() else 1


@contextmanager
def joined(config: Config, world: World, store: FileStore | None = None) -> Iterator[None]:
    """Makes this process one of several, for the time of a ``with`` block.

    Args:
        config: of the job: accelerator and threads.
        world: which process this is.
        store: where the processes find each other; ``None`` is a port of the first machine.
    """
    address, port = meeting_point(os.environ)
    os.environ |= {
        # What Lightning asks the environment for.
        "RANK": str(world.rank),
        "WORLD_SIZE": str(world.size),
        "LOCAL_RANK": str(world.local_rank),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
    }
    _share_processor(config)
    if world.rank > 0:
        _be_quiet()
    backend = "gloo"
    if use_gpu(config.trainer.accelerator):
        torch.cuda.set_device(world.local_rank)
        # Decisions travel between the processors, numbers between the GPUs.
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(
        backend, store=store, rank=world.rank, world_size=world.size, timeout=_PATIENCE
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _share_processor(config: Config) -> None:
    """As many threads as the processes of one machine can have without waiting for each other."""
    if config.trainer.threads is None and "OMP_NUM_THREADS" in os.environ:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = config.trainer.threads or max(1, (cores or 1) // config.trainer.devices)
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)


def _be_quiet() -> None:
    """The leader says everything, and decides what Ctrl-C means."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def tell(value: T | None = None) -> T:
    """Hands the leader's value to every process.

    Args:
        value: what the leader says; the others pass nothing.

    Returns:
        The leader's value.
    """
    said: list[Any] = [value]
    if active():
        distributed.broadcast_object_list(said, src=0)
    result: T = said[0]
    return result


def collect(value: T) -> list[T] | None:
    """Hands every process's value to the leader.

    Returns:
        The values by rank at the leader, else ``None``.
    """
    if not active():
        return [value]
    values: list[Any] | None = [None] * size() if rank() == 0 else None
    distributed.gather_object(value, values, dst=0)
    return values


def wait() -> None:
    """Goes on when every process has come so far."""
    tell()


def share_state(model: nn.Module) -> None:
    """Gives every process the leader's weights and buffers.

    Args:
        model: on the CPU, or on the GPU in every process.
    """
    if active():
        for value in model.state_dict().values():
            distributed.broadcast(value, src=0)


def weight_of(images: int, device: torch.device) -> Tensor:
    """Factor that makes a mean over a share count for what the share is of its batch.

    DDP averages the gradients of the processes with equal weight. With this factor on the loss
    of each, that average is the gradient of the mean over the whole batch, also where shares
    differ in size.

    Args:
        images: in this process's share of the batch.
        device: of the loss.

    Returns:
        images x processes / (images of the whole batch), a scalar.
    """
    whole = torch.tensor(images, dtype=torch.float64, device=device)
    distributed.all_reduce(whole)
    return images * size() / whole
