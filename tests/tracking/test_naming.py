"""What a run is called."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bcadv.tracking.naming import run_name, source_tags

NOISE: dict[str, Any] = {"injection.perturbation": "gaussian", "sigma": 0.1, "seed": 0}


def sweep(folder: Path, jobs: Sequence[Sequence[str]]) -> list[Path]:
    """The record of a sweep, and the folders of its jobs."""
    folder.mkdir(parents=True)
    record = {
        "command": "",
        "jobs": [{"overrides": job, "key": str(n)} for n, job in enumerate(jobs)],
    }
    (folder / "sweep.json").write_text(json.dumps(record))
    return [folder / str(number) for number in range(len(jobs))]


@pytest.mark.parametrize(
    ("params", "name"),
    [
        (NOISE, "defense σ=0.1 seed=0"),
        (NOISE | {"sigma": 0.0}, "defense σ=0 seed=0"),
        (NOISE | {"injection.probability": 0}, "defense seed=0"),
        ({"injection.perturbation": None, "sigma": 0.1, "seed": 3}, "defense seed=3"),
        ({}, "defense"),
    ],
)
def test_a_job_is_called_by_what_was_done(params: Mapping[str, Any], name: str) -> None:
    assert run_name("defense", params, Path("outputs/defense/2026-01-31_12-00-00")) == name


def test_jobs_of_a_sweep_are_told_apart_by_what_varies(tmp_path: Path) -> None:
    same = ["+experiment=defense", "data.crop=32"]
    jobs = [[*same, f"sigma={s}", f"eps_px={e}"] for s in (0, 0.1) for e in (1, 4)]
    folders = sweep(tmp_path / "sweeps" / "it", jobs)
    names = [
        run_name("defense", NOISE | {"sigma": sigma}, folder)
        for sigma, folder in zip((0, 0, 0.1, 0.1), folders, strict=True)
    ]
    assert names == [
        "#0 defense σ=0 seed=0 eps_px=1",
        "#1 defense σ=0 seed=0 eps_px=4",
        "#2 defense σ=0.1 seed=0 eps_px=1",
        "#3 defense σ=0.1 seed=0 eps_px=4",
    ]


def test_jobs_of_two_questions_name_theirs_once(tmp_path: Path) -> None:
    folders = sweep(tmp_path / "it", [["+experiment=baseline"], ["+experiment=defense"]])
    assert run_name("baseline", {"seed": 0}, folders[0]) == "#0 baseline seed=0"
    assert run_name("defense", NOISE, folders[1]) == "#1 defense σ=0.1 seed=0"
    assert run_name("mine", {"seed": 0}, folders[0]) == "#0 mine seed=0 experiment=baseline"


def test_a_sweep_without_a_record_still_numbers_its_jobs(tmp_path: Path) -> None:
    assert run_name("defense", NOISE, tmp_path / "7") == "#7 defense σ=0.1 seed=0"
    for text in ("{", "[]", '{"jobs": [{}]}', '{"jobs": []}'):
        (tmp_path / "sweep.json").write_text(text)
        assert run_name("defense", NOISE, tmp_path / "7") == "#7 defense σ=0.1 seed=0"


def test_a_name_is_short_and_one_line(tmp_path: Path) -> None:
    jobs = [
        [f"data.root=/{'x' * 300}{n}", *(f"a{k}=\x1b[31m{n}" for k in range(40))] for n in (0, 1)
    ]
    folders = sweep(tmp_path / "it", jobs)
    names = [run_name("defense", NOISE, folder) for folder in folders]
    assert len(set(names)) == 2
    assert all(len(name) <= 250 and name.isprintable() for name in names)


def test_the_source_is_shown_with_its_commit() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert source_tags({"git_commit": f"{commit}-dirty"})["mlflow.source.git.commit"] == commit
    for unknown in ({}, {"git_commit": "unknown"}):
        assert set(source_tags(unknown)) == {"mlflow.source.name", "mlflow.source.type"}
