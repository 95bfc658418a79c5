"""A job whose attack is made on another stored model, and what is said of one that cannot serve."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bcadv.callbacks.evaluate import Trial
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.evaluate.run import evaluation_key
from bcadv.job import Outcome, render, run
from bcadv.models.classifier import Classifier
from bcadv.perturb import ThreatModel, Transfer
from bcadv.plan import plan_of
from bcadv.results.files import PREDICTIONS, RESULTS
from bcadv.results.schema import read_result
from bcadv.store.models import Entry, Store, read, save
from bcadv.surrogate import surrogates
from bcadv.train import load
from bcadv.typing import Batch
from tests.jobs import model_of, tiny_config, undrawn

QUICK = ("+experiment=baseline", "tracking.enabled=false", "trainer.max_epochs=1", "eps_px=[0,32]")
OTHER = ("seed=1", "model.growth_rate=4")
CLASSES = ("benign", "malignant")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with two models, one of another network and seed. Do not change it."""
    place = tmp_path_factory.mktemp("transfer")
    with undrawn():
        run(tiny_config(place, *QUICK, "eps_px=8"), place / "own")
        run(tiny_config(place, *QUICK, "eps_px=8", *OTHER), place / "other")
    return place


def other_of(outputs: Path) -> Entry:
    return Store(outputs).entry(
        json.loads((outputs / "other/model.json").read_text())["fingerprint"]
    )


def transfer(outputs: Path, surrogate: str | None, *more: str) -> Any:
    named = () if surrogate is None else (f"attack.transfer.surrogate='{surrogate}'",)
    return tiny_config(outputs, *QUICK, "attacks=[transfer,fgsm]", *named, *more)


@pytest.fixture(scope="module")
def done(stored: Path) -> Outcome:
    name = other_of(stored).folder.name
    chosen = ("attack.transfer.steps=5", "evaluation.norm=[inf,2]", "eps_l2=[0,2]")
    config = transfer(stored, name[:6], *chosen, "batchnorm=[as_trained,clean]")
    with undrawn():
        return run(config, stored / "job")


def test_results_say_which_model_the_attack_was_made_on(stored: Path, done: Outcome) -> None:
    entry = other_of(stored)
    result, _ = read_result(done.folder / RESULTS)
    assert result.training.reused
    [said] = result.surrogates
    record = entry.trained
    assert record is not None
    model = Classifier(**read(entry.checkpoint("last"))["hyper_parameters"])
    load(model, entry, "last")
    assert (said.attack, said.fingerprint, said.seed) == ("transfer", entry.folder.name, 1)
    assert said.architecture == model.net.architecture != result.model.architecture
    assert said.weights != result.model.weights
    conditions = [c for c in result.conditions if c.name == "transfer"]
    assert {(c.norm, c.strength) for c in conditions} == {
        *(("inf", 0), ("inf", 32), ("2", 0), ("2", 2))
    }
    for condition in conditions:
        assert condition.settings == {"surrogate": entry.folder.name, "steps": 5}
        assert condition.label.startswith(f"transfer from {entry.folder.name[:8]}")
        assert condition.how.startswith("transfer, PGD-5 on the stored model")


@pytest.mark.long
def test_the_page_names_the_surrogate(stored: Path, done: Outcome) -> None:
    render(done.folder, done.result)
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert f"transfer from {other_of(stored).folder.name[:8]}" in page


