from __future__ import annotations

from pathlib import Path

import pytest

from bcadv.results.schema import Result
from tests.report.jobs_on_disk import write_job


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A finished job with two BatchNorm variants: its folder and its results. Do not change it."""
    folder = tmp_path_factory.mktemp("jobs") / "one"
    return folder, write_job(folder, variants=("as_trained", "clean"))
