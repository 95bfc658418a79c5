from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from bcadv.errors import BcadvError
from bcadv.results.schema import Result, write_result
from bcadv.study.jobs import default_jobs, find_jobs, load_job, newest_of_each
from tests.report.jobs_on_disk import write_job

Written = tuple[Path, Result]


def _write(folder: Path, result: Result, **run: Any) -> None:
    folder.mkdir(parents=True)
    content = json.loads(write_result(result))
    content["run"] |= run
    (folder / "results.json").write_text(json.dumps(content), encoding="utf-8")


def test_find_keeps_finished_jobs_once_and_names_the_rest(job: Written, tmp_path: Path) -> None:
    _write(tmp_path / "good", job[1])
    _write(tmp_path / "unfinished", job[1], finished=None)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "results.json").write_text('{"schema_version": 9}', encoding="utf-8")
    shutil.copytree(tmp_path / "good", tmp_path / "copies" / "of" / "tracker")
    (tmp_path / "killed" / ".hydra").mkdir(parents=True)
    jobs, left_out = find_jobs([tmp_path, tmp_path / "good", tmp_path / "." / "good"])
    assert [found.folder.name for found in jobs] == ["good"]
    assert len(left_out) == 3
    for word in ("run.finished", "schema version 9", f"{tmp_path / 'killed'} has no results"):
        assert word in " ".join(left_out)


def test_jobs_that_a_sweep_planned_and_never_ran_are_named(job: Written, tmp_path: Path) -> None:
    for number in (0, 2, 10):
        _write(tmp_path / str(number), job[1], job=number)
    record = {"jobs": [{"key": "0"}] * 11}
    (tmp_path / "sweep.json").write_text(json.dumps(record), encoding="utf-8")
    jobs, left_out = find_jobs([tmp_path])
    assert [found.folder.name for found in jobs] == ["0", "2", "10"]
    assert len(left_out) == 8
    assert f"{tmp_path / '1'} is missing" in left_out[0]


def test_folders_of_tracker_and_models_are_not_entered(
    job: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "good", job[1])
    for name in ("mlartifacts", "models", "cache", ".git"):
        _write(tmp_path / name / "deep" / "er", job[1], name=name)
    entered: list[str] = []
    scandir = os.scandir

    def watch(path: Any) -> Any:
        entered.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", watch)
    assert len(find_jobs([tmp_path])[0]) == 1
    assert not [path for path in entered if "deep" in path]


def test_newest_of_each_experiment(job: Written, tmp_path: Path) -> None:
    _write(tmp_path / "a", job[1], experiment="one", finished="2025-03-01")
    _write(tmp_path / "b", job[1], experiment="one", finished="2025-02-01")
    _write(tmp_path / "c", job[1], experiment="two", finished="2025-01-01")
    jobs = newest_of_each(find_jobs([tmp_path])[0])
    assert [found.folder.name for found in jobs] == ["a", "c"]


def test_by_default_the_newest_sweep_with_a_finished_job(job: Written, tmp_path: Path) -> None:
    _write(tmp_path / "baseline" / "x", job[1], experiment="one", finished="2025-03-01")
    _write(tmp_path / "baseline" / "y", job[1], experiment="one", finished="2025-04-01")
    assert [found.folder.name for found in default_jobs(tmp_path)[0]] == ["y"]
    _write(tmp_path / "sweeps" / "2025-01" / "0", job[1], job=0, finished="2025-05-01")
    _write(tmp_path / "sweeps" / "2025-01" / "1", job[1], job=1, finished="2025-05-02")
    _write(tmp_path / "sweeps" / "2025-02" / "0", job[1], finished=None)
    jobs, _ = default_jobs(tmp_path)
    assert [str(found.folder.relative_to(tmp_path / "sweeps")) for found in jobs] == [
        "2025-01/0",
        "2025-01/1",
    ]
    _write(tmp_path / "defense" / "z", job[1], experiment="two", finished="2025-06-01")
    assert [found.folder.name for found in default_jobs(tmp_path)[0]] == ["y", "z"]


def test_a_file_that_the_results_vouch_for_is_missed(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    write_job(folder, n=20)
    job = load_job(folder)
    assert job.unharmed("history.csv") == folder / "history.csv"
    (folder / "history.csv").unlink()
    with pytest.raises(BcadvError, match=r"history\.csv was removed since"):
        job.unharmed("history.csv")
    assert job.unharmed("gallery.npz") == folder / "gallery.npz"  # never was one