def test_its_images_are_those_that_the_attack_makes_on_the_stored_model(
    stored: Path, done: Outcome
) -> None:
    """Under the statistics of its own training, whatever those of the model under attack."""
    entry, config = other_of(stored), tiny_config(stored, *QUICK)
    models = []
    for its in (model_of(stored / "own"), entry):
        model = Classifier(**read(its.checkpoint("last"))["hyper_parameters"])
        load(model, its, "last")
        models.append(model.eval())
    data = ImageDataModule(config.data, config.paths.cache, config.seed)
    data.prepare()
    batch: Batch = data.centre_crops(data.split.test)
    attack = Transfer(ThreatModel(32 / 255), surrogate=models[1], steps=5, seed=config.seed + 1)
    image = attack(models[0], batch.image, batch.target, index=batch.index)
    with torch.no_grad():
        expected = models[0](image).softmax(1)[:, 1]
    table = pd.read_parquet(done.folder / PREDICTIONS)
    [condition] = [
        c.id
        for c in done.result.conditions
        if (c.name, c.norm, c.strength) == ("transfer", "inf", 32)
    ]
    chosen = table[(table["condition"] == condition) & (table["batchnorm"] == "as_trained")]
    found = chosen.set_index("index").loc[batch.index.tolist()]
    assert found["p_1"].to_numpy() == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-4)


def test_both_models_count_as_used(stored: Path, done: Outcome) -> None:
    used = Store(stored).references()
    assert done.folder in used[other_of(stored).folder.name]
    assert done.folder in used[model_of(done.folder).folder.name]


def test_what_was_answered_belongs_to_the_weights_of_the_surrogate(stored: Path) -> None:
    config = transfer(stored, other_of(stored).folder.name)
    data = ImageDataModule(config.data, config.paths.cache, config.seed)
    data.prepare()
    keys = {
        evaluation_key(config, data, plan_of(config), ("as_trained",), "0", others)
        for others in ({"transfer": "1"}, {"transfer": "2"}, None)
    }
    assert len(keys) == 3


@pytest.fixture
def outputs(stored: Path, tmp_path: Path) -> Path:
    for name in ("models", "other", "own"):
        shutil.copytree(stored / name, tmp_path / "outputs" / name)
    return tmp_path / "outputs"


def said(outputs: Path, surrogate: str | None, classes: tuple[str, ...] = CLASSES) -> str:
    """The sentence that a job ends with before it trains."""
    with pytest.raises(BcadvError) as caught:
        surrogates(transfer(outputs, surrogate), classes)
    sentence = " ".join(str(caught.value).split())
    given = "null" if surrogate is None else surrogate
    assert sentence.startswith(f"attack.transfer.surrogate={given} cannot be used: ")
    assert sentence.endswith(".")
    return sentence


def test_without_a_surrogate_the_fitting_models_are_named(outputs: Path) -> None:
    name = other_of(outputs).folder.name
    for value, why in ((None, "needs one"), ("xyz", "no stored model begins with that")):
        sentence = said(outputs, value)
        assert why in sentence
        assert f"give one of {name} (densenet (growth 4" in sentence
        assert "seed 1, undefended)" in sentence
        # The model under attack is none to choose.
        assert model_of(outputs / "own").folder.name not in sentence
    sentence = said(outputs, None, ("adenosis", "fibroadenoma"))
    assert "holds no other one of adenosis, fibroadenoma" in sentence
    assert "train one first, as with attacks=[fgsm] seed=1" in sentence


def test_a_beginning_that_is_that_of_two_is_answered(outputs: Path) -> None:
    place = other_of(outputs).folder
    for name in ("aaaa1", "aaaa12"):
        shutil.copytree(place, place.with_name(name))
    sentence = said(outputs, "aaaa")
    assert "2 stored models begin with that, aaaa1" in sentence
    assert "give more digits" in sentence
    [found] = surrogates(transfer(outputs, "aaaa1"), CLASSES).values()
    assert found.record.fingerprint == "aaaa1", "a whole fingerprint is no beginning"


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        (("malignant", "benign"), "has its classes in another order (benign, malignant)"),
        (("benign", "tumour"), "knows the classes benign, malignant, and these images have benign"),
        (("a", "b", "c"), "knows 2 classes (benign, malignant), and these images have 3 (a, b, c)"),
    ],
)
def test_another_meaning_of_the_outputs_is_answered(
    outputs: Path, classes: tuple[str, ...], why: str
) -> None:
    sentence = said(outputs, other_of(outputs).folder.name, classes)
    assert why in sentence
    assert "train a model of" in sentence


