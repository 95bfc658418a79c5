"""The fingerprint changes with what shapes a model and with nothing else, over the whole schema."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from bcadv import hardware
from bcadv.build import build_injection, build_model
from bcadv.callbacks.record import History
from bcadv.config import Config, fields_of
from bcadv.data.datamodule import ImageDataModule
from bcadv.store.fingerprint import NOT_TRAINING, describe, fingerprint
from bcadv.trainer import fit
from tests.jobs import tiny_config

OTHER: Mapping[str, Any] = {
    "experiment": "other",
    "seed": 1,
    "sigma": 0.2,
    "attacks": ["pgd"],
    "attack": {"pgd": {"steps": 3}},
    "eps_px": [2],
    "eps_l2": [1.0],
    "eps_l1": [1.0],
    "eps_l0": [1],
    "aim": ["hide"],
    "accept": ["8bit"],
    "corruptions": ["jpeg"],
    "evaluation.severities": [2],
    "batchnorm": ["clean"],
    "resume": True,
    "reuse": False,
    "data.root": "elsewhere",
    "data.magnification": None,
    "data.subtypes": "all",
    "data.target": "subtype",
    "data.split": "patient",
    "data.folds": 3,
    "data.folds_dir": "elsewhere",
    "data.per_class": {"train": {"benign": 6}},
    "data.patients": 11,
    "data.images_per_patient": 3,
    "data.height": 50,
    "data.width": 66,
    "data.crop": 40,
    "data.resize": 44,
    "data.white": 300.0,
    "data.augment": ["crop"],
    "data.batch_size": 8,
    "data.on_bad_image": "skip",
    "data.workers": 1,
    "model.weights": "densenet121-res224-nih",
    "model.weights_sha256": "0" * 64,
    "model.weights_url": "http://127.0.0.1/file",
    "model.growth_rate": 5,
    "model.block_config": [2],
    "model.init_features": 6,
    "model.compile": True,
    "injection.perturbation": "gaussian_clipped",
    "injection.probability": 0.5,
    "evaluation.norm": ["2"],
    "evaluation.noise": False,
    "evaluation.batch_size": 7,
    "evaluation.n_boot": 101,
    "evaluation.check_images": 0,
    "evaluation.precision": "bf16",
    "evaluation.examples": 2,
    "optimizer.lr": 0.002,
    "optimizer.weight_decay": 0.1,
    "optimizer.scheduler": None,
    "trainer.max_epochs": 3,
    "trainer.precision": "bf16",
    "trainer.accelerator": "auto",
    "trainer.threads": 2,
    "trainer.devices": 2,
    "trainer.nodes": 2,
    "trainer.checkpoint": "best",
    "trainer.early_stopping": 1,
    "trainer.weight_averaging": 0.9,
    "tracking.enabled": True,
    "tracking.uri": "http://127.0.0.1:1",
    "tracking.experiment": "other",
    "paths.outputs": "elsewhere",
    "paths.cache": "elsewhere",
}
"""For every option of the schema a value that the base does not have."""

OF_FOLDERS: dict[str, tuple[Any, bool]] = {
    "data.layout": ("part/class", True),
    "data.include": (["*.png"], True),
    "data.exclude": (["*.png"], True),
    "data.class_map": ({"a": "b"}, True),
    "data.group_regex": ("(a)", True),
    "data.positive": (["b"], False),
}
"""Options of one's own folders: a value, and whether it shapes a model."""
OF_TABLES: dict[str, tuple[Any, bool]] = {
    "data.class_map": ({"a": "b"}, True),
    "data.group_regex": ("(a)", True),
    "data.positive": (["b"], False),
    "data.table": ("other.csv", False),
    "data.metadata": ("other.csv", False),
    "data.lists": ({"test": "other.txt"}, False),
    "data.path": ("{id}.png", True),
    "data.label": ("dx", True),
    "data.labels": (["dx"], True),
    "data.one_hot": (True, True),
    "data.separator": ("|", True),
    "data.nothing": ("none", True),
    "data.unusable": (["poor"], True),
    "data.uncertain": ({"a": "zero"}, True),
    "data.blank": ("zero", True),
    "data.where": ({"view": ["PA"]}, True),
    "data.patient": ("who", True),
    "data.group": ("lesion", True),
    "data.part": ("set", True),
    "data.agree": ("any", True),
    "data.rater": ("who", True),
    "data.missing": ("skip", True),
}
"""The same of a table of them."""
OF_ANOTHER_SOURCE = {"data.source", *OF_FOLDERS, *OF_TABLES}
OF_ONE = {"model.network", "objective", "objective_options"}
"""There is no other value yet; see tests/test_room.py."""
BESIDE_ANOTHER = {"data.fold"}
"""Means something beside another option alone."""

UNTRAINABLE_HERE = {
    "data.fold",
    "model.weights",  # a download
    "model.weights_sha256",
    "model.weights_url",
    "model.compile",  # takes a compiler and a minute
    "data.root",  # other pictures, or none
    "data.white",  # these pictures have 8 bits and use all of them
    "trainer.devices",  # several processes; see tests/test_distributed.py
    "trainer.nodes",
}


def leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= leaves(kind, f"{prefix}{name}.") | {
                f"{prefix}{name}.{own}" for own in fields_of(kind)
            }
        else:
            found.add(prefix + name)
    return found


