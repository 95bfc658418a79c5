"""Small real jobs for the tests: painted tissue, a network of a few layers, a few epochs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from hydra import compose, initialize_config_dir

from bcadv.config import Config, validate
from bcadv.run import conf_dir, resolve
from bcadv.store.models import Entry

TISSUE = (
    "data.patients=10",
    "data.images_per_patient=6",
    "data.height=48",
    "data.width=64",
)
TINY = (
    "data.crop=32",
    "model.block_config=[2,2]",
    "model.growth_rate=8",
    "model.init_features=8",
    "trainer.max_epochs=2",
    "trainer.precision=32",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
    "evaluation.n_boot=100",
    "eps_px=[0,1,8]",
)


def tiny_overrides(outputs: Path, *more: str, data: Sequence[str] = TISSUE) -> list[str]:
    """A command line that ends in seconds."""
    return [*data, *TINY, f"paths.outputs={outputs}", *more]


def compose_config(*overrides: str) -> Config:
    """What the command line gives a job."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return validate(resolve(compose("config", overrides=list(overrides))))


def tiny_config(outputs: Path, *more: str, data: Sequence[str] = TISSUE) -> Config:
    """The configuration of a small job."""
    return compose_config(*tiny_overrides(outputs, *more, data=data))


@contextmanager
def undrawn() -> Iterator[None]:
    """Jobs end with their numbers: figures and page take ten times as long as a small training."""
    with patch("bcadv.job.render", return_value=""):
        yield


def model_of(folder: Path) -> Entry:
    """The stored model that a job refers to."""
    reference = json.loads((folder / "model.json").read_text())
    checkpoint = (folder / reference["checkpoint"]).resolve()
    assert checkpoint.is_file()
    assert checkpoint.parent.name == reference["fingerprint"]
    return Entry(checkpoint.parent)
