"""Two processes do what one does: the same statistics, gradients, weights and predictions.

One pair of processes computes everything that the tests look at, because starting it costs more
than the work.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bcadv import distributed
from bcadv.badge import badge, worn
from bcadv.build import build_injection, build_model
from bcadv.callbacks.record import History
from bcadv.config import Config
from bcadv.data.batches import share
from bcadv.data.datamodule import ImageDataModule
from bcadv.job import run
from bcadv.launch import together
from bcadv.models.classifier import Classifier
from bcadv.models.sync import WholeBatchNorm, whole_batches
from bcadv.recalibrate import recalibrate
from bcadv.results.schema import read_result
from bcadv.store.models import Entry
from bcadv.trainer import fit
from bcadv.typing import Batch
from tests.jobs import tiny_config, undrawn
from tests.processes import warm

# 47 training, 5 validation and 5 test images: 47 = 16 + 16 + 15 is ragged and odd, and 5 = 4 + 1
# leaves a process without an image.
RAGGED = (
    "+experiment=defense",
    "injection.probability=0.5",
    "batchnorm=[as_trained,clean,noisy]",
    "data.batch_size=16",
    "+data.per_class={test:{benign:2,malignant:3}}",
    "optimizer.scheduler=null",
    "tracking.enabled=false",
)

LAYERS = {
    "plain": nn.BatchNorm2d(3),
    "average over all batches": nn.BatchNorm2d(3, momentum=None),
    "neither weights nor statistics": nn.BatchNorm2d(3, affine=False, track_running_stats=False),
}
SIZES = (7, 2, 1)
"""Of batches; two processes get 3 and 4, 1 and 1, 0 and 1 images."""


def ragged(folder: Path, *more: str) -> Config:
    return tiny_config(folder, *RAGGED, *more)


# ---- what both kinds of training compute, alone or as one of two


def draw(size: int) -> Batch:
    generator = torch.Generator().manual_seed(size)
    image = torch.rand(size, 3, 32, 32, generator=generator, dtype=torch.float64)
    return Batch(image, torch.arange(size) % 2, torch.arange(size))


def own(batch: Batch) -> Batch:
    """This process's share."""
    return Batch(part(batch.image), part(batch.target), part(batch.index))


def part(values: Tensor) -> Tensor:
    rows = share(range(len(values)), distributed.rank(), distributed.size())
    return values[list(rows)]


def normalise(layer: nn.BatchNorm2d) -> dict[str, list[Tensor]]:
    """Outputs and gradients of this process's shares, and the statistics after each batch."""
    layer = nn.Sequential(layer).double().train()[0]  # type: ignore[assignment]
    found: dict[str, list[Tensor]] = {"output": [], "gradient": [], "state": []}
    for size in SIZES:
        batch = draw(size)
        slope = torch.rand(batch.image.shape, generator=torch.Generator().manual_seed(1)).double()
        image = own(batch).image.clone().requires_grad_()
        output = layer(image * 3 + 5)
        output.backward(part(slope))
        assert image.grad is not None
        found["output"].append(output.detach())
        found["gradient"].append(image.grad)
        found["state"] += [value.clone() for value in layer.state_dict().values()]
    found["weights"] = [p.grad for p in layer.parameters() if p.grad is not None]
    return found


class Silent(Classifier):
    """Trains outside of a Trainer."""

    def log(self, *args: Any, **kwargs: Any) -> None: ...

    def forward(self, image: Tensor | int) -> Tensor:
        # DDP hooks into forward alone; Lightning redirects it in the same way.
        if isinstance(image, int):
            return self.training_step(own(draw(image)), 0)
        return super().forward(image)


def gradients() -> list[list[Tensor]]:
    """Of all weights, after one batch of each size, in float64."""
    torch.manual_seed(0)
    model = Silent(2, growth_rate=4, block_config=(2, 2), init_features=8).double()
    module: nn.Module = model
    if distributed.active():
        WholeBatchNorm().apply(model)
        module = DistributedDataParallel(model)
    found = []
    for size in SIZES:
        module.zero_grad()
        module(size).backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    return found


def images(config: Config) -> ImageDataModule:
    data = ImageDataModule(
        config.data, config.paths.cache, config.seed, config.evaluation.batch_size
    )
    data.prepare()
    return data


def train(config: Config, folder: Path) -> Classifier:
    """Goes on with what lies in the folder, to the last epoch."""
    data = images(config)
    folder.mkdir(exist_ok=True)
    model, injection = build_model(config, len(data.classes)), build_injection(config)
    assert injection is not None
    fit(config, folder, model, data, callbacks=[History(folder / "history.csv"), injection])
    return model


@dataclass
class Pair:
    """What two processes came to."""

    batchnorm: dict[str, list[dict[str, list[Tensor]]]]
    gradients: list[list[Tensor]]
    states: list[dict[str, Tensor]]
    kinds: list[set[str]]
    recalibrated: list[dict[str, Tensor]]
    badges: list[str]


