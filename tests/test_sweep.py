"""Sweeps: each model trained once, whatever fails or is killed on the way."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from hydra import initialize_config_dir
from PIL import Image

from bcadv import run, sweep
from bcadv.config import validate
from bcadv.errors import BcadvError
from bcadv.keys import job_key
from bcadv.results.files import FAILED
from bcadv.run import compose_job, conf_dir, precheck, settings
from bcadv.sweep import Job, Sweep, judge
from tests.jobs import TINY
from tests.processes import fork
from tests.sweeps import (
    OUTPUTS,
    ended,
    models,
    results,
    stamps,
    the_sweep,
    tiny,
    trainings,
)

# Of an option that is given twice, the first place counts for the order: epsilon varies slowest.
EPSILONS_BY_SIGMAS = ["-m", *tiny("sigma=0,0.1", "eps_px=1,8")]
GRID_RUN = list(product([1, 8], [0, 0.1]))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Two models under two attacks: the folder, and what the command said."""
    cwd = tmp_path_factory.mktemp("swept")
    return cwd, ended(fork(cwd, EPSILONS_BY_SIGMAS))


GRID: dict[str, list[float]] = {
    "eps_px": [0, 0.25, 0.5, 1, 2, 4, 8, 16],
    "sigma": [0, 0.01, 0.02, 0.05, 0.1, 0.2],
    "seed": [0, 1, 2, 3, 4],
}


def planned(*overrides: str) -> Sweep:
    _, found = precheck([*tiny(), *overrides])
    assert found is not None
    return found


def points(found: Sweep, *names: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(job.raw[name] for name in names) for job in found.jobs)


