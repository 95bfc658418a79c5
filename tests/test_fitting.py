"""An attack that is fitted on training images is fitted once per model, and never sees a test."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from bcadv.build import build_model, build_trials, task_of
from bcadv.callbacks.evaluate import Trial
from bcadv.config import Config, validate
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.fitting import TrainingImages, _once, fitted
from bcadv.job import run
from bcadv.models.classifier import Classifier
from bcadv.perturb import ThreatModel
from bcadv.perturb.catalog import ATTACKS
from bcadv.perturb.fitted import FittedAttack
from bcadv.perturb.row import Attack, Option
from bcadv.plan import plan_of
from bcadv.results.files import PREDICTIONS
from bcadv.store.models import Entry
from tests.jobs import model_of, tiny_config

MODULE = '''
"""One perturbation for every image: the sign of the mean gradient over training images."""

from dataclasses import dataclass, field

import torch

from bcadv.perturb.fitted import FittedAttack

CALLS = []


@dataclass(frozen=True)
class MeanSign(FittedAttack):
    scale: float = field(default=1.0, kw_only=True)

    @property
    def name(self):
        return "mean_sign"

    def _fit(self, model, batches, strengths):
        seen, total = [], 0
        for batch in batches:
            image = batch.image.clone().requires_grad_()
            odds = self.task.odds(model(image), self.wanted(model(image), batch.target))
            total = total + torch.autograd.grad(odds.sum(), image)[0].sum(0)
            seen += batch.index.tolist()
        torch.rand(1)
        CALLS.append((sorted(seen), list(strengths), model.training))
        return {"direction": self.scale * total.sign()}

    def _perturb(self, model, image, target, *, index, draw):
        return self.threat.project(image + self.threat.eps * self.found["direction"], image)
'''


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the attack, which has a row of the catalog."""
    (tmp_path / "fitted_double.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fitted_double", raising=False)
    row = Attack(
        name="mean_sign",
        place="fitted_double:MeanSign",
        label="mean sign",
        words="One perturbation for every image.",
        access="white box",
        family="gradient",
        how="one perturbation for every image",
        norms=("inf",),
        steps=1,
        options=(Option("scale", 1.0, "number", "Of the direction.", low=0, high=1),),
    )
    monkeypatch.setitem(ATTACKS, "mean_sign", row)
    return import_module("fitted_double")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fitting")


@pytest.fixture(scope="module")
def data(outputs: Path) -> ImageDataModule:
    config = tiny_config(outputs)
    made = ImageDataModule(config.data, config.paths.cache, config.seed, 8)
    made.prepare()
    return made


@pytest.fixture
def model(outputs: Path) -> Classifier:
    return build_model(tiny_config(outputs), 2).eval()


@cache
def composed(outputs: Path, *more: str) -> dict[str, Any]:
    config = tiny_config(outputs, "+experiment=baseline", "tracking.enabled=false", *more)
    return config.model_dump(mode="json")


def asked(outputs: Path, *more: str, **changed: Any) -> Config:
    return validate(composed(outputs, *more) | {"attacks": ["mean_sign"]} | changed)


@pytest.fixture
def fit(
    data: ImageDataModule, model: Classifier, outputs: Path, tmp_path: Path, double: ModuleType
) -> Callable[..., Trial]:
    """The trial of a job's only attack, fitted or taken."""

    def one(
        config: Config | None = None,
        variant: str = "as_trained",
        entry: Entry | None = Entry(tmp_path / "entry"),  # noqa: B008
        images: ImageDataModule = data,
    ) -> Trial:
        config = config or asked(outputs)
        trials = build_trials(config, plan_of(config), task_of(images))
        [made] = fitted(trials, config, model, images, variant, entry=entry)
        return made

    return one


Fit = Callable[..., Trial]


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "entry").glob("*.pt"))


def direction(trial: Trial) -> Tensor:
    attack: Any = trial.perturbation
    found: Tensor = attack.found["direction"]
    return found


def test_it_is_fitted_once_on_every_training_image_and_on_no_other(
    fit: Fit, double: ModuleType, data: ImageDataModule, tmp_path: Path
) -> None:
    before = torch.random.get_rng_state()
    first, second = fit(), fit()
    assert torch.equal(torch.random.get_rng_state(), before)
    [(seen, strengths, training)] = double.CALLS
    assert seen == sorted(data.split.train)
    assert not set(seen) & {*data.split.test, *data.split.val}
    assert strengths == [condition.size for condition in first.conditions]
    assert not training
    assert torch.equal(direction(first), direction(second))
    assert len(files(tmp_path)) == 1
    assert fit(entry=None).conditions == first.conditions
    assert len(double.CALLS) == 2, "nobody keeps it"


