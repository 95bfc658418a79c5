"""Sweeps through Hydra's launchers: several processes, each model trained once all the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from hydra import initialize_config_dir
from mlflow import MlflowClient

from bcadv.explain import _EXTRAS, explain
from bcadv.run import compose_job, conf_dir, settings
from bcadv.tracking.store import store_uri
from tests.processes import fork, start
from tests.sweeps import (
    OUTPUTS,
    ended,
    epochs,
    half_trained,
    is_marked,
    mark,
    models,
    results,
    stamps,
    the_sweep,
    tiny,
    trainings,
)

LAUNCHERS = {
    "joblib": "hydra_joblib_launcher",
    "slurm": "hydra_submitit_launcher",
    "slurm_local": "hydra_submitit_launcher",
    "ray": "hydra_ray_launcher",
}
"""Our overlay -> the plugin that it needs."""


def compose(*overrides: str) -> Any:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose_job(overrides)


def test_every_overlay_is_tested() -> None:
    assert {path.stem for path in (conf_dir() / "launcher").glob("*.yaml")} == set(LAUNCHERS)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_an_overlay_chooses_the_launcher_and_nothing_else(name: str) -> None:
    plain = compose("+experiment=defense", "+sweep=sigma")
    chosen = compose("+experiment=defense", "+sweep=sigma", f"+launcher={name}")
    assert LAUNCHERS[name] in chosen.hydra.launcher._target_
    assert chosen.hydra.sweeper == plain.hydra.sweeper
    # Equal settings, equal keys: a sweep goes on under another launcher.
    assert settings(chosen) == settings(plain)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_an_overlay_needs_no_flag(name: str) -> None:
    cfg = compose(f"+launcher={name}", "+experiment=baseline")
    assert str(cfg.hydra.mode).endswith("MULTIRUN")


def test_what_slurm_is_asked_for_can_be_set() -> None:
    wanted = {
        "partition": "gpu",
        "account": "pathology",
        "timeout_min": 30,
        "gpus_per_node": 1,
        "cpus_per_task": 8,
        "mem_gb": 32,
        "array_parallelism": 4,
    }
    given = [f"hydra.launcher.{key}={value}" for key, value in wanted.items()]
    launcher = compose("+launcher=slurm", *given).hydra.launcher
    assert {key: launcher[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("name", "extra"), [("joblib", "joblib"), ("slurm", "slurm"), ("ray", "ray")]
)
def test_a_missing_plugin_is_named(name: str, extra: str, tmp_path: Path) -> None:
    # An empty package of this name hides the plugins that are installed here.
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "__init__.py").touch()
    here = Path(__file__).parent.parent
    command = start(tmp_path, [f"+launcher={name}", "sigma=0,0.1"], PYTHONPATH=f"{tmp_path}:{here}")
    assert command.wait() == 2
    assert command.said.startswith("bcadv: this launcher needs a plugin that is not installed")
    assert f"'bcadv[{extra}]'" in command.said
    assert len(command.log.read_text().splitlines()) == 1
    assert not (tmp_path / OUTPUTS).exists()


def test_every_launcher_belongs_to_an_extra() -> None:
    for name in LAUNCHERS:
        text = (conf_dir() / "launcher" / f"{name}.yaml").read_text()
        [chosen] = [x.split(": ")[1] for x in text.splitlines() if "override /hydra/launcher" in x]
        assert f"'bcadv[{_EXTRAS[chosen]}]'" in text


def test_an_unknown_launcher_is_answered_with_the_known() -> None:
    error = "Could not find 'hydra/launcher/abc' Available options in 'hydra/launcher': basic"
    assert explain(ValueError(error), []) == (
        "there is no hydra/launcher/abc: hydra/launcher can be basic."
    )


def further(cwd: Path, before: dict[Path, int]) -> bool:
    """Whether an unfinished model has an epoch more than it had."""
    return any(len(epochs(model)) > before.get(model, 0) for model in half_trained(cwd))


@pytest.mark.long
def test_joblib_survives_a_break_and_a_kill(tmp_path: Path) -> None:
    command = [
        "+launcher=joblib",
        *tiny("sigma=0,0.1", "eps_px=1,8", "trainer.max_epochs=30"),
    ]
    marked: set[Path] = set()
    for how in (signal.SIGINT, signal.SIGKILL):
        before = {model: len(epochs(model)) for model in half_trained(tmp_path)}
        stopped = start(tmp_path, command)
        stopped.until(partial(further, tmp_path, before))
        stopped.send(how)
        status = stopped.wait()
        assert status == (130 if how == signal.SIGINT else -signal.SIGKILL), stopped.said
        left = set(half_trained(tmp_path))
        assert left, "it was stopped too late to test"
        for model in left - marked:
            mark(model)
        marked |= left
    said = ended(start(tmp_path, command))
    assert "4 of 4 jobs are done" in said
    assert len(models(tmp_path)) == 2
    for model in models(tmp_path):
        assert epochs(model) == list(range(30))
        assert is_marked(model) == (model in marked)
    # Whoever trained them, four jobs trained two models.
    assert sum(trainings(tmp_path)) == 2
    assert len(trainings(tmp_path)) == 4
    assert "Traceback" not in said


RATES = tiny("eps_px=8", "optimizer.lr=0.001,0.002,1e25", "tracking.enabled=true")
"""The last job fails in the middle of its work: no weights survive such a learning rate."""


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep with a job that is done, one that is missing with its model, and one that failed."""
    cwd = tmp_path_factory.mktemp("half")
    assert fork(cwd, ["-m", *RATES]).wait() == 1
    missing = the_sweep(cwd) / "1"
    shutil.rmtree(cwd / OUTPUTS / "models" / results(missing)["training"]["fingerprint"])
    shutil.rmtree(missing)
    return cwd