@pytest.mark.parametrize(
    ("overlay", "names"),
    [
        ("epsilon", ["eps_px"]),
        ("sigma", ["sigma"]),
        ("epsilon_sigma", ["eps_px", "sigma"]),
        ("seed", ["seed"]),
    ],
)
def test_overlays_are_grids_and_need_no_flag(
    overlay: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # What a person gives for every job would replace the grid's own values.
    without = [item for item in tiny() if not item.startswith("eps_px=")]
    _, found = precheck([*without, f"+sweep={overlay}"])
    assert found is not None
    grid = [GRID[name] for name in names]
    assert points(found, *names) == sorted(product(*grid))
    assert all(job.mistake is None for job in found.jobs)


def test_every_overlay_is_tested() -> None:
    overlays = {path.stem for path in (conf_dir() / "sweep").glob("*.yaml")}
    # That over folds has as many jobs as options say: tests/test_run.py.
    assert overlays == {"epsilon", "sigma", "epsilon_sigma", "seed", "folds"}


def test_of_the_same_sweeps_the_newest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["+sweep=sigma", "sigma=0,0.1"]
    first = planned(*line)
    for year in (2001, 2999):
        shutil.copytree(first.folder, first.folder.parent / f"{year}-01-01")
    assert planned(*line).folder.name == "2999-01-01"
    anew = planned(*line, "reuse=false")
    assert (anew.begun, anew.folder.exists()) == (False, True)
    assert anew.folder.name not in {first.folder.name, "2001-01-01", "2999-01-01"}


def test_a_long_list_of_jobs_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = planned("+sweep=sigma", f"sigma={','.join(f'x{n}' for n in range(12))},0.1")
    assert capsys.readouterr().err.count(" cannot run: ") == 10
    said, status = found.summary()
    assert status == 1
    lines = said.splitlines()
    assert lines[0].startswith("0 of 13 jobs are done: ")
    assert lines[1].startswith("  [1/13 sigma=x0] sigma=x0 cannot be used")
    assert lines[11:] == ["  and 3 more", "The same command again does what is missing."]


def test_a_failure_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What an earlier command left was told by that."""
    jobs = tuple(Job((f"sigma={n}", "seed=0"), {}, None, None) for n in range(2))
    for number in range(2):
        (tmp_path / str(number)).mkdir()
    (tmp_path / "0" / FAILED).write_text("old\n")
    with Sweep(tmp_path, jobs, begun=True).watched():
        (tmp_path / "1" / FAILED).write_text("the cause\nand its traceback\n")
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("[2/2 sigma=1] failed: the cause The other jobs go on; the whole cause:")


def test_a_grid_can_be_changed_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = planned("+sweep=sigma", "sigma=0,0.1")
    assert points(first, "sigma") == [(0,), (0.1,)]
    same, other = planned("+sweep=sigma", "sigma=0,0.1"), planned("+sweep=sigma", "sigma=0,0.2")
    assert (same.folder, same.begun) == (first.folder, True)
    assert (other.folder == first.folder, other.begun) == (False, False)


def test_each_model_is_trained_once(swept: tuple[Path, str]) -> None:
    cwd, said = swept
    assert trainings(cwd) == [True, True, False, False]
    assert len(models(cwd)) == 2
    used = [results(the_sweep(cwd) / str(n))["training"]["fingerprint"] for n in range(4)]
    assert used[0] == used[2] != used[1] == used[3]
    assert "4 of 4 jobs are done" in said


def test_every_line_says_whose_it_is_and_a_table_ends_the_sweep(swept: tuple[Path, str]) -> None:
    lines = (swept[0] / "log-0.txt").read_text().splitlines()
    badges = [f"[{n}/4 eps_px={px} sigma={sigma}] " for n, (px, sigma) in enumerate(GRID_RUN, 1)]
    end = next(n for n, line in enumerate(lines) if line.strip().startswith("Accuracy (%)"))
    assert [line for line in lines[:end] if not line.startswith(("bcadv: ", *badges))] == []
    # Progress and notes, of a model that is trained and of one that is taken.
    for badge, what in ((badges[1], "epoch 1 of 2: train_loss"), (badges[3], "Model ")):
        assert [line for line in lines if line.startswith(f"{badge}{what}")]
    for number, (px, sigma) in enumerate(GRID_RUN):
        [row] = [line.split() for line in lines[end:] if line.split()[:1] == [str(number + 1)]]
        rows = results(the_sweep(swept[0]) / str(number))["rows"]
        measured = {r["condition"]: r for r in rows if r["batchnorm"] == "as_trained"}
        clean, attacked = (
            f"{100 * measured[name]['metrics']['accuracy']['value']:.1f}"
            for name in ("clean", f"fgsm_linf_{px}")
        )
        assert row[:4] == [str(number + 1), str(px), str(sigma), clean]
        assert attacked in row[4:]


def test_every_job_says_which_it_is(swept: tuple[Path, str]) -> None:
    folder = the_sweep(swept[0])
    for number, (eps_px, sigma) in enumerate(GRID_RUN):
        ran = results(folder / str(number))["run"]
        assert (ran["sweep"], ran["job"]) == (folder.name, number)
        assert not any(item.startswith(("-m", "+sweep", "hydra.")) for item in ran["overrides"])
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = validate(settings(compose_job(ran["overrides"])))
        assert (config.sigma, config.eps_px) == (sigma, (eps_px,))


def test_a_finished_sweep_is_left_as_it_is(swept: tuple[Path, str]) -> None:
    cwd, _ = swept
    before = stamps(the_sweep(cwd)), stamps(cwd / OUTPUTS / "models")
    said = ended(fork(cwd, EPSILONS_BY_SIGMAS))
    assert "4 of 4 jobs are done" in said
    after = stamps(the_sweep(cwd)), stamps(cwd / OUTPUTS / "models")
    changed = {name for name, when in after[0].items() if before[0].get(name) != when}
    assert changed <= {"sweep.json", "multirun.yaml"}
    assert before[1] == after[1]


@pytest.mark.long
def test_reuse_false_trains_anew_beside_the_store(swept: tuple[Path, str]) -> None:
    cwd, _ = swept
    before = stamps(cwd / OUTPUTS / "models")
    ended(fork(cwd, tiny("sigma=0.1", "eps_px=8", "reuse=false")))
    [job] = (cwd / OUTPUTS / "defense").iterdir()
    assert results(job)["training"]["reused"] is False
    assert (job / "model" / "last.ckpt").is_file()
    assert stamps(cwd / OUTPUTS / "models") == before
    # The same model all the same: nothing but where it lies is different.
    stored = the_sweep(cwd) / "3"
    assert results(job)["training"]["fingerprint"] == results(stored)["training"]["fingerprint"]
    pd.testing.assert_frame_equal(
        pd.read_parquet(job / "predictions.parquet"),
        pd.read_parquet(stored / "predictions.parquet"),
    )


def write_images(root: Path, *, broken: bool, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for label in ("benign", "malignant"):
        folder = root / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(12):
            pixels = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    if broken:
        (root / "benign" / "3.png").write_bytes(b"no image")


@pytest.mark.long
def test_a_failed_job_is_said_at_once_and_done_when_mended(tmp_path: Path) -> None:
    write_images(tmp_path / "one", broken=True)
    write_images(tmp_path / "two", broken=False)
    command = [
        *("-m", "data=folder", "data.root=one,two", "data.split=paper", "data.resize=null"),
        *TINY,
        *("model.weights=null", "tracking.enabled=false", f"paths.outputs={OUTPUTS}"),
    ]
    failing = fork(tmp_path, command)
    assert failing.wait() == 1, failing.said
    folder = the_sweep(tmp_path)
    cause = (folder / "0" / "failed.txt").read_text()
    assert "3.png" in cause
    said = failing.said
    failed = said.index("[1/2 data.root=one] failed:")
    assert "3.png" in said[failed : failed + 300]
    assert failed < said.index("Results, predictions and page")
    assert "Traceback" not in said
    assert "1 of 2 jobs are done" in said
    assert not (folder / "0" / "results.json").exists()

    good = stamps(folder / "1")
    write_images(tmp_path / "one", broken=False)
    assert "2 of 2 jobs are done" in ended(fork(tmp_path, command))
    assert not (folder / "0" / "failed.txt").exists()
    assert sum(results(folder / "0")["data"]["counts"]["test"].values()) > 0
    now = stamps(folder / "1")
    assert {name: now[name] for name in ("results.json", "predictions.parquet")} == {
        name: good[name] for name in ("results.json", "predictions.parquet")
    }

    # Results of images that are no longer there are not those of this command.
    trained_on = results(folder / "0")["training"]["fingerprint"]
    write_images(tmp_path / "one", broken=False, seed=1)
    said = ended(fork(tmp_path, command))
    assert "1 of 2 jobs are done" in said
    assert results(folder / "0")["training"]["fingerprint"] != trained_on
    assert stamps(folder / "1")["results.json"] == good["results.json"]


@pytest.mark.long
def test_a_wrong_value_is_said_first_and_the_other_jobs_run(tmp_path: Path) -> None:
    command = fork(tmp_path, ["-m", *tiny("sigma=abc,0.1", "eps_px=8")])
    assert command.wait() == 1, command.said
    said = command.said
    wrong = said.index("[1/2 sigma=abc] cannot run: sigma=abc")
    assert wrong < said.index("[2/2 sigma=0.1] defense: train")
    assert "1 of 2 jobs are done" in said
    assert "Traceback" not in said
    assert results(the_sweep(tmp_path) / "1")["training"]["shape"]["sigma"] == 0.1


def test_folders_of_other_names_are_refused() -> None:
    with pytest.raises(BcadvError, match=r"hydra\.sweep\.subdir=job_.*leave the option out"):
        precheck(tiny("sigma=0,0.1", "hydra.sweep.subdir=job_${hydra.job.num}"), multirun=True)


def test_nothing_but_wrong_values_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BcadvError, match="sigma=abc"):
        precheck(tiny("sigma=abc,-1"), multirun=True)
    assert list(tmp_path.iterdir()) == []


class UnpicklableError(Exception):
    """Pickles, and fails to unpickle: so do some exceptions of libraries."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


def test_a_failure_reaches_the_parent_process_whatever_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raised: list[Exception] = []

    def fail(*_: object) -> None:
        raise UnpicklableError("too", "bad")

    task = run.task

    def watched(cfg: Any) -> None:
        try:
            task(cfg)
        except Exception as error:
            raised.append(error)
            raise

    arguments = ["bcadv.run", "-m", *tiny("sigma=0,0.1")]
    with (
        patch("bcadv.job.run", fail),
        patch.object(run, "task", watched),
        patch("sys.argv", arguments),
        pytest.raises(SystemExit) as end,
    ):
        run.main()
    assert end.value.code == 1
    assert len(raised) == 2
    for error in raised:
        assert "too bad" in str(pickle.loads(pickle.dumps(error)))
    assert "too bad" in (the_sweep(tmp_path) / "0" / FAILED).read_text()


@pytest.mark.parametrize(
    ("harm", "done"),
    [
        (lambda folder: None, True),
        (lambda folder: (folder / "failed.txt").touch(), False),
        (lambda folder: (folder / "results.json").unlink(), False),
        (lambda folder: _without_numbers(folder / "results.json"), False),
        (lambda folder: (folder / "results.json").write_text("{}"), False),
        (lambda folder: (folder / "predictions.parquet").write_bytes(b""), False),
        (lambda folder: (folder / "split.csv").unlink(), False),
    ],
    ids=["whole", "failed", "gone", "null", "empty", "damaged", "incomplete"],
)
def test_what_a_report_would_refuse_is_not_done(
    swept: tuple[Path, str], tmp_path: Path, harm: Callable[[Path], object], done: bool
) -> None:
    job = shutil.copytree(the_sweep(swept[0]) / "0", tmp_path / "0")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = settings(compose_job(results(job)["run"]["overrides"]))
    harm(job)
    assert sweep.finished(job, raw) is done


@pytest.mark.parametrize("tracked", [True, False])
def test_a_job_that_mlflow_lacks_is_said(swept: tuple[Path, str], tracked: bool) -> None:
    folder = the_sweep(swept[0])
    overrides = results(folder / "0")["run"]["overrides"]
    more = [f"paths.outputs={swept[0] / OUTPUTS}", f"tracking.enabled={str(tracked).lower()}"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        job = judge(overrides, settings(compose_job([*overrides, *more])))
    said, status = Sweep(folder, (job,), begun=True).summary()
    assert status == 0
    assert ("1 of them are not complete in MLflow" in said) == tracked


def test_an_output_folder_may_be_moved(swept: tuple[Path, str], tmp_path: Path) -> None:
    """Also where the images were painted into it."""
    job = the_sweep(swept[0]) / "0"
    overrides = results(job)["run"]["overrides"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        here, there = (
            settings(compose_job([*overrides, f"paths.outputs={place}"]))
            for place in (swept[0] / OUTPUTS, tmp_path / "elsewhere")
        )
        other = settings(compose_job([*overrides, "data.root=elsewhere"]))
    assert here["data"]["root"] != there["data"]["root"]
    assert job_key(here) == job_key(there)
    assert sweep.finished(job, there)
    folders = [{**raw, "data": {**raw["data"], "source": "folder"}} for raw in (here, there, other)]
    assert job_key(folders[0]) == job_key(folders[1]) != job_key(folders[2])


def _without_numbers(path: Path) -> None:
    content = json.loads(path.read_text())
    for row in content["rows"]:
        for measure in row["metrics"].values():
            measure["value"] = None
    path.write_text(json.dumps(content))
