from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bcadv.errors import BcadvError
from bcadv.report.jobs import find_jobs, load_job, newest_of_each

Job = tuple[Path, dict[str, Any]]


def _write(folder: Path, results: Any, **run: Any) -> None:
    folder.mkdir(parents=True)
    if isinstance(results, dict) and "run" in results:
        results = results | {"run": results["run"] | run}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "schema version None"),
        ('{"schema_version": 2}', "schema version 2, this program reads 1"),
        ('{"schema_version": 1, "run": {}, "data": {}}', "lacks clean, perturbed"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "results.json").write_text(content, encoding="utf-8")
    with pytest.raises(BcadvError, match=message) as caught:
        load_job(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_find_keeps_finished_jobs_once_and_names_the_rest(job: Job, tmp_path: Path) -> None:
    _write(tmp_path / "good", job[1])
    _write(tmp_path / "unfinished", job[1], finished=None)
    _write(tmp_path / "other", {"schema_version": 9})
    shutil.copytree(tmp_path / "good", tmp_path / "artifacts" / "of" / "tracker")
    jobs, left_out = find_jobs([tmp_path, tmp_path / "good"])
    assert [found.folder.name for found in jobs] == ["good"]
    assert len(left_out) == 2
    assert "did not finish" in " ".join(left_out)
    assert "schema version 9" in " ".join(left_out)


def test_newest_of_each_experiment(job: Job, tmp_path: Path) -> None:
    _write(tmp_path / "a", job[1], experiment="one", finished="2025-03-01")
    _write(tmp_path / "b", job[1], experiment="one", finished="2025-02-01")
    _write(tmp_path / "c", job[1], experiment="two", finished="2025-01-01")
    jobs = newest_of_each(find_jobs([tmp_path])[0])
    assert [found.folder.name for found in jobs] == ["a", "c"]


def test_predictions_that_are_gone_are_named(job: Job, tmp_path: Path) -> None:
    _write(tmp_path / "a", job[1])
    with pytest.raises(BcadvError, match=r"predictions\.parquet cannot be read"):
        load_job(tmp_path / "a").predictions(["image_id"])
