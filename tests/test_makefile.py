"""The targets a person finds with `make`."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.conftest import REPOSITORY

TARGETS = {
    "setup",
    "demo",
    "data",
    "baseline",
    "defense",
    "paper",
    "sweep-epsilon",
    "sweep-sigma",
    "sweep-epsilon-sigma",
    "sweep-seed",
    "sync",
    "models",
    "prune",
    "report",
    "ui",
    "test",
    "test-all",
    "lint",
    "types",
    "docs",
    "notebooks",
    "bench",
    "clean",
}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_every_target_with_a_line() -> None:
    done = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    listed = dict(line.strip().split(maxsplit=1) for line in done.stdout.splitlines())
    assert set(listed) >= TARGETS
    assert all(len(words) > 10 for words in listed.values())
