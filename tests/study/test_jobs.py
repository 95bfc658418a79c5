from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bcadv.errors import BcadvError
from bcadv.results.schema import Result, write_result
from bcadv.study.jobs import default_jobs, find_jobs, load_job, newest_of_each
from tests.report.jobs_on_disk import write_job

Written = tuple[Path, Result]


def _write(
    folder: Path, result: Result, *, data: Mapping[str, Any] | None = None, **run: Any
) -> None:
    folder.mkdir(parents=True)
    content = json.loads(write_result(result))
    content["run"] |= run
    content["data"] |= data or {}
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


def _on(source: str, content: str) -> dict[str, str]:
    return {"source": source, "content": content}


def test_by_default_jobs_of_one_data_set(job: Written, tmp_path: Path) -> None:
    places = [
        ("baseline/real", "one", "2025-01-01", _on("breakhis", "r")),
        ("baseline/painted", "one", "2025-04-01", _on("synthetic", "p")),
        ("defense/painted", "two", "2025-02-01", _on("synthetic", "p")),
        ("defense/real", "two", "2025-05-01", _on("breakhis", "r")),
        ("defense/other", "two", "2025-03-01", _on("breakhis", "s")),
    ]
    for place, experiment, finished, data in places:
        _write(tmp_path / place, job[1], experiment=experiment, finished=finished, data=data)
    jobs, left_out = default_jobs(tmp_path)
    # The newest of each experiment would be a defence on real images beside a baseline on painted.
    assert [found.folder for found in jobs] == [
        tmp_path / "baseline" / "real",
        tmp_path / "defense" / "real",
    ]
    assert len(left_out) == 2
    said = {"p": left_out[0], "s": left_out[1]}
    assert "data=synthetic instead of data=breakhis" in said["p"]
    for content, sentence in said.items():
        named = re.findall(r"runs=(\S+)", sentence)
        found, _ = find_jobs([Path(folder) for folder in named])
        wanted = [place for place, _, _, data in places if data["content"] == content]
        assert [str(each.folder.relative_to(tmp_path)) for each in found] == wanted


def test_a_sweep_over_data_is_not_one_comparison(job: Written, tmp_path: Path) -> None:
    sweep = tmp_path / "sweeps" / "2025"
    for number in range(4):
        data = _on("synthetic", "p") if number < 2 else _on("breakhis", "r")
        finished = f"2025-01-0{number + 1}"
        _write(sweep / str(number), job[1], job=number, finished=finished, data=data)
    jobs, left_out = default_jobs(tmp_path)
    assert [found.folder.name for found in jobs] == ["2", "3"]
    assert len(left_out) == 1
    # Every job of a sweep counts, not the newest of its experiment alone.
    assert re.findall(r"runs=(\S+)", left_out[0]) == [str(sweep / "0"), str(sweep / "1")]


def test_seeds_and_splits_of_one_data_set_stay_together(job: Written, tmp_path: Path) -> None:
    for number, split in enumerate(("paper", "patient", "patient")):
        data = {"content": "r", "split": split}
        _write(tmp_path / "sweeps" / "2025" / str(number), job[1], seed=number, data=data)
    jobs, left_out = default_jobs(tmp_path)
    assert (len(jobs), left_out) == (3, [])


def test_a_file_that_the_results_vouch_for_is_missed(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    write_job(folder, n=20)
    job = load_job(folder)
    assert job.unharmed("history.csv") == folder / "history.csv"
    (folder / "history.csv").unlink()
    with pytest.raises(BcadvError, match=r"history\.csv was removed since"):
        job.unharmed("history.csv")
    assert job.unharmed("gallery.npz") == folder / "gallery.npz"  # never was one