def as_one_of_two(config: Config, folder: Path, half_done: Path, half: Path) -> Pair:
    """What each of two processes does; the leader hands back the findings."""
    batchnorm: dict[str, Any] = {}
    for name, layer in LAYERS.items():
        with whole_batches(nn.Sequential(layer)):
            batchnorm[name] = distributed.collect(normalise(layer))
    found = gradients()
    logging.getLogger().warning("heard")
    with undrawn():
        run(config, folder)
    entry = None
    if distributed.rank() == 0:
        entry = model_of(folder)
        for suffix in (".pt", ".json"):  # the record of its digest goes with a file
            clean, noisy = (
                entry.statistics("last", v).with_suffix(suffix) for v in ("clean", "noisy")
            )
            assert noisy.is_file()
            shutil.copyfile(clean, noisy)
    with undrawn():
        run(config, folder.parent / "again")
    model = build_model(config, 2)
    recalibrate("clean", config, model, images(config), injection=None, entry=entry)
    recalibrated = distributed.collect(dict(model.state_dict()))
    train(config, half_done)
    model = train(config.model_copy(update={"trainer": one_epoch(config)}), half)
    states = distributed.collect(dict(model.state_dict()))
    kinds = distributed.collect({type(m).__name__ for m in model.modules()})
    badges = distributed.collect(badge())
    return Pair(batchnorm, found, states or [], kinds or [], recalibrated or [], badges or [])


def one_epoch(config: Config) -> Any:
    return config.trainer.model_copy(update={"max_epochs": 1})


@dataclass
class Both:
    """One process's training beside that of two."""

    root: Path
    pair: Pair
    heard: list[str]

    def job(self, which: str) -> Path:
        return self.root / which / "defense" / "it"

    def predictions(self, which: str) -> pd.DataFrame:
        return pd.read_parquet(self.job(which) / "predictions.parquet")

    def model(self, which: str) -> dict[str, Tensor]:
        return weights(model_of(self.job(which)).folder)


def model_of(job: Path) -> Entry:
    reference = json.loads((job / "model.json").read_text())
    return Entry((job / reference["checkpoint"]).parent)


def weights(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    root = tmp_path_factory.mktemp("both")
    one = ragged(root / "one", "evaluation.batch_size=4")
    with undrawn():
        run(one, root / "one" / "defense" / "it")
    train(one.model_copy(update={"trainer": one_epoch(one)}), root / "half_done")
    two = ragged(root / "two", "evaluation.batch_size=4", "trainer.devices=2")
    records = Records()
    logging.getLogger().addHandler(records)
    job = root / "two" / "defense" / "it"
    try:
        with warm(), worn("[2/3 sigma=0.1]"):
            pair = together(two, as_one_of_two, two, job, root / "half_done", root / "half")
    finally:
        logging.getLogger().removeHandler(records)
    train(one, root / "half")
    return Both(root, pair, records.heard)


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


# ---- shares


@given(st.lists(st.integers(), max_size=40), st.integers(1, 9))
def test_the_shares_are_the_batch(batch: list[int], size: int) -> None:
    parts = [share(batch, rank, size) for rank in range(size)]
    assert [i for part in parts for i in part] == batch
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5).filter(any), st.integers(0, 2**32 - 1))
def test_weighted_shares_average_to_the_mean_of_the_whole(shares: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=sum(shares))
    parts = np.split(values, np.cumsum(shares)[:-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "size", lambda: len(shares))
        patch.setattr(torch.distributed, "all_reduce", lambda whole: whole.fill_(sum(shares)))
        terms = [
            part.mean() * float(distributed.weight_of(len(part), torch.device("cpu")))
            for part in parts
            if len(part)
        ]
    assert np.isclose(sum(terms) / len(shares), values.mean(), rtol=1e-5, atol=1e-6)


# ---- BatchNorm and gradients


@pytest.mark.parametrize("name", LAYERS)
def test_batchnorm_is_that_of_the_whole_batch(both: Both, name: str) -> None:
    alone, found = normalise(LAYERS[name]), both.pair.batchnorm[name]
    for key in ("output", "gradient"):
        for expected, *parts in zip(alone[key], *(part[key] for part in found), strict=True):
            torch.testing.assert_close(torch.cat(parts), expected, rtol=1e-9, atol=1e-11)
    for expected, *same in zip(alone["state"], *(part["state"] for part in found), strict=True):
        assert torch.equal(same[0], same[1])
        torch.testing.assert_close(same[0], expected, rtol=1e-9, atol=1e-11)
    for expected, *parts in zip(alone["weights"], *(p["weights"] for p in found), strict=True):
        torch.testing.assert_close(sum(parts), expected, rtol=1e-9, atol=1e-9)


def test_batchnorm_keeps_its_name_and_half_precision() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3)).eval()
    names, image = list(model.state_dict()), torch.rand(2, 3, 4, 4)
    expected = model(image)
    with torch.no_grad():
        WholeBatchNorm().apply(model)
        assert torch.equal(model(image), expected)
        assert list(model.state_dict()) == names
    WholeBatchNorm().revert(model)
    assert type(model[0]) is nn.BatchNorm2d


