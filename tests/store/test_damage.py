"""Stored models that were damaged are found out and not used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bcadv.build import build_model
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.job import run
from bcadv.store.models import Entry, digest_of, read, save, slim
from bcadv.train import load
from bcadv.trainer import _to_go_on_from, fit
from tests.jobs import tiny_config, undrawn

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ("+experiment=defense", "tracking.enabled=false", "trainer.max_epochs=2", "eps_px=8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with one trained model and its statistics. Do not change it."""
    outputs = tmp_path_factory.mktemp("trained")
    with undrawn():
        run(tiny_config(outputs, *QUICK), outputs / "defense" / "it")
    return outputs


@pytest.fixture
def outputs(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "outputs")
    return tmp_path / "outputs"


def entry_of(outputs: Path) -> Entry:
    [place] = (outputs / "models").glob("[0-9a-f]*")
    return Entry(place)


def again(outputs: Path, **_: Any) -> Any:
    return run(tiny_config(outputs, *QUICK), outputs / "defense" / "again").result


def flip(path: Path, share: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 16
    path.write_bytes(bytes(content))


def test_every_flipped_byte_of_a_model_is_found_or_bears_on_nothing(outputs: Path) -> None:
    """A zip archive has room between its records; what matters is that no weight differs."""
    entry = entry_of(outputs)
    config = tiny_config(outputs, *QUICK)
    model = build_model(config, 2)
    load(model, entry, "last")
    whole = {name: value.clone() for name, value in model.state_dict().items()}
    original = entry.checkpoint("last").read_bytes()
    said: list[str] = []
    for k in range(1, 40):
        entry.checkpoint("last").write_bytes(original)
        flip(entry.checkpoint("last"), k / 40)
        try:
            load(model, entry, "last")
        except BcadvError as error:
            said.append(str(error))
        else:
            state = model.state_dict()
            assert all(torch.equal(value, state[name]) for name, value in whole.items())
    assert len(said) > 20
    for sentence in said:
        assert str(entry.checkpoint("last")) in sentence
        assert "weights_only" not in sentence
        assert "run again" in sentence


def test_a_flipped_byte_ends_the_next_job_with_a_sentence(outputs: Path) -> None:
    entry = entry_of(outputs)
    state = read(entry.checkpoint("last"))
    name = next(n for n in state["state_dict"] if n.endswith("classifier.weight"))
    state["state_dict"][name].view(-1)[0] += 1e-3
    save(state, entry.checkpoint("last"))
    with pytest.raises(BcadvError, match="not the one that was trained"):
        again(outputs)


CHECKPOINTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no state_dict": lambda c: {k: v for k, v in c.items() if k != "state_dict"},
    "no epoch": lambda c: {k: v for k, v in c.items() if k != "epoch"},
    "text for the epoch": lambda c: c | {"epoch": "many"},
    "another epoch": lambda c: c | {"epoch": 7},
    "null": lambda c: c | {"state_dict": None},
    "a weight less": lambda c: c | {"state_dict": dict(list(c["state_dict"].items())[1:])},
    "wrong shapes": lambda c: (
        c | {"state_dict": {k: v[..., :1] if v.ndim else v for k, v in c["state_dict"].items()}}
    ),
    "a list": lambda c: [1, 2],
}


