"""The conf tree composes, and what cannot be used is answered in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from bcadv.config import Config
from bcadv.errors import BcadvError
from bcadv.explain import explain, option_names
from bcadv.run import conf_dir, main, precheck
from tests.jobs import compose_config
from tests.processes import fork

OPTIONS = ["sigma", "eps_px", "data.batch_size", "trainer.max_epochs"]


def complaint(*overrides: str) -> str:
    with pytest.raises((BcadvError, HydraException, OmegaConfBaseException)) as caught:
        precheck(list(overrides))
    error = caught.value
    return str(error) if isinstance(error, BcadvError) else explain(error, OPTIONS)


@pytest.mark.parametrize("experiment", ["baseline", "defense"])
def test_every_experiment_composes(experiment: str) -> None:
    config = compose_config(f"+experiment={experiment}")
    assert config.experiment == experiment
    assert (config.injection.perturbation is not None) == (experiment == "defense")
    assert config.eps_px == (0, 0.25, 0.5, 1, 2, 4, 8, 16)


def test_defense_reports_both_readings_of_batchnorm() -> None:
    assert compose_config("+experiment=defense").batchnorm == ("as_trained", "clean")


def test_real_data_takes_the_papers_settings(tmp_path: Path) -> None:
    config = compose_config("+experiment=defense", "data=breakhis", f"data.root={tmp_path}")
    assert (config.trainer.max_epochs, config.optimizer.lr) == (400, 0.001)
    assert (config.data.batch_size, config.data.crop) == (32, 224)
    assert config.model.weights == "densenet121-res224-all"
    assert config.model_dump()["data"]["subtypes"] == "paper"


def test_the_embedded_default_needs_no_download() -> None:
    config = compose_config()
    assert config.data.source == "synthetic"
    assert config.model.weights is None


def test_a_network_that_is_chosen_counts_before_that_of_the_source(tmp_path: Path) -> None:
    def layers(*overrides: str) -> int:
        return sum(compose_config(*overrides).model.model_dump()["block_config"])

    assert layers() < layers("model=densenet121") == 58
    assert layers("data=breakhis", f"data.root={tmp_path}") == 58
    assert compose_config("model=densenet121").model.weights is None, "no download for a demo"


def test_every_option_of_the_schema_is_a_known_one() -> None:
    """A conf file cannot name an option that the schema lacks: composing it would fail."""
    for data in (path.stem for path in (conf_dir() / "data").glob("*.yaml")):
        root = [] if data == "synthetic" else [f"data={data}", f"data.root={conf_dir()}"]
        assert isinstance(compose_config(*root), Config)


def test_a_single_value_stands_for_a_list() -> None:
    config = compose_config("eps_px=4", "batchnorm=clean")
    assert (config.eps_px, config.batchnorm) == ((4.0,), ("clean",))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["sigma=abc"], ["sigma=abc", "Give a number"]),
        (["sigma=-0.1"], ["sigma=-0.1", "Give a number"]),
        (["sigma=nan"], ["sigma=nan"]),
        (["eps_px=-1"], ["eps_px=-1", "grey levels"]),
        (["eps_px=[]"], ["eps_px", "grey levels"]),
        (["data.batch_size=0"], ["data.batch_size=0", "at least 1"]),
        (["data.fold=9"], ["data.fold=9", "data.split=paper", "patient_cv"]),
        (["data.fold=9", "data.split=patient_cv"], ["data.fold=9", "1 to 5", "data.folds"]),
        (["data.split=patient_cv"], ["data.fold=1", "+sweep=folds"]),
        (["data.split=official"], ["official", "data=breakhis alone"]),
        (["data=breakhis", "data.split=official"], ["official", "data.fold=1 (to 5)"]),
        (["data=breakhis", "data.split=official", "data.fold=6"], ["data.fold=6", "1 to 5"]),
        (["data.split=/nowhere/mine.csv"], ["/nowhere/mine.csv", "no file", "split.csv"]),
        (["data.split=mine.txt"], ["data.split=mine.txt", "FILE.csv"]),
        (["data.split=patients"], ["data.split=patients", "patient"]),
        (["data.bach_size=3"], ["unknown option data.bach_size", "data.batch_size"]),
        (["+sigmaa=3"], ["unknown option sigmaa", "sigma"]),
        (["+experiment=defence"], ["defence", "baseline, defense"]),
        (["model=resnet"], ["resnet", "densenet121"]),
        (["data=folder"], ["data.root=FOLDER"]),
        (["data=folder", "data.root=/nowhere/at/all"], ["/nowhere/at/all"]),
        (["data=breakhis", "data.root=/nowhere/at/all"], ["/nowhere/at/all", "make data"]),
        (["sigma=0.1,0.2"], ["add -m"]),
        (["batchnorm=noisy"], ["batchnorm=noisy", "injection"]),
        (["trainer.precision=16"], ["trainer.precision=16", "bf16"]),
        (["model.weights_sha256=12"], ["model.weights_sha256=12", "64"]),
        (["seed=-1"], ["seed=-1"]),
        (["eps_px=[1,2,1]"], ["eps_px", "1 twice", "leave one out"]),
        (["batchnorm=[clean,clean]"], ["batchnorm", "clean twice"]),
        (["data.crop=32", "data.batch_size=1"], ["data.crop=32", "batch_size=1", "at least 64"]),
        (["data.crop=32", "model.block_config=[1,1,1,1,1]"], ["data.crop=32", "at least 64"]),
    ],
)
def test_mistakes_name_value_place_and_remedy(overrides: list[str], words: list[str]) -> None:
    said = complaint(*overrides)
    for word in words:
        assert word in said
    assert len(said.splitlines()) <= 2


def test_a_full_disk_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "some/file")

    monkeypatch.setattr("bcadv.run.precheck", full)
    monkeypatch.setattr("sys.argv", ["bcadv.run"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("bcadv: the disk is full (some/file): results go")


@pytest.mark.long
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    command = fork(tmp_path, ["paths.outputs=/proc/nothing"])
    assert command.wait() == 2
    assert "bcadv: /proc/nothing: " in command.said
    assert "name folders that can be written" in command.said
    assert "Traceback" not in command.said


def test_every_mistake_is_named_at_once() -> None:
    said = complaint("sigma=abc", "data.batch_size=0")
    assert "sigma=abc" in said
    assert "data.batch_size=0" in said


def test_option_names_are_dotted() -> None:
    assert option_names({"a": {"b": 1, "c": []}, "d": None}) == ["a.b", "a.c", "d"]


@pytest.mark.parametrize("arguments", [["--help"], ["sigma=abc"]])
def test_answers_come_before_anything_heavy_is_imported(
    arguments: list[str], tmp_path: Path
) -> None:
    code = (
        f"import sys; sys.argv = ['bcadv', *{arguments!r}]\n"
        "from bcadv.run import main\n"
        "try: main()\n"
        "except SystemExit as end: print('status', end.code)\n"
        "heavy = {'torch', 'pytorch_lightning', 'mlflow', 'pandas', 'matplotlib'}\n"
        "print('heavy', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines()[-1] == "heavy []"
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    if arguments == ["sigma=abc"]:
        assert "status 2" in done.stdout
        assert done.stderr.startswith("bcadv: sigma=abc")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "bcadv.run", f"paths.outputs={tmp_path / 'file' / 'below'}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert f"bcadv: {tmp_path / 'file'}" in done.stderr
    assert "paths.outputs" in done.stderr
    assert "Traceback" not in done.stderr
