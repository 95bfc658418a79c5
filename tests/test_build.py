"""Configuration -> model, noise and attacks."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchxrayvision.models import DenseNet as XrayDenseNet

from bcadv import hardware
from bcadv.build import build_injection, build_model, build_trials
from bcadv.callbacks.evaluate import Trial
from bcadv.errors import BcadvError
from bcadv.job import run
from bcadv.perturb import FGSM, PGD, GaussianNoise
from bcadv.plan import plan_of
from bcadv.task import Task
from tests.jobs import tiny_config


def test_weights_named_in_the_configuration_arrive_in_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(7)
    source = XrayDenseNet(growth_rate=8, block_config=(2, 2), num_init_features=8, in_channels=1)
    file = tmp_path / "whole.pt"
    torch.save(source, file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    place = tmp_path / "cache" / "weights" / f"densenet121-res224-nih-{sha256[:12]}.pt"
    place.parent.mkdir(parents=True)
    file.rename(place)
    monkeypatch.setenv("BCADV_CACHE", str(tmp_path / "cache"))
    model = build_model(
        tiny_config(
            tmp_path, "model.weights=densenet121-res224-nih", f"model.weights_sha256={sha256}"
        ),
        classes=2,
    ).eval()
    grey = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        expected = source.eval().features2(grey * 2048 - 1024)
        found = model.net.net.features2(model.net.scale(grey.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


OTHER_CONTENTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another tensor": lambda state: {"x": torch.zeros(3)},
    "nothing": lambda state: {},
    "half of it": lambda state: dict(list(state.items())[5:]),
    "a flat first layer": lambda state: state | {"features.conv0.weight": torch.zeros(3)},
    "a scalar": lambda state: state | {"features.conv0.weight": torch.tensor(1.0)},
    "other sizes": lambda state: {n: torch.stack([v, v]) for n, v in state.items()},
    "not finite": lambda state: (
        state | {"features.conv0.weight": state["features.conv0.weight"] * torch.inf}
    ),
}


@pytest.mark.parametrize("change", OTHER_CONTENTS.values(), ids=OTHER_CONTENTS)
def test_weights_of_another_content_are_answered(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """The checksum may be right all the same: the user named it."""
    source = XrayDenseNet(growth_rate=8, block_config=(2, 2), num_init_features=8, in_channels=1)
    file = tmp_path / "other.pt"
    torch.save(change(dict(source.state_dict())), file)
    monkeypatch.setattr("bcadv.build.pretrained", lambda config: file)
    with pytest.raises(BcadvError, match=r"weights .*other\.pt"):
        build_model(tiny_config(tmp_path), 2)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = build_model(tiny_config(tmp_path, f"seed={seed}"), 2)
        return model.get_parameter("net.net.features.conv0.weight")

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_noise_of_training_is_the_one_asked_for(tmp_path: Path) -> None:
    assert build_injection(tiny_config(tmp_path)) is None
    injection = build_injection(tiny_config(tmp_path, "+experiment=defense", "sigma=0.3"))
    assert injection is not None
    assert injection.perturbation == GaussianNoise(0.3)
    assert injection.probability == 1


def trials(tmp_path: Path, *overrides: str) -> list[Trial]:
    config = tiny_config(tmp_path, *overrides)
    return build_trials(
        config, plan_of(config), Task(classes=("benign", "malignant"), positive=(1,))
    )


def test_the_trials_are_the_attacks_that_were_asked_for(tmp_path: Path) -> None:
    one, two = trials(
        tmp_path, "attacks=[fgsm,pgd]", "attack.pgd.steps=7", "eps_l2=[0.25,1]", "evaluation.norm=2"
    )
    assert isinstance(one.perturbation, FGSM)
    assert isinstance(two.perturbation, PGD)
    assert two.perturbation.steps == 7
    for trial in (one, two):
        assert isinstance(trial.perturbation, FGSM | PGD)
        assert trial.perturbation.threat.norm == 2
        assert [c.size for c in trial.conditions] == [0.25, 1]


def test_a_random_start_follows_the_seed(tmp_path: Path) -> None:
    first, second = (trials(tmp_path, "attacks=pgd", f"seed={seed}")[0] for seed in (1, 2))
    assert isinstance(first.perturbation, PGD)
    assert isinstance(second.perturbation, PGD)
    assert first.perturbation.seed != second.perturbation.seed


def test_the_test_meets_no_noise_that_was_trained_on(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "+experiment=defense")
    injection = build_injection(config)
    noise = build_trials(config, plan_of(config), Task())[1].perturbation
    assert injection is not None
    assert isinstance(noise, GaussianNoise)
    assert isinstance(injection.perturbation, GaussianNoise)
    assert noise.sigma == injection.perturbation.sigma
    assert noise.seed != injection.perturbation.seed


def test_where_nothing_compiles_training_goes_on_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no compiler found")

    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    config = tiny_config(
        tmp_path, "model.compile=true", "trainer.max_epochs=1", "tracking.enabled=false"
    )
    with caplog.at_level(logging.WARNING):
        assert run(config, tmp_path / "it").result.training.epochs == 1
    assert "cannot compile here (no compiler found)" in caplog.text


def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "has_native_bf16", lambda gpu: gpu)
    assert hardware.training_precision("auto", gpu=True) == "bf16-mixed"
    assert hardware.training_precision("auto", gpu=False) == "32-true"
    assert hardware.training_precision("bf16", gpu=False) == "bf16-mixed"
    assert hardware.training_precision("32", gpu=True) == "32-true"
