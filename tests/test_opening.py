"""What a job says of itself before it begins is what it then does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bcadv.build import build_model
from bcadv.opening import opening
from bcadv.outcome import defence_of
from tests.jobs import compose_config, tiny_config

DEFENSE = "+experiment=defense"


def test_it_says_network_training_images_and_tests(tmp_path: Path) -> None:
    more = ("evaluation.norm=[inf,2]", "eps_l2=1", "sigma=0.05", "seed=3")
    said = opening(tiny_config(tmp_path, DEFENSE, *more))
    network = "densenet (growth 8, blocks 2-2, 8 channels)"
    assert said.startswith(f"defense: train {network} for 2 epochs under noise σ=0.05, seed 3; ")
    tests = "FGSM up to 8/255, FGSM L2 1, Gaussian noise 0.05"
    assert f"then test it clean and under {tests}. Images: " in said
    assert " for 1 epoch, seed" in opening(tiny_config(tmp_path, "trainer.max_epochs=1"))


@pytest.mark.parametrize(
    "model", [("model=densenet121",), (), ("model=densenet121", "model.growth_rate=8")]
)
def test_the_network_has_the_name_that_its_results_give_it(model: tuple[str, ...]) -> None:
    config = compose_config(*model)
    assert config.model.architecture == build_model(config, 2).net.architecture
    assert (config.model.architecture == "densenet121") == (model == ("model=densenet121",))


@pytest.mark.parametrize(
    "more", ["sigma=0.1", "sigma=0", "injection.probability=0", "injection=none"]
)
def test_noise_is_said_where_it_changes_an_image(tmp_path: Path, more: str) -> None:
    config = tiny_config(tmp_path, DEFENSE, more)
    assert bool(re.search("under noise.*then test", opening(config))) == (more == "sigma=0.1")
    assert defence_of(config).none == (more != "sigma=0.1")
