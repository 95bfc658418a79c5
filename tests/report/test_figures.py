from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from bcadv.errors import BcadvError
from bcadv.report.figures import draw_all
from bcadv.report.style import SYNTHETIC_MARK
from tests.report.jobs_on_disk import write_job

Job = tuple[Path, dict[str, Any]]
NAMES = ["robustness_curve", "training", "noise", "adversarial"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drawn") / "job"
    write_job(folder)
    return draw_all(folder)


def test_every_figure_is_drawn_twice(drawn: list[Path]) -> None:
    assert [path.name for path in drawn] == [
        f"{name}.{ending}" for name in NAMES for ending in ("png", "svg")
    ]
    for path in drawn:
        assert path.parent.name == "figures"
        if path.suffix == ".png":
            assert imread(path)[..., :3].std() > 0.02


def test_made_up_images_are_marked_in_every_figure(drawn: list[Path]) -> None:
    # Text is drawn as outlines; each SVG keeps the words as a comment beside them.
    for path in drawn:
        if path.suffix == ".svg":
            assert f"<!-- {SYNTHETIC_MARK} -->" in path.read_text(encoding="utf-8")


def test_real_images_are_not_marked_and_absent_files_are_no_mistake(tmp_path: Path) -> None:
    write_job(tmp_path / "job", synthetic=False)
    (tmp_path / "job" / "history.csv").unlink()
    (tmp_path / "job" / "examples.npz").unlink()
    png, svg = draw_all(tmp_path / "job")
    assert png.name == "robustness_curve.png"
    assert SYNTHETIC_MARK not in svg.read_text(encoding="utf-8")


def test_the_same_files_give_the_same_bytes(job: Job, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        shutil.copy(job[0] / "results.json", tmp_path / name)
    for a, b in zip(draw_all(tmp_path / "a"), draw_all(tmp_path / "b"), strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_a_job_that_attacked_nothing_has_no_curve(job: Job, tmp_path: Path) -> None:
    results = job[1] | {"perturbed": []}
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    assert draw_all(tmp_path) == []


def test_damaged_examples_are_named(job: Job, tmp_path: Path) -> None:
    shutil.copy(job[0] / "results.json", tmp_path)
    np.savez(tmp_path / "examples.npz", image=np.zeros((1, 3, 4, 4), np.uint8))
    with pytest.raises(BcadvError, match=r"examples\.npz lacks the array.*noisy, sigma"):
        draw_all(tmp_path)
    (tmp_path / "examples.npz").write_bytes(b"no archive")
    with pytest.raises(BcadvError, match=r"examples\.npz cannot be read"):
        draw_all(tmp_path)


def test_neither_package_loads_torch_the_trainer_the_tracker_or_pyplot() -> None:
    code = (
        "import sys, bcadv.report.__main__, bcadv.report.figures, bcadv.metrics.robustness;"
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('torch', 'pytorch_lightning', 'lightning', 'mlflow') or m == 'matplotlib.pyplot'])"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
