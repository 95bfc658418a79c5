from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from bcadv.errors import BcadvError
from bcadv.report.figures import draw_all
from bcadv.report.style import SYNTHETIC_MARK
from tests.report.studies import write_run

Job = tuple[Path, dict[str, Any]]
NAMES = ["robustness_curve", "training", "noise", "adversarial"]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("job") / "one"
    write_run(folder)
    return folder, json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drawn") / "job"
    write_run(folder)
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
    for path in drawn:
        if path.suffix == ".svg":
            assert f">{SYNTHETIC_MARK}</text>" in path.read_text(encoding="utf-8")


def test_real_images_are_not_marked_and_absent_files_are_no_mistake(tmp_path: Path) -> None:
    write_run(tmp_path / "job", synthetic=False)
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


def test_damaged_history_is_named(job: Job, tmp_path: Path) -> None:
    shutil.copy(job[0] / "results.json", tmp_path)
    (tmp_path / "history.csv").write_text("epoch,train_loss\n0,1\n", encoding="utf-8")
    with pytest.raises(BcadvError, match=r"history\.csv lacks the column.*train_accuracy"):
        draw_all(tmp_path)
    (tmp_path / "history.csv").write_bytes(b"")
    with pytest.raises(BcadvError, match=r"history\.csv cannot be read"):
        draw_all(tmp_path)
