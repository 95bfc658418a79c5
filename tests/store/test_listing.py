"""``bcadv models``: what a person is told of the trained models."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bcadv.cli.main import main
from bcadv.store.models import Entry, Store

RECORD = {
    "epochs": 2,
    "seconds": 1.0,
    "weights": {"best": "0" * 16, "last": "1" * 16},
    "history": "2" * 64,
}
HISTORY = "epoch,train_loss,val_accuracy\n0,1.0,0.5\n1,0.5,0.875\n"
NOISE = {"injection.perturbation": "gaussian", "injection.probability": 1.0, "sigma": 0.1}
IMAGES = {"data.source": "folder", "data.split": "patient"}


def kept(outputs: Path, name: str, **shape: object) -> Entry:
    entry = Store(outputs).entry(name)
    entry.begin(shape)
    entry.finish(RECORD)
    entry.history.write_text(HISTORY)
    return entry


def rows(capsys: pytest.CaptureFixture[str], outputs: Path) -> dict[str, str]:
    """Name of each model -> its row, each run of blanks as one."""
    assert main(["models", f"outputs={outputs}"]) == 0
    lines = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    return {line.split()[0]: line for line in lines if line}


def test_each_model_is_told_by_what_shaped_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    old = kept(tmp_path, "aa", seed=3, objective="cross_entropy", **NOISE, **IMAGES)
    old.checkpoint("last").touch()
    before = time.time() - 3 * 86_400 - 60
    os.utime(old.checkpoint("last"), (before, before))
    kept(tmp_path, "bb", seed=0, objective="cross_entropy", **dict.fromkeys(NOISE))
    half = Store(tmp_path).entry("cc")
    half.begin({"seed": 1, "objective": "trades[x]", **NOISE, "injection.probability": 0.5})
    kept(tmp_path, "dd").folder.joinpath("shape.json").write_text("")
    kept(tmp_path, "ee", seed=1).history.write_text("epoch\n")
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "model.json").write_text('{"fingerprint": "aa"}')
    said = rows(capsys, tmp_path)
    assert said["aa"].startswith("aa noise σ=0.1 3 folder patient 2 87.5 % 0.0 MB 3 days 1")
    assert said["bb"].startswith("bb undefended 0 unknown 2 87.5 % 0.0 MB just now 0")
    cc = "cc trades[x], noise σ=0.1 on 0.5 of the images 1 unknown unfinished unknown"
    assert said["cc"].startswith(cc)
    assert said["dd"].startswith("dd unknown unknown unknown 2")
    assert " 2 unknown 0.0 MB" in said["ee"]
    assert said["5"].startswith("5 stored models, 0.0 MB, in ")


def test_models_that_no_job_uses_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = tmp_path / ":x: [b]"  # to rich an emoji and a markup
    kept(outputs, "aa", seed=3)
    monkeypatch.setattr("builtins.input", lambda *_: "n")
    assert main(["models", f"outputs={outputs}", "prune=true"]) == 0
    said = capsys.readouterr().out
    assert "undefended, seed 3, unknown" in said
    assert "that no job uses? [y/N] " in said
    assert len(Store(outputs).entries()) == 1
    assert main(["models", f"outputs={outputs}", "prune=true", "yes=true"]) == 0
    assert Store(outputs).entries() == []
    assert main(["models", f"outputs={outputs}", "prune=true"]) == 0
    assert f"Every model in {outputs / 'models'} is used" in capsys.readouterr().out


def test_an_end_of_input_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object) -> str:
        raise EOFError

    kept(tmp_path, "aa")
    monkeypatch.setattr("builtins.input", ended)
    assert main(["models", f"outputs={tmp_path}", "prune=true"]) == 130
    assert len(Store(tmp_path).entries()) == 1
