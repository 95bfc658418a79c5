"""The store: who trains, who waits, what may go."""

from __future__ import annotations

import json
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
import torch

from bcadv.cli.main import main
from bcadv.errors import BcadvError
from bcadv.models.classifier import Classifier
from bcadv.store.__main__ import main as older
from bcadv.store.models import Entry, Store, digest_of, read, save
from bcadv.train import load
from tests.processes import WARM

RECORD = {
    "epochs": 2,
    "seconds": 1.0,
    "weights": {"best": "0" * 16, "last": "1" * 16},
    "history": "2" * 64,
}


def refer(outputs: Path, job: str, name: str) -> None:
    (outputs / job).mkdir(parents=True)
    (outputs / job / "model.json").write_text(json.dumps({"fingerprint": name}))


def trained(store: Store, name: str, **shape: object) -> Entry:
    entry = store.entry(name)
    entry.begin(shape)
    entry.finish(RECORD)
    return entry


def test_an_entry_is_trained_once_it_says_so(tmp_path: Path) -> None:
    entry = Store(tmp_path).entry("a")
    assert entry.trained is None
    entry.begin({"seed": 1})
    assert (entry.shape, entry.trained) == ({"seed": 1}, None)
    entry.finish(RECORD)
    assert entry.trained == RECORD


def _hold(outputs: Path, held: Event) -> None:
    with Store(outputs).claim("a", lambda: None):
        held.set()
        signal.pause()


def test_a_claim_waits_and_passes_on_when_its_holder_dies(tmp_path: Path) -> None:
    held = WARM.Event()
    holder = WARM.Process(target=_hold, args=(tmp_path, held))
    holder.start()
    assert held.wait(60)
    waited = []

    def on_wait() -> None:
        waited.append(True)
        holder.kill()

    store = Store(tmp_path)
    store.entry("a").begin({})
    assert not store.remove(store.entry("a"))  # is being trained
    with store.claim("a", on_wait) as entry:
        assert entry.folder.name == "a"
    holder.join()
    assert waited == [True]
    assert store.remove(store.entry("a"))


def test_the_nearest_model_is_named_by_its_differences(tmp_path: Path) -> None:
    store = Store(tmp_path)
    trained(store, "a", seed=0, sigma=0.1)
    trained(store, "b", seed=5, sigma=0.3)
    store.entry("c").begin({"seed": 1, "sigma": 0.1})  # unfinished: no model to be near to
    assert store.nearest({"seed": 1, "sigma": 0.1}) == ["seed"]
    assert Store(tmp_path / "empty").nearest({"seed": 1}) == []


def test_pruning_keeps_what_a_job_refers_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    for name in ("aa", "bb", "cc"):
        trained(store, name, seed=0)
    refer(tmp_path, "defense/2026", "aa")
    refer(tmp_path, "sweeps/2026/3", "bb")
    refer(tmp_path, "mine", "bb")
    refer(tmp_path, ".thrown_away/2026", "cc")
    assert [len(of) for of in store.references().values()] == [1, 2]
    assert main(["models", f"outputs={tmp_path}"]) == 0
    assert "3 stored models" in " ".join(capsys.readouterr().out.split())
    assert main(["models", "prune=true", "yes=true", f"outputs={tmp_path}"]) == 0
    assert [entry.folder.name for entry in store.entries()] == ["aa", "bb"]
    assert main(["models", "prune=true", f"outputs={tmp_path}"]) == 0
    assert "nothing to remove" in " ".join(capsys.readouterr().out.split())


def test_pruning_keeps_what_a_job_elsewhere_refers_to(tmp_path: Path) -> None:
    store = Store(tmp_path / "outputs")
    for name in ("aa", "bb"):
        trained(store, name)
        refer(tmp_path, f"elsewhere/{name}", name)
        store.used_by(name, tmp_path / "elsewhere" / name)
        store.used_by(name, tmp_path / "outputs" / "inside")
    (tmp_path / "elsewhere" / "bb" / "model.json").unlink()
    assert store.references() == {"aa": [tmp_path / "elsewhere" / "aa"]}
    assert main(["models", "prune=true", "yes=true", f"outputs={store.outputs}"]) == 0
    assert [entry.folder.name for entry in store.entries()] == ["aa"]


def test_pruning_keeps_what_is_wanted_while_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(Store(tmp_path), "aa")

    def answer(*_: object) -> str:
        refer(tmp_path, "defense/2026", "aa")
        return "y"

    monkeypatch.setattr("builtins.input", answer)
    assert main(["models", "prune=true", f"outputs={tmp_path}"]) == 0
    assert "aa is wanted by a job now and stays" in capsys.readouterr().out
    assert len(Store(tmp_path).entries()) == 1


def test_pruning_asks_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(Store(tmp_path), "aa")
    monkeypatch.setattr("builtins.input", lambda *_: "n")
    assert main(["models", "prune=true", f"outputs={tmp_path}"]) == 0
    assert "Nothing was removed" in capsys.readouterr().out
    assert len(Store(tmp_path).entries()) == 1