CHANGES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "settings": lambda o: {"config": asked(o, attack={"mean_sign": {"scale": 0.5}})},
    "strengths": lambda o: {"config": asked(o, eps_px=[0, 4])},
    "aim": lambda o: {"config": asked(o, aim=["hide"])},
    "class": lambda o: {"config": asked(o, aim=["benign"])},
    "survives": lambda o: {"config": asked(o, accept=["8bit"])},
    "batches": lambda o: {"config": asked(o, "evaluation.batch_size=5")},
    "statistics": lambda o: {"variant": "clean"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_it_depends_on_fits_it_anew(
    change: Callable[[Path], dict[str, Any]],
    fit: Fit,
    double: ModuleType,
    outputs: Path,
    tmp_path: Path,
) -> None:
    fit()
    fit(**change(outputs))
    fit(**change(outputs))
    assert len(double.CALLS) == 2
    assert len(files(tmp_path)) == 2
    fit()
    assert len(double.CALLS) == 2, "the first one is still there"


def test_other_weights_and_other_images_fit_it_anew(
    fit: Fit, double: ModuleType, model: Classifier, outputs: Path
) -> None:
    fit()
    with torch.no_grad():
        next(model.parameters())[0] += 1e-3
    fit()
    assert len(double.CALLS) == 2
    next(b for n, b in model.named_buffers() if n.endswith("running_mean"))[0] += 1e-3
    fit()
    assert len(double.CALLS) == 3
    config = tiny_config(outputs)
    other = ImageDataModule(config.data, config.paths.cache, config.seed, 8)
    other.prepare()
    fit(images=other)
    assert len(double.CALLS) == 3
    other.digests = {**other.digests, other.records[other.split.test[0]].image_id: "0"}
    fit(images=other)
    assert len(double.CALLS) == 3, "a test image has no say"
    other.digests = {**other.digests, other.records[other.split.train[0]].image_id: "0"}
    fit(images=other)
    assert len(double.CALLS) == 4


def test_other_code_of_the_attack_fits_it_anew_in_the_same_place(
    fit: Fit, double: ModuleType, tmp_path: Path
) -> None:
    before = fit()
    changed = MODULE.replace("total.sign()", "-total.sign()")
    (tmp_path / "fitted_double.py").write_text(changed)
    del sys.modules["fitted_double"]
    invalidate_caches()
    after = fit()
    assert torch.equal(direction(after), -direction(before))
    assert len(files(tmp_path)) == 1


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (spoil, "changed or damaged"),
        (lambda path: path.with_suffix(".json").unlink(), "or its record is missing"),
        (lambda path: path.with_suffix(".json").write_text("{}"), "changed or damaged"),
    ],
)
def test_a_damaged_file_is_found_out_and_made_anew(
    damage: Callable[[Path], object],
    why: str,
    fit: Fit,
    double: ModuleType,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = fit()
    [name] = files(tmp_path)
    damage(tmp_path / "entry" / name)
    assert torch.equal(direction(fit()), direction(before))
    assert len(double.CALLS) == 2
    assert f"The state of a fitted attack {tmp_path / 'entry' / name} cannot be used" in caplog.text
    assert why in caplog.text
    fit()
    assert len(double.CALLS) == 2


def test_of_several_who_want_it_one_fits(tmp_path: Path) -> None:
    calls, found = [], []

    def slow() -> dict[str, Tensor]:
        calls.append(1)
        time.sleep(0.3)
        return {"a": torch.ones(2)}

    def want() -> None:
        found.append(_once(tmp_path / "a.pt", "code", slow)["a"].sum().item())

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(calls), found) == (1, [2.0] * 3)


def test_whoever_wants_a_class_sees_the_images_of_the_others_as_its_own(
    data: ImageDataModule,
) -> None:
    images = TrainingImages(data, torch.device("cpu"), 4, 0, 1)
    batches = list(images)
    assert {int(t) for b in batches for t in b.target} == {1}
    numbers = [int(i) for b in batches for i in b.index]
    assert sorted(numbers) == [i for i in sorted(data.split.train) if data.targets[i] == 0]
    assert numbers == [int(i) for b in images for i in b.index], "each pass is like the first"


class Nothing(FittedAttack):
    """Comes to nothing."""

    made: Any = None

    @property
    def name(self) -> str:
        return "nothing"

    def _fit(self, *_: Any) -> Any:
        return self.made

    def _perturb(self, *_: Any, **__: Any) -> Tensor:
        return self.found["a"]


@pytest.mark.parametrize("made", [None, [torch.ones(1)], {"a": 1}, {"a": torch.tensor(torch.nan)}])
def test_what_is_no_state_is_answered(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Nothing, "made", made)
    with pytest.raises(BcadvError, match="nothing: what it was fitted to is no finite tensors"):
        Nothing(ThreatModel(0.1)).fit(nn.Identity(), (), [0.1])


def test_an_attack_that_is_not_fitted_says_how() -> None:
    image, target = torch.rand(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64)
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    attack = Nothing(ThreatModel(0.1))
    with pytest.raises(BcadvError, match=r"nothing: it is not fitted; call fit\(model"):
        attack(net, image, target)
    ready = attack.with_state({"a": image})
    assert torch.equal(ready.with_strength(0.2)(net, image, target), image)


@pytest.mark.usefixtures("undrawn")
def test_a_job_fits_under_each_statistics_and_the_next_job_takes_that(
    double: ModuleType, tmp_path: Path
) -> None:
    config = asked(
        tmp_path / "outputs",
        *("trainer.max_epochs=1", "batchnorm=[as_trained,clean]", "eps_px=[0,8]"),
    )
    first = run(config, tmp_path / "outputs" / "first")
    assert len(double.CALLS) == 2
    again = run(config, tmp_path / "outputs" / "again")
    assert len(double.CALLS) == 2
    kept = [path.name for path in model_of(first.folder).folder.glob("fitted.mean_sign.*.pt")]
    assert len(kept) == 2
    table = pd.read_parquet(first.folder / PREDICTIONS)
    pd.testing.assert_frame_equal(table, pd.read_parquet(again.folder / PREDICTIONS))
    [strong] = [c for c in first.result.conditions if (c.name, c.strength) == ("mean_sign", 8)]
    sizes = table.loc[table["condition"] == strong.id, "size"]
    assert sizes.min() > 0.99 * 8 / 255
    assert sizes.max() <= 8 / 255 + 1e-6
    assert (first.folder / "examples.npz").is_file()