def is_training(name: str) -> bool:
    return not any(name == other or name.startswith(f"{other}.") for other in NOT_TRAINING)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_config(
        tmp_path_factory.mktemp("outputs"),
        "+experiment=defense",
        "data.images_per_patient=6",
        "model.block_config=[1]",
        "model.growth_rate=4",
        "model.init_features=4",
        "tracking.enabled=false",
    )


def changed(base: Config, *names: str) -> Config:
    raw = base.model_dump(mode="python")
    for name in names:
        *path, last = name.split(".")
        section = raw
        for key in path:
            section = section[key]
        assert section[last] != OTHER[name], name
        section[last] = OTHER[name]
    return Config.model_validate(raw)


def name_of(config: Config, content: str = "the same images") -> str:
    precision = hardware.training_precision(config.trainer.precision, gpu=False)
    return fingerprint(describe(config, content=content, precision=precision))


def test_no_option_is_forgotten() -> None:
    assert {*OTHER, *OF_ANOTHER_SOURCE, *OF_ONE, *BESIDE_ANOTHER} == leaves(Config)
    known = {*OTHER, *OF_ANOTHER_SOURCE, *Config.model_fields}
    assert known >= NOT_TRAINING


@given(names=st.sets(st.sampled_from(sorted(OTHER)), max_size=4))
def test_the_fingerprint_changes_with_training_alone(base: Config, names: set[str]) -> None:
    try:
        config = changed(base, *names)
    except ValidationError:  # options that exclude each other
        return
    shaping = any(is_training(name) for name in names)
    assert (name_of(config) != name_of(base)) == shaping


@pytest.mark.parametrize("name", sorted(OTHER))
def test_each_option_alone(base: Config, name: str) -> None:
    assert (name_of(changed(base, name)) != name_of(base)) == is_training(name)


def test_another_fold_is_another_model_and_a_table_counts_by_its_content(base: Config) -> None:
    raw = base.model_dump(mode="python")

    def split(**options: Any) -> str:
        return name_of(Config.model_validate(raw | {"data": raw["data"] | options}))

    first = split(split="patient_cv", fold=1)
    assert first != name_of(base)
    assert first != split(split="patient_cv", fold=2)
    assert split(split="a.csv") == split(split="b.csv") != first


@pytest.mark.parametrize(("source", "options"), [("folder", OF_FOLDERS), ("table", OF_TABLES)])
def test_options_of_another_source(
    base: Config, source: str, options: dict[str, tuple[Any, bool]]
) -> None:
    raw = base.model_dump(mode="python")
    raw["data"] = {"source": source, "root": "x", "split": "paper", "crop": 32}
    folder = Config.model_validate(raw)
    assert name_of(folder) != name_of(base)
    for name, (value, shapes) in options.items():
        changed = raw["data"] | {name.removeprefix("data."): value}
        other = Config.model_validate(raw | {"data": changed})
        assert (name_of(other) != name_of(folder)) == shapes == is_training(name)


def test_other_images_are_another_model(base: Config) -> None:
    assert name_of(base, "other images") != name_of(base)


@cache
def train(config_json: str, folder: Path) -> tuple[np.ndarray, str]:
    """The weights after one epoch, and the fingerprint."""
    config = Config.model_validate_json(config_json)
    data = ImageDataModule(config.data, config.paths.cache, config.seed)
    data.prepare()
    precision = hardware.training_precision(config.trainer.precision, gpu=False)
    shape = describe(config, content=data.training_content(), precision=precision)
    model = build_model(config, len(data.classes))
    injection = build_injection(config)
    folder.mkdir(exist_ok=True)
    history = History(folder / "history.csv")
    fit(config, folder, model, data, callbacks=[history, *([injection] if injection else [])])
    weights = np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])
    return weights, fingerprint(shape)


@pytest.mark.parametrize("name", sorted(set(OTHER) - UNTRAINABLE_HERE))
def test_what_changes_the_weights_changes_the_fingerprint(
    base: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Judged by training: what the list of exceptions names must leave the weights alone."""
    monkeypatch.chdir(tmp_path)  # for the places named "elsewhere"
    config = changed(base, name)
    weights, expected = train(base.model_dump_json(), base.paths.outputs)
    other, found = train(config.model_dump_json(), tmp_path)
    same = weights.shape == other.shape and np.allclose(weights, other, rtol=1e-3, atol=1e-5)
    if not same:
        assert found != expected
    if not is_training(name):
        assert same


def test_noise_of_strength_0_is_no_noise(base: Config, tmp_path: Path) -> None:
    still = base.model_copy(update={"sigma": 0.0})
    none = base.model_copy(
        update={"injection": base.injection.model_copy(update={"perturbation": None})}
    )
    weights, found = train(still.model_dump_json(), tmp_path / "still")
    expected_weights, expected = train(none.model_dump_json(), tmp_path / "none")
    assert found == expected
    assert np.array_equal(weights, expected_weights)


def test_without_noise_sigma_shapes_nothing(base: Config) -> None:
    none = base.model_copy(
        update={"injection": base.injection.model_copy(update={"perturbation": None})}
    )
    assert name_of(none) == name_of(none.model_copy(update={"sigma": 0.3}))


def test_the_code_that_trains_is_part_of_it(base: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    before = name_of(base)
    asked: list[Any] = []

    def other(used: Any) -> str:
        asked.append(used)
        return "other"

    monkeypatch.setattr("bcadv.store.fingerprint.training_code", other)
    assert name_of(base) != before
    assert asked == [(("models.densenet", "DenseNet121"),)], "the network that was chosen"
