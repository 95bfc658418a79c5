"""Jobs that are stopped or killed, and go on."""

from __future__ import annotations

import signal
from pathlib import Path

import pandas as pd
import pytest
import torch

from bcadv.job import run
from bcadv.models.classifier import Classifier
from bcadv.train import load
from tests.jobs import model_of, tiny_config, tiny_overrides, undrawn
from tests.processes import fork

FOUR = ("+experiment=defense", "trainer.max_epochs=4", "tracking.enabled=false")


def epochs(outputs: Path) -> int:
    files = list(outputs.glob("models/*/history.csv"))
    return len(pd.read_csv(files[0])) if files else 0


def job_folder(outputs: Path) -> Path:
    [found] = outputs.glob("defense/*")
    return found


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of a job that nobody stopped."""
    outputs = tmp_path_factory.mktemp("straight")
    with undrawn():
        run(tiny_config(outputs, *FOUR), outputs / "defense" / "it")
    return outputs


@pytest.mark.parametrize(
    "how",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGINT, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, marks=pytest.mark.long),
    ],
)
def test_a_stopped_job_goes_on_to_the_same_weights(
    tmp_path: Path, straight: Path, how: signal.Signals
) -> None:
    command = tiny_overrides(tmp_path, *FOUR)
    first = fork(tmp_path, command)
    first.until(lambda: epochs(tmp_path) >= 2)
    first.send(how)
    status = first.wait()
    if how != signal.SIGKILL:
        assert status == 130
        assert "resume=true" in first.said
        assert "Traceback" not in first.said
    reached = epochs(tmp_path)
    assert not list(tmp_path.glob("defense/*/results.json")), "it was stopped too late to test"

    second = fork(tmp_path, [*command, "resume=true"])
    assert second.wait() == 0, second.said
    assert (job_folder(tmp_path) / "results.json").is_file()
    assert len(list(tmp_path.glob("defense/*"))) == 1
    assert reached >= 2
    one, other = (
        Classifier(2, growth_rate=8, init_features=8, block_config=(2, 2)) for _ in range(2)
    )
    assert load(one, model_of(job_folder(straight)), "last") == 3
    assert load(other, model_of(job_folder(tmp_path)), "last") == 3
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    for table, read in (("history.csv", pd.read_csv), ("predictions.parquet", pd.read_parquet)):
        pd.testing.assert_frame_equal(
            read(job_folder(straight) / table), read(job_folder(tmp_path) / table)
        )

    written = (job_folder(tmp_path) / "results.json").read_bytes()
    again = fork(tmp_path, [*command, "resume=true"])
    assert again.wait() == 0, again.said
    assert "finished before; used as it is" in again.said
    assert (job_folder(tmp_path) / "results.json").read_bytes() == written


@pytest.mark.usefixtures("undrawn")
def test_a_training_that_was_killed_while_saving_goes_on(tmp_path: Path) -> None:
    """What was written beside the checkpoint never counts."""
    config = tiny_config(tmp_path, "trainer.max_epochs=1", "tracking.enabled=false")
    result = run(config, tmp_path / "baseline" / "it")
    entry = model_of(result.folder)
    saved = torch.load(entry.checkpoint("last"), weights_only=True)
    assert "optimizer_states" not in saved  # only a training needs it
    (entry.folder / "trained.json").unlink()
    for which in ("last", "best"):
        entry.checkpoint(which).rename(entry.checkpoint(which).with_suffix(".part"))
    again = run(config, tmp_path / "baseline" / "again")
    assert again.result.training.reused is False
    assert again.result.training.epochs == 1