@pytest.mark.long
@pytest.mark.parametrize("name", ["joblib", "slurm_local", "ray"])
def test_a_launcher_does_what_is_missing_whatever_fails_beside_it(
    name: str, half_done: Path, tmp_path: Path
) -> None:
    cwd = Path(shutil.copytree(half_done, tmp_path / "cwd"))
    done = stamps(the_sweep(cwd) / "0")
    # A socket's path must be short, which pytest's folders are not.
    scratch = Path("/tmp") / f"ray-{os.getpid()}"
    more = [f"+hydra.launcher.ray.init._temp_dir={scratch}"] if name == "ray" else []
    token = token_hex(32)  # else one is kept in the home folder
    try:
        sweep = start(cwd, [*RATES, f"+launcher={name}", *more], RAY_AUTH_TOKEN=token)
        assert sweep.wait() == 1, sweep.said
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        assert str(scratch) not in listed.stdout
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    assert "1 of 3 jobs are done" in sweep.said
    assert "2 of 3 jobs are done" in sweep.said
    for job in ("[3/3 optimizer.lr=1e+25] failed:", "[3/3 optimizer.lr=1e+25]"):
        assert f"{job} The training diverged in epoch 1 of 2" in sweep.said
    assert "Traceback" not in sweep.said
    logs = [sweep.log, *the_sweep(cwd).glob(".submitit/*/*_log.err")]
    told = [
        line
        for log in logs
        for line in log.read_text().splitlines()
        if "epoch 1 of 2: train_loss" in line
    ]
    assert told
    assert all("[2/3 optimizer.lr=0.002] epoch" in line for line in told), told
    ran = results(the_sweep(cwd) / "1")
    assert ran["training"]["reused"] is False
    assert ran["run"]["job"] == 1
    assert "optimizer.lr=0.002" in ran["run"]["overrides"]
    assert "launcher" not in ran["run"]["command"]
    assert stamps(the_sweep(cwd) / "0")["results.json"] == done["results.json"]
    assert bool(list(the_sweep(cwd).glob(".submitit/*/*_log.err"))) == (name == "slurm_local")
    client = MlflowClient(store_uri(cwd / OUTPUTS))
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert Counter((run.data.params["optimizer.lr"], run.info.status) for run in runs) == {
        ("0.001", "FINISHED"): 1,
        ("0.002", "FINISHED"): 2,  # that of the folder that was removed is history
        ("1e+25", "FAILED"): 1,
    }