@pytest.mark.parametrize("change", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_that_is_none_is_answered(
    outputs: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    entry = entry_of(outputs)
    config = tiny_config(outputs, *QUICK)
    torch.save(
        change(torch.load(entry.checkpoint("last"), weights_only=True)), entry.checkpoint("last")
    )
    with pytest.raises(BcadvError, match=r"last\.ckpt .*Remove|last\.ckpt .*remove"):
        load(build_model(config, 2), entry, "last")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", bytes(1000)])
def test_a_file_that_is_no_checkpoint_is_answered(outputs: Path, content: bytes) -> None:
    entry = entry_of(outputs)
    entry.checkpoint("last").write_bytes(content)
    with pytest.raises(BcadvError, match="cannot be read") as caught:
        load(build_model(tiny_config(outputs, *QUICK), 2), entry, "last")
    assert "weights_only" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "text", ["", "{}", "null", "[]", '{"epochs": 2}', '{"epochs": "two", "seconds": 1}']
)
def test_a_damaged_record_of_a_training_vouches_for_nothing(outputs: Path, text: str) -> None:
    """Trained anew, to the same numbers."""
    before = entry_of(outputs).trained
    (entry_of(outputs).folder / "trained.json").write_text(text)
    assert entry_of(outputs).trained is None
    if text != "{}":  # one training is enough
        return
    assert again(outputs).training.reused is False
    after = entry_of(outputs).trained
    assert before is not None
    assert after is not None
    assert after["weights"] == before["weights"]


@pytest.mark.parametrize("text", ["", "epoch\n", "epoch,train_loss\n0,much\n", "\x00"])
def test_a_changed_history_is_answered(outputs: Path, text: str) -> None:
    entry_of(outputs).history.write_text(text)
    with pytest.raises(BcadvError, match=r"history\.csv cannot be read .*remove the folder"):
        again(outputs)


def test_damaged_statistics_are_estimated_anew(
    outputs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = entry_of(outputs)
    path = entry.statistics("last", "clean")
    kept = torch.load(path, weights_only=True)
    torch.save({name: value + 1 for name, value in kept.items()}, path)
    result = again(outputs)
    assert f"{path} cannot be used (it was changed or damaged)" in caplog.text
    assert "That is done now." in caplog.text
    assert all(
        torch.equal(value, kept[name])
        for name, value in torch.load(path, weights_only=True).items()
    )
    assert result.rows


def test_statistics_of_other_code_are_estimated_anew(outputs: Path) -> None:
    path = entry_of(outputs).statistics("last", "clean")
    record = path.with_suffix(".json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"code": "other"}))
    again(outputs)
    assert json.loads(record.read_text())["code"] != "other"


def _whole(outputs: Path, config: Config) -> Path:
    """A checkpoint of a training that was stopped, with all that is needed to go on."""
    data = ImageDataModule(config.data, config.paths.cache, config.seed)
    place = outputs / "stopped"
    fit(config, place, build_model(config, 2), data, callbacks=[])
    return place / "last.ckpt"


def _within(content: dict[str, Any], name: str, change: Callable[[Any], Any]) -> dict[str, Any]:
    return content | {name: change(content[name])}


def _optimizer(**changed: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda c: _within(c, "optimizer_states", lambda states: [states[0] | changed])


GOING_ON: dict[str, Callable[[dict[str, Any]], Any]] = {
    "optimizer gone": lambda c: c | {"optimizer_states": []},
    "optimizer of text": lambda c: c | {"optimizer_states": "adam"},
    "optimizer of another net": _optimizer(state={}, param_groups=[{"params": [0]}]),
    "another step": _optimizer(param_groups=[{"lr": 5.0}]),
    "loops gone": lambda c: c | {"loops": {}},
    "loops null": lambda c: c | {"loops": None},
    "a loop of text": lambda c: c | {"loops": {"fit_loop": "x"}},
    "a bad version": lambda c: c | {"pytorch-lightning_version": "new"},
    "no version": lambda c: c | {"pytorch-lightning_version": None},
    "wrong shapes": lambda c: _within(
        c, "state_dict", lambda state: {k: v.reshape(-1) for k, v in state.items()}
    ),
    "not finite": lambda c: _within(
        c, "state_dict", lambda state: {k: v * float("nan") for k, v in state.items()}
    ),
    "an epoch never seen": lambda c: c | {"epoch": 99},
    "callbacks gone": lambda c: c | {"callbacks": {}},
    "callbacks of text": lambda c: _within(c, "callbacks", lambda of: dict.fromkeys(of, "x")),
    "schedule of text": lambda c: c | {"lr_schedulers": ["x"]},
    "a key more": lambda c: c | {"more": 1},
    "a list": lambda c: [c],
    "nothing": lambda c: None,
}


def test_a_training_does_not_go_on_from_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config(tmp_path, "tracking.enabled=false", "trainer.max_epochs=1")
    last = _whole(tmp_path, config)
    model = build_model(config, 2)
    whole = torch.load(last, weights_only=True)
    assert _to_go_on_from(last, model, 1) == last
    for name, change in GOING_ON.items():
        caplog.clear()
        torch.save(change(dict(whole)), last)
        assert _to_go_on_from(last, model, 1) is None, name
        assert f"{last} (it was changed or damaged)" in caplog.text, name
        assert "training starts at its first epoch" in caplog.text
        assert not last.exists()


def test_a_training_goes_on_with_its_own_network_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config(tmp_path, "tracking.enabled=false", "trainer.max_epochs=1")
    last = _whole(tmp_path, config)
    assert _to_go_on_from(last, build_model(config, 3), 1) is None
    assert "its weights are those of another network" in caplog.text


@pytest.mark.parametrize("which", ["best", "last"])
def test_no_flipped_bit_of_an_unfinished_model_is_gone_on_from_or_vouched_for(
    tmp_path: Path, which: str
) -> None:
    """Torch reads a file with other bits in its tensors without a word."""
    config = tiny_config(tmp_path, "tracking.enabled=false", "trainer.max_epochs=1")
    path = _whole(tmp_path, config).with_name(f"{which}.ckpt")
    whole, original = read(path), path.read_bytes()
    refused = silent = 0
    for k in range(1, 60):
        path.write_bytes(original)
        flip(path, k / 60)
        try:
            found = read(path)
        except Exception:  # in many ways
            refused += 1
            try:
                torch.load(path, weights_only=True)
                silent += 1
            except Exception:
                continue
        else:
            assert digest_of(found) == digest_of(whole)  # between the records of the archive
    assert refused > 20
    assert silent > 5  # else this test shows nothing


def test_a_damaged_best_epoch_is_not_vouched_for_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(tmp_path, "tracking.enabled=false", "trainer.max_epochs=1")

    def damage(config: Config, folder: Path, *of: Any, **more: Any) -> None:
        fit(config, folder, *of, **more)
        content = torch.load(folder / "best.ckpt", weights_only=True)
        name = next(iter(content["state_dict"]))
        content["state_dict"][name] += 1
        torch.save(content, folder / "best.ckpt")

    monkeypatch.setattr("bcadv.train.fit", damage)
    with pytest.raises(BcadvError, match=r"best\.ckpt cannot be read .*remove the folder"):
        run(config, tmp_path / "job")
    assert not list(tmp_path.rglob("trained.json"))


def test_a_changed_record_of_a_training_is_said_and_trained_anew(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = entry_of(outputs)
    record = entry.trained
    assert record is not None
    path = entry.folder / "trained.json"
    path.write_text(path.read_text().replace('"epochs": 2', '"epochs": 7'))
    assert again(outputs).training.reused is False
    assert "holds a model without whole records" in " ".join(capsys.readouterr().err.split())
    after = entry.trained
    assert after is not None
    assert (after["epochs"], after["weights"]) == (record["epochs"], record["weights"])


def test_a_damaged_model_is_not_handed_on(outputs: Path, tmp_path: Path) -> None:
    """As to MLflow, by a synchronisation long after the job."""
    path = entry_of(outputs).checkpoint("last")
    content = torch.load(path, weights_only=True)
    next(iter(content["state_dict"].values())).mul_(2)
    torch.save(content, path)
    with pytest.raises(BcadvError, match=r"last\.ckpt is missing, or was changed .*run its job"):
        slim(path, tmp_path / "copy.ckpt")
    assert not (tmp_path / "copy.ckpt").exists()
