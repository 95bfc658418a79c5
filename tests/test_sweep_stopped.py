"""Sweeps that are stopped or killed, and go on."""

from __future__ import annotations

import signal
from pathlib import Path

import pandas as pd
import pytest

from tests.processes import fork
from tests.sweeps import (
    OUTPUTS,
    ended,
    epochs,
    half_trained,
    is_marked,
    mark,
    models,
    results,
    stamps,
    the_sweep,
    tiny,
)


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_sweep_goes_on_where_it_was(tmp_path: Path, how: signal.Signals) -> None:
    command = ["-m", *tiny("sigma=0,0.1", "eps_px=8", "trainer.max_epochs=150")]
    first = fork(tmp_path, command)
    first.until(lambda: len(models(tmp_path)) == 2 and len(half_trained(tmp_path)) == 1)
    first.send(how)
    status = first.wait()
    assert status == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in first.said
    [model] = half_trained(tmp_path)
    folder = the_sweep(tmp_path)
    assert not (folder / "1" / "results.json").exists(), "it was stopped too late to test"
    done = stamps(folder / "0")
    mark(model)

    said = ended(fork(tmp_path, command))
    assert "1 of 2 jobs are done" in said
    assert "2 of 2 jobs are done" in said
    assert the_sweep(tmp_path) == folder
    now = stamps(folder / "0")
    assert now["results.json"] == done["results.json"]
    assert len(models(tmp_path)) == 2
    assert epochs(model) == list(range(150))
    assert is_marked(model)
    pd.testing.assert_frame_equal(
        pd.read_csv(folder / "1" / "history.csv"), pd.read_csv(model / "history.csv")
    )


@pytest.mark.long
def test_who_waits_for_a_model_takes_over_from_the_dead(tmp_path: Path) -> None:
    first = fork(tmp_path, tiny("sigma=0.1", "eps_px=1", "trainer.max_epochs=60"))
    first.until(lambda: bool(half_trained(tmp_path)))
    # Held still with its lock, however fast it is, until the other one waits.
    first.send(signal.SIGSTOP)
    second = fork(tmp_path, tiny("sigma=0.1", "eps_px=8", "trainer.max_epochs=60"))
    second.until(lambda: "waiting for it" in second.said)
    try:
        [model] = half_trained(tmp_path)
        # Held still, so that the checkpoint can be marked in peace.
        second.send(signal.SIGSTOP)
        first.send(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        assert half_trained(tmp_path) == [model], "it was stopped too late to test"
        reached = len(epochs(model))
        mark(model)
    finally:
        second.send(signal.SIGCONT)
    ended(second)
    assert models(tmp_path) == [model]
    assert reached < 60
    assert epochs(model) == list(range(60))
    assert is_marked(model)
    [job] = (tmp_path / OUTPUTS / "defense").glob("*/results.json")
    assert results(job.parent)["training"]["reused"] is False
