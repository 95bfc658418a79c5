"""BatchNorm statistics are estimated once per trained model, and are then that model's."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from bcadv.build import build_injection, build_model
from bcadv.config import BatchNormChoice, Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.models.classifier import Classifier
from bcadv.recalibrate import recalibrate
from bcadv.store.fingerprint import chosen, statistics_code
from bcadv.store.models import Entry
from bcadv.store.statistics import read_statistics, write_statistics
from tests.jobs import tiny_config

State = dict[str, Tensor]
Recalibrated = Callable[..., State]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_config(tmp_path_factory.mktemp("recalibrate"), "+experiment=defense", "sigma=0.2")


@pytest.fixture(scope="module")
def data(config: Config) -> ImageDataModule:
    made = ImageDataModule(config.data, config.paths.cache, config.seed)
    made.prepare()
    return made


@pytest.fixture
def of(config: Config, data: ImageDataModule) -> Recalibrated:
    """The state of a model that is always the same one, under other statistics."""

    def state(variant: BatchNormChoice, entry: Entry | None, which: str = "last") -> State:
        model = build_model(config, len(data.classes))
        chosen = config.model_copy(
            update={"trainer": config.trainer.model_copy(update={"checkpoint": which})}
        )
        recalibrate(variant, chosen, model, data, injection=build_injection(config), entry=entry)
        return dict(model.state_dict())

    return state


def same(one: State, other: State) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def no_pass_over_the_images() -> AbstractContextManager[object]:
    return patch.object(ImageDataModule, "plain_train_dataloader", side_effect=AssertionError)


def test_a_second_job_takes_what_the_first_estimated(of: Recalibrated, tmp_path: Path) -> None:
    first = {variant: of(variant, Entry(tmp_path)) for variant in ("clean", "noisy")}
    with no_pass_over_the_images():
        second = {variant: of(variant, Entry(tmp_path)) for variant in ("clean", "noisy")}
        trained = of("as_trained", Entry(tmp_path))
    assert same(first["clean"], second["clean"])
    assert same(first["noisy"], second["noisy"])
    assert not same(first["clean"], first["noisy"])
    assert not same(first["clean"], trained)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "last.clean.json",
        "last.clean.pt",
        "last.noisy.json",
        "last.noisy.pt",
    ]


def test_only_statistics_are_kept(of: Recalibrated, tmp_path: Path) -> None:
    changed = of("clean", Entry(tmp_path))
    kept = torch.load(tmp_path / "last.clean.pt", weights_only=True)
    assert {name.rsplit(".", 1)[1] for name in kept} == {
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    before = of("as_trained", None)
    differs = {name for name in before if not torch.equal(before[name], changed[name])}
    assert differs == set(kept)


def test_another_epoch_has_its_own(of: Recalibrated, tmp_path: Path) -> None:
    of("clean", Entry(tmp_path), "last")
    with no_pass_over_the_images(), pytest.raises(AssertionError):
        of("clean", Entry(tmp_path), "best")


def test_without_an_entry_nothing_is_kept(of: Recalibrated, tmp_path: Path) -> None:
    assert same(of("clean", None), of("clean", Entry(tmp_path)))


@pytest.mark.parametrize("damage", ["cut", "incomplete", "another network"])
def test_a_damaged_file_is_said_and_made_anew(
    of: Recalibrated,
    config: Config,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    used = statistics_code(chosen(config))
    expected = of("clean", Entry(tmp_path))
    path = tmp_path / "last.clean.pt"
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "incomplete":
        less = dict(list(torch.load(path, weights_only=True).items())[1:])
        write_statistics(less, path, used)
    else:
        other = Classifier(2, growth_rate=4, init_features=4, block_config=(1,))
        write_statistics(dict(other.state_dict()), path, used)
    assert same(of("clean", Entry(tmp_path)), expected)
    assert str(path) in caplog.text
    with no_pass_over_the_images():
        assert same(of("clean", Entry(tmp_path)), expected)


def test_every_variant_can_be_loaded_later(
    of: Recalibrated, config: Config, data: ImageDataModule, tmp_path: Path
) -> None:
    entry = Entry(tmp_path)
    for variant in ("clean", "noisy"):
        expected = of(variant, entry)
        model = build_model(config, len(data.classes))
        statistics, code = read_statistics(entry.statistics("last", variant))
        assert code == statistics_code(chosen(config))
        model.load_state_dict(statistics, strict=False)
        assert same(dict(model.state_dict()), expected)


RECORDS = {
    "another digest": '{"sha256": "0", "code": "CODE"}',
    "no digest": '{"code": "CODE"}',
    "nothing": "",
    "null": "null",
    "a list": "[]",
    "bytes": "\x00",
}


@pytest.mark.parametrize("text", RECORDS.values(), ids=RECORDS)
def test_statistics_whose_record_is_damaged_are_not_used(
    of: Recalibrated, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    entry = Entry(tmp_path)
    expected = of("clean", entry)
    path = entry.statistics("last", "clean")
    record = path.with_suffix(".json")
    code = json.loads(record.read_text())["code"]
    record.write_text(text.replace("CODE", code))
    with pytest.raises(BcadvError, match=r"last\.clean\.pt cannot be used .*run the job again"):
        read_statistics(path)
    assert same(of("clean", entry), expected)
    assert f"{path} cannot be used" in caplog.text
    assert read_statistics(path)


def test_missing_statistics_are_answered(tmp_path: Path) -> None:
    with pytest.raises(BcadvError, match="is missing"):
        read_statistics(Entry(tmp_path).statistics("last", "clean"))


def test_statistics_on_a_full_disk_are_a_full_disk(of: Recalibrated, tmp_path: Path) -> None:
    """Torch's own writer ends in a RuntimeError about a position in a file."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            of("clean", Entry(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []
