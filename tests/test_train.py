"""Training goes on, or begins anew, whatever it finds in the folder."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bcadv.build import build_model
from bcadv.callbacks.record import History
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.job import run
from bcadv.store.models import read, save, slim
from bcadv.trainer import fit
from tests.jobs import tiny_config

pytestmark = pytest.mark.usefixtures("undrawn")

QUIET = ("tracking.enabled=false", "trainer.max_epochs=1", "eps_px=8")


def train(folder: Path, root: Path, epochs: int, *more: str) -> list[dict[str, float]]:
    """Trains in a folder up to an epoch; returns the whole history."""
    config = tiny_config(root, f"trainer.max_epochs={epochs}", *more)
    data = ImageDataModule(config.data, config.paths.cache, config.seed, 8)
    data.find()
    data.prepare()
    history = History(folder / "history.csv")
    folder.mkdir(exist_ok=True)
    fit(config, folder, build_model(config, 2), data, callbacks=[history])
    return history.rows


def test_the_best_epoch_is_known_again_in_another_place(tmp_path: Path) -> None:
    train(tmp_path / "a", tmp_path, epochs=1)
    # No later epoch can be better than this.
    state = read(tmp_path / "a" / "last.ckpt")
    [best_of] = [held for name, held in state["callbacks"].items() if "val_loss" in name]
    best_of["best_k_models"] = dict.fromkeys(best_of["best_k_models"], torch.tensor(-1.0))
    save(state, tmp_path / "a" / "last.ckpt")
    best = (tmp_path / "a" / "best.ckpt").read_bytes()
    (tmp_path / "a").rename(tmp_path / "b")
    assert len(train(tmp_path / "b", tmp_path, epochs=3)) == 3
    assert (tmp_path / "b" / "best.ckpt").read_bytes() == best
    assert torch.load(tmp_path / "b" / "last.ckpt", weights_only=True)["epoch"] == 2
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "slim"])
def test_a_checkpoint_that_cannot_be_gone_on_from_costs_its_epochs_alone(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    straight = train(tmp_path / "straight", tmp_path, epochs=2)
    train(tmp_path / "a", tmp_path, epochs=1)
    last = tmp_path / "a" / "last.ckpt"
    if damage == "slim":
        slim(last, last)
    else:
        last.write_bytes(last.read_bytes()[: 0 if damage == "empty" else 1000])
    assert train(tmp_path / "a", tmp_path, epochs=2) == straight
    assert f"One cannot go on from {last}" in caplog.text


def test_reuse_false_takes_no_model_of_other_settings(tmp_path: Path) -> None:
    first = run(tiny_config(tmp_path, *QUIET, "reuse=false"), tmp_path / "job")
    weights = first.result.model.weights
    again = run(tiny_config(tmp_path, *QUIET, "reuse=false", "eps_px=4"), tmp_path / "job")
    assert again.result.model.weights == weights
    other = run(tiny_config(tmp_path, *QUIET, "reuse=false", "optimizer.lr=0.1"), tmp_path / "job")
    assert other.result.model.weights != weights


def test_reuse_false_takes_no_model_that_does_not_say_what_shaped_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tiny_config(tmp_path, *QUIET, "reuse=false"), tmp_path / "job").result
    (tmp_path / "job" / "model" / "shape.json").write_text("{}")
    capsys.readouterr()
    other = run(tiny_config(tmp_path, *QUIET, "reuse=false", "optimizer.lr=0.1"), tmp_path / "job")
    assert other.result.model.weights != first.model.weights
    said = " ".join(capsys.readouterr().err.split())
    assert "holds a model without whole records; training anew" in said


@pytest.mark.parametrize("option", ["early_stopping=1", "weight_averaging=0.9", "checkpoint=best"])
def test_every_kind_of_training_goes_on_from_its_own_checkpoint(
    tmp_path: Path, option: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it holds comes back from the file with the digest that it was written with."""
    more = (f"trainer.{option}", "optimizer.scheduler=cosine")
    train(tmp_path / "a", tmp_path, 1, *more)
    for which in ("best", "last"):
        assert read(tmp_path / "a" / f"{which}.ckpt")["epoch"] == 0
    assert len(train(tmp_path / "a", tmp_path, 2, *more)) == 2
    assert "One cannot go on" not in caplog.text


def test_a_model_without_its_history_names_the_way_out(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, *QUIET)
    run(config, tmp_path / "one")
    [history] = tmp_path.glob("models/*/history.csv")
    history.unlink()
    with pytest.raises(BcadvError, match=r"history\.csv cannot be read .*: remove the folder"):
        run(config, tmp_path / "two")


class Full(io.BytesIO):
    def write(self, _: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_checkpoint_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    save({"epoch": 1}, path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: Full())
        with pytest.raises(OSError, match=r"No space left on device: .*last\.ckpt"):
            save({"epoch": 2}, path)
    assert read(path) == {"epoch": 1}
    save({"epoch": 3}, path)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_weights_of_a_job_have_a_name(tmp_path: Path) -> None:
    one = run(tiny_config(tmp_path, *QUIET), tmp_path / "one").result
    two = run(tiny_config(tmp_path, *QUIET, "batchnorm=[clean,as_trained]"), tmp_path / "two")
    assert one.model.weights == two.result.model.weights
    assert (one.pictures.batchnorm, two.result.pictures.batchnorm) == (
        "as_trained",
        "clean",
    )
    assert set(pd.read_parquet(tmp_path / "two" / "predictions.parquet")["batchnorm"]) == {
        "clean",
        "as_trained",
    }


@pytest.mark.parametrize("option", ["lr", "weight_decay"])
def test_a_number_that_the_optimiser_cannot_hold_is_refused(tmp_path: Path, option: str) -> None:
    """Adam multiplies float32 weights by it, which ends in an overflow from 3.4e38 on."""
    with pytest.raises(BcadvError, match=rf"optimizer\.{option}=1e\+300 cannot be used"):
        tiny_config(tmp_path, f"optimizer.{option}=1e300")
