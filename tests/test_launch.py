"""Processes that train one model: how they are started, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcadv.config import Config, validate
from bcadv.errors import BcadvError
from bcadv.job import run
from bcadv.launch import together
from tests.jobs import tiny_config
from tests.processes import warm

DEADLINE_S = 300


@pytest.fixture
def two_devices(tmp_path: Path) -> Config:
    return tiny_config(tmp_path, "trainer.devices=2")


@pytest.fixture
def warmed() -> Iterator[None]:
    with warm():
        yield


@pytest.mark.usefixtures("warmed")
def test_a_mistake_in_a_process_arrives_as_it_is(two_devices: Config) -> None:
    with pytest.raises(BcadvError, match="unknown option nonsense"):
        together(two_devices, validate, {"nonsense": 1})


@pytest.mark.usefixtures("warmed")
def test_a_process_that_is_killed_is_said_so(two_devices: Config) -> None:
    with pytest.raises(BcadvError, match=r"without a word \(status 3\)"):
        together(two_devices, os._exit, 3)


def test_too_few_processes_are_a_mistake(
    two_devices: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path, "trainer.nodes=2")
    with pytest.raises(BcadvError, match="srun --nodes=2"):
        run(config, tmp_path / "it")
    for name, value in {"RANK": "0", "WORLD_SIZE": "3", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    for other in (two_devices, tiny_config(tmp_path)):
        with pytest.raises(BcadvError, match="3 processes were started"):
            run(other, tmp_path / "it")


@pytest.mark.long
def test_ctrl_c_ends_all_processes_and_these_are_new_ones(two_devices: Config) -> None:
    begun = time.monotonic()
    # To this process alone, as from a launcher; a terminal would send it to all of them.
    timer = threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        together(two_devices, time.sleep, DEADLINE_S)
    assert time.monotonic() - begun < DEADLINE_S
    assert not multiprocessing.active_children()