@pytest.mark.parametrize("option", ["data.crop=40", "data.resize=40"])
def test_another_size_of_the_images_is_answered(outputs: Path, option: str) -> None:
    name = other_of(outputs).folder.name
    with pytest.raises(
        BcadvError, match=f"images prepared in another way, {option[:9]}.* and here 40"
    ):
        surrogates(transfer(outputs, name, option), CLASSES)


def without_classes(entry: Entry) -> None:
    record = dict(entry.trained or {})
    del record["classes"]
    entry.finish(record)


def other_weights(entry: Entry) -> None:
    state = read(entry.checkpoint("last"))
    next(v for v in state["state_dict"].values() if v.ndim)[..., 0] += 1e-3
    save(state, entry.checkpoint("last"))


def other_network(entry: Entry) -> None:
    state = read(entry.checkpoint("last"))
    state["hyper_parameters"]["network"] = "flat"
    save(state, entry.checkpoint("last"))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda e: (e.folder / "trained.json").write_text("{}"), "remove that folder and train it"),
        (lambda e: (e.folder / "shape.json").unlink(), "remove that folder and train it"),
        (lambda e: (e.folder / "trained.json").unlink(), "has not ended; run its job again"),
        (without_classes, "without the names of its classes, by an earlier version; run its job"),
        (lambda e: e.checkpoint("last").unlink(), "last.ckpt cannot be read (it is missing)"),
        (lambda e: e.checkpoint("last").write_bytes(b"PK"), "last.ckpt cannot be read"),
        (other_weights, "its weights were changed or damaged); remove the folder"),
        (other_network, "this version has no network flat"),
    ],
)
def test_a_model_that_cannot_be_believed_is_answered(
    outputs: Path, damage: Callable[[Entry], object], why: str
) -> None:
    entry = other_of(outputs)
    damage(entry)
    assert why in said(outputs, entry.folder.name)


def test_a_model_of_an_earlier_version_gets_its_classes_from_the_next_job(outputs: Path) -> None:
    entry = other_of(outputs)
    before = entry.trained
    without_classes(entry)
    with undrawn():
        again = run(tiny_config(outputs, *QUICK, "eps_px=8", *OTHER), outputs / "again").result
    assert again.training.reused
    assert entry.trained == before


@pytest.mark.parametrize("which", ["it", "another version"])
def test_the_model_under_attack_is_no_surrogate_and_nothing_is_trained(
    outputs: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = model_of(outputs / "own")
    words = "that is the very model under attack, and no transfer"
    if which == "another version":
        own.begin(own.shape | {"code": "0" * 16})
        words = "the very model under attack but for the code that trained it, and no transfer"
    monkeypatch.setattr("bcadv.job.obtain", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(BcadvError, match=words):
        run(transfer(outputs, own.folder.name), outputs / "job")


def test_loading_a_surrogate_leaves_the_random_state_and_is_ready_to_answer(outputs: Path) -> None:
    before = torch.random.get_rng_state()
    [found] = surrogates(transfer(outputs, other_of(outputs).folder.name), CLASSES).values()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not any(module.training for module in found.model.modules())
    assert not any(parameter.requires_grad for parameter in found.model.parameters())


def test_it_is_loaded_once_a_job(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, seen, trials = other_of(outputs).folder.name, [], []

    def counted(model: Classifier, entry: Entry, which: str) -> int:
        seen.append(entry.folder.name)
        return load(model, entry, which)

    def kept(*arguments: Any) -> list[Trial]:
        trials.append(build(*arguments))
        return trials[-1]

    from bcadv.build import build_trials as build

    monkeypatch.setattr("bcadv.surrogate.load", counted)
    monkeypatch.setattr("bcadv.evaluate.run.build_trials", kept)
    with undrawn():
        run(transfer(outputs, name, "evaluation.check_images=0"), outputs / "job")
    assert seen == [name]
    [made] = trials
    assert isinstance(made[0].perturbation, Transfer)