@pytest.mark.parametrize(
    "arguments", [["purge"], ["prune=true", "prune=false"], ["a=b"], ["outputs=no"]]
)
def test_a_wrong_word_is_answered(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *arguments]) == 2
    assert "bcadv: " in capsys.readouterr().err


def test_a_damaged_model_names_the_way_out(tmp_path: Path) -> None:
    model = Classifier(2, growth_rate=4, init_features=4, block_config=(1,))
    entry = Entry(tmp_path)
    save({"state_dict": model.state_dict(), "epoch": 3}, entry.checkpoint("last"))
    assert load(model, entry, "last") == 3
    whole = entry.checkpoint("last").read_bytes()
    entry.checkpoint("last").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BcadvError, match="remove the folder"):
        load(model, entry, "last")
    with pytest.raises(BcadvError, match="best"):
        load(model, entry, "best")


CONTENTS: dict[str, Any] = {
    "a number": 1,
    "another number": 2,
    "a fraction": 1.0,
    "text": "1",
    "nothing": None,
    "a truth": True,
    "a list": [1],
    "a longer list": [1, 1],
    "lists": [[1], 1],
    "a mapping": {"a": 1},
    "another key": {"b": 1},
    "another order": {"c": 1, "a": 1},
    "order": {"a": 1, "c": 1},
    "a tensor": torch.tensor([1, 0]),
    "another dtype": torch.tensor([1, 0], dtype=torch.int32),
    "another shape": torch.tensor([[1, 0]]),
    "other numbers": torch.tensor([0, 1]),
    "half precision": torch.tensor([1, 0], dtype=torch.bfloat16),
    "truths": torch.tensor([True, False]),
    "a scalar": torch.tensor(1),
    "no numbers": torch.zeros(0),
}


def test_different_contents_have_different_digests_and_come_back_with_theirs(
    tmp_path: Path,
) -> None:
    digests = {name: digest_of({"it": content}) for name, content in CONTENTS.items()}
    assert len(set(digests.values())) == len(CONTENTS)
    save(CONTENTS, tmp_path / "it.ckpt")
    again = read(tmp_path / "it.ckpt")
    assert {name: digest_of({"it": again[name]}) for name in CONTENTS} == digests


def test_the_layout_of_a_tensor_is_none_of_its_digest() -> None:
    image = torch.rand(2, 3, 4, 5)
    assert digest_of(image) == digest_of(image.to(memory_format=torch.channels_last))
    assert digest_of(image[:, :, ::2]) == digest_of(image[:, :, ::2].clone())


def test_a_checkpoint_without_its_digest_is_refused(tmp_path: Path) -> None:
    """Earlier versions wrote such: nothing vouches for it."""
    torch.save({"epoch": 1}, tmp_path / "it.ckpt")
    with pytest.raises(ValueError, match="changed or damaged"):
        read(tmp_path / "it.ckpt")


def test_pruning_stops_at_a_reference_that_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its model would look like one that no job uses."""
    trained(Store(tmp_path), "aa")
    refer(tmp_path, "defense/2026", "aa")
    reference = tmp_path / "defense" / "2026" / "model.json"
    for text in ("", "[]", "{}", "null", '{"fingerprint": 1}', "\x00"):
        reference.write_text(text)
        assert main(["models", "prune=true", "yes=true", f"outputs={tmp_path}"]) == 2
        said = capsys.readouterr().err
        assert f"{reference} does not say which model its job uses: run that job again" in said
    assert len(Store(tmp_path).entries()) == 1


def test_jobs_elsewhere_may_have_any_name(tmp_path: Path) -> None:
    store = Store(tmp_path / "outputs")
    trained(store, "aa")
    place = tmp_path / os.fsdecode(b"caf\xe9") / "one"
    refer(place.parent, "one", "aa")
    store.used_by("aa", place)
    assert store.references() == {"aa": [place]}


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "text", '{"seed": 1, "sha256": "0"}'])
def test_a_damaged_description_is_none(tmp_path: Path, text: str) -> None:
    entry = trained(Store(tmp_path), "aa", seed=1)
    assert not entry.is_damaged
    (entry.folder / "shape.json").write_text(text)
    assert entry.shape == {}
    assert entry.is_damaged


@pytest.mark.parametrize("old", ['"epochs": 2', '"seconds": 1.0', "000", "222"])
def test_a_record_that_was_changed_vouches_for_nothing(tmp_path: Path, old: str) -> None:
    entry = trained(Store(tmp_path), "aa", seed=1)
    path = entry.folder / "trained.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, old.replace(old[-1], "7"), 1))
    assert entry.trained is None
    assert entry.is_damaged


def test_the_older_command_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(Store(tmp_path), "aa", seed=0)
    assert main(["models", f"outputs={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert older(["list", f"outputs={tmp_path}"]) == 0
    assert capsys.readouterr().out == said
    assert older(["prune", "yes=true", f"outputs={tmp_path}"]) == 0
    assert Store(tmp_path).entries() == []
    assert older(["purge"]) == 2
