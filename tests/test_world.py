"""Who started this process, and with how many others."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bcadv.world import World, meeting_point, started_outside

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
SRUN = {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        (TORCHRUN, World(3, 4, 1)),
        (SRUN, World(2, 8, 0)),
        # A batch script outside of srun is alone, whatever it has been given.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}, None),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, None),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, None),
        (SRUN | TORCHRUN, World(3, 4, 1)),
    ],
)
def test_only_company_counts(environ: Mapping[str, str], expected: World | None) -> None:
    assert started_outside(environ) == expected


@pytest.mark.parametrize(
    ("machines", "first"),
    [
        ("alone", "alone"),
        ("one,two", "one"),
        ("node[07-09,12],gpu3", "node07"),
        ("node[3,5]", "node3"),
        ("gpu3,node[07-09]", "gpu3"),
        ("rack1-node[1-2]", "rack1-node1"),
    ],
)
def test_slurms_first_machine_is_the_meeting_point(machines: str, first: str) -> None:
    environ = {"SLURM_STEP_NODELIST": machines, "SLURM_JOB_ID": "1234567", "SLURM_STEP_ID": "2"}
    assert meeting_point(environ) == (first, 19_569)


def test_what_is_said_counts() -> None:
    said = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "SLURM_STEP_NODELIST": "one"}
    assert meeting_point(said) == ("10.0.0.1", 29_500)
