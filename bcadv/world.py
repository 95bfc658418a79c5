"""Which of several processes this one is, where srun or torchrun started them. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """The processes that do one job together, seen from one of them.

    Attributes:
        rank: number of this process, from 0; process 0 leads: it alone writes and speaks.
        size: how many there are.
        local_rank: number of this process on its machine, from 0; names its GPU.
    """

    rank: int
    size: int
    local_rank: int


def started_outside(environ: Mapping[str, str]) -> World | None:
    """The processes that torchrun or srun started, or ``None`` where nobody did.

    Args:
        environ: the environment variables. torchrun sets ``RANK`` and its like in each process;
            srun sets ``SLURM_STEP_NUM_TASKS``, which a batch script by itself does not have.
    """
    names = (
        ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
    )
    for rank, size, local_rank in names:
        if rank in environ and int(environ.get(size, "1")) > 1:
            return World(int(environ[rank]), int(environ[size]), int(environ.get(local_rank, "0")))
    return None


def meeting_point(environ: Mapping[str, str]) -> tuple[str, int]:
    """Address and port at which processes that were started from outside find each other.

    Args:
        environ: the environment variables. What ``MASTER_ADDR`` and ``MASTER_PORT`` say counts;
            else it is the first machine of SLURM's step, at a port that follows from the numbers
            of job and step.
    """
    machines = environ.get("SLURM_STEP_NODELIST", environ.get("SLURM_NODELIST", "127.0.0.1"))
    numbers = int(environ.get("SLURM_JOB_ID", "0")) + int(environ.get("SLURM_STEP_ID", "0"))
    return (
        environ.get("MASTER_ADDR") or _first_machine(machines),
        int(environ.get("MASTER_PORT") or 15_000 + numbers % 10_000),
    )


def _first_machine(machines: str) -> str:
    """``node[07-09,12],gpu3`` -> ``node07``."""
    name, bracket, numbers = machines.partition("[")
    if not bracket or "," in name:
        return machines.partition(",")[0]
    first = numbers.partition("]")[0].replace("-", ",").partition(",")[0]
    return name + first