@pytest.mark.parametrize("place", range(len(SIZES)))
def test_gradients_are_those_of_the_whole_batch(both: Both, place: int) -> None:
    """In float64, where nothing but a mistake could make a difference."""
    alone, found = gradients()[place], both.pair.gradients[place]
    for expected, gradient in zip(alone, found, strict=True):
        scale = max(1e-3, float(expected.abs().max()))
        torch.testing.assert_close(gradient / scale, expected / scale, rtol=0, atol=1e-9)


# ---- whole jobs


def close(both: Both, found: dict[str, Tensor]) -> None:
    """Weights apart by a small part of the way that training moved them.

    Adam's steps are as long where a gradient is little more than rounding, so that some weights
    part; seen was 1.2 %.
    """
    config = ragged(both.root / "one")
    before, expected = build_model(config, 2).state_dict(), both.model("one")
    assert list(found) == list(expected)
    apart = moved = 0.0
    for name, value in expected.items():
        if "running" in name:
            torch.testing.assert_close(found[name], value, rtol=1e-2, atol=1e-2)
        elif value.is_floating_point():
            apart += float((found[name].double() - value).square().sum())
            moved += float((before[name].double() - value).square().sum())
        else:
            assert torch.equal(found[name], value), name
    assert apart < 0.05**2 * moved


def test_the_split_and_the_history_are_those_of_one_process(both: Both) -> None:
    places = (pd.read_csv(both.job(which) / "split.csv") for which in ("one", "two"))
    expected, found = (table[["image_id", "split"]] for table in places)
    pd.testing.assert_frame_equal(found, expected)
    one, two = (pd.read_csv(both.job(which) / "history.csv") for which in ("one", "two"))
    pd.testing.assert_frame_equal(two, one, rtol=1e-3)
    np.testing.assert_allclose(two["train_loss"][0], one["train_loss"][0], rtol=1e-5)
    for name in ("train_accuracy", "val_accuracy"):
        np.testing.assert_allclose(two[name], one[name], rtol=1e-6)


def test_the_weights_are_those_of_one_process(both: Both) -> None:
    close(both, both.model("two"))


def test_every_image_is_evaluated_once_and_in_the_order_of_one_process(both: Both) -> None:
    one, two = both.predictions("one"), both.predictions("two")
    keys = ["batchnorm", "condition"]
    counts = two.groupby(keys, observed=True)["index"].agg(["size", "nunique"])
    tested = read_result(both.job("one"))[0].data.counts["test"]
    assert set(counts.to_numpy().ravel()) == {sum(tested.values())}
    same = ["image_id", "index", "patient", "target", *keys]
    pd.testing.assert_frame_equal(one[same], two[same])


def test_the_probabilities_are_those_of_one_process(both: Both) -> None:
    one, two = both.predictions("one"), both.predictions("two")
    difference = (one["p_1"] - two["p_1"]).abs()
    assert difference[~one["condition"].astype(str).str.startswith("fgsm")].max() < 5e-3
    # The sign of a gradient near 0 turns on rounding.
    assert difference.max() < 0.1
    np.testing.assert_allclose(two["size"], one["size"], atol=1e-6)


def test_the_model_of_two_processes_is_the_model_of_one(both: Both) -> None:
    one, two = (read_result(both.job(which))[0].training for which in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    for name in ("examples", "gallery"):
        with (
            np.load(both.job("one") / f"{name}.npz") as expected,
            np.load(both.job("two") / f"{name}.npz") as found,
        ):
            assert set(expected) == set(found)
            assert all(found[key].shape == expected[key].shape for key in expected)
            np.testing.assert_array_equal(found["index"], expected["index"])
            np.testing.assert_array_equal(found["image"], expected["image"])


def test_batchnorm_statistics_are_estimated_once_for_all_processes(both: Both) -> None:
    first = both.predictions("two")
    again = pd.read_parquet(both.job("two").parent / "again" / "predictions.parquet")

    def of(table: pd.DataFrame, variant: str) -> pd.DataFrame:
        rows = table[table["batchnorm"] == variant]
        return rows.drop(columns="batchnorm").reset_index(drop=True)

    pd.testing.assert_frame_equal(of(again, "clean"), of(first, "clean"))
    # In between, the statistics on clean images were put in the place of those on noisy ones.
    pd.testing.assert_frame_equal(of(again, "noisy"), of(first, "clean"))
    assert (of(first, "noisy")["p_1"] != of(first, "clean")["p_1"]).any()


def test_either_goes_on_with_a_checkpoint_of_the_other(both: Both) -> None:
    for folder in ("half_done", "half"):
        assert len(pd.read_csv(both.root / folder / "history.csv")) == 2
        close(both, weights(both.root / folder))


def test_all_processes_end_with_the_same_model(both: Both) -> None:
    for one, other in (both.pair.states, both.pair.recalibrated):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert all("WholeBatchNorm2d" not in kinds for kinds in both.pair.kinds)


# ---- the processes themselves


def test_the_log_of_the_leader_arrives_once(both: Both) -> None:
    assert both.heard.count("heard") == 1


def test_the_processes_of_a_job_know_which_it_is(both: Both) -> None:
    assert both.pair.badges == ["[2/3 sigma=0.1]"] * 2
