"""What a person reads of a job that fails is our sentence, not Hydra's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus

from bcadv import hydra_patches
from bcadv.errors import BcadvError
from bcadv.run import main
from tests.jobs import tiny_overrides

Command = Callable[..., str]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command line whose jobs need no torch, and fail where sigma is 0."""

    def run(config: Any, folder: Path, origin: Any) -> None:
        (folder / "asked.txt").write_text(" ".join(origin.overrides))
        if config.sigma == 0:
            raise BcadvError("sigma=0 [is] not what was wanted: give another.")

    job = ModuleType("bcadv.job")
    job.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bcadv.job", job)
    monkeypatch.chdir(tmp_path)

    def ask(status: int | None, *line: str) -> str:
        # Hydra would set up the logging of the whole process; "disabled" would end all of it.
        quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
        more = tiny_overrides(tmp_path, "tracking.enabled=false", *quiet)
        monkeypatch.setattr("sys.argv", ["bcadv.run", *line, *more])
        ended = None
        try:
            main()
        except SystemExit as end:
            ended = end.code
        said = capsys.readouterr().err
        assert ended == status, said
        return said

    return ask


def test_a_job_that_fails_is_told_in_one_sentence(command: Command) -> None:
    opening, *said = command(2, "sigma=0").splitlines()
    assert opening.startswith("bcadv: baseline: train")
    assert said == ["bcadv: sigma=0 [is] not what was wanted: give another."]


def test_a_sweep_tells_of_a_failed_job_without_hydras_words(command: Command) -> None:
    said = command(1, "-m", "sigma=0,0.1")
    assert "Error executing" not in said
    assert "[1/2 sigma=0] failed: sigma=0 [is] not what was wanted" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("line", ["experiment=defense", "+experiment=defense"])
def test_an_experiment_needs_no_plus(command: Command, line: str, tmp_path: Path) -> None:
    command(None, line, "sigma=0.1")
    [asked] = tmp_path.glob("defense/*/asked.txt")
    assert asked.read_text().split()[0] == "+experiment=defense"


def test_what_a_job_returned_is_still_to_be_had() -> None:
    hydra_patches.apply()
    hydra_patches.apply()
    done = JobReturn(status=JobStatus.COMPLETED)
    done.return_value = 3
    assert done.return_value == 3
    with pytest.raises(AssertionError):
        _ = JobReturn().return_value
