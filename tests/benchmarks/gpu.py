"""The paper's whole training on a GPU, from a few of its 400 epochs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bcadv.build import build_model
from bcadv.callbacks.record import History
from bcadv.data.datamodule import ImageDataModule
from bcadv.trainer import fit
from tests.benchmarks.clock import EpochClock
from tests.benchmarks.measure import Options, Row
from tests.benchmarks.stand_ins import write_breakhis
from tests.jobs import compose_config

EPOCHS = 400


def run(options: Options) -> Iterator[Row]:
    """Times an epoch of 1,237 images after a warm-up epoch and multiplies."""
    what = f"the paper's training: 1,237 images, 224x224, batch 32, {EPOCHS} epochs"
    if not torch.cuda.is_available():
        yield Row(what, "-", "-", "not measured: no GPU is here")
        return
    benign, malignant = (20, 20) if options.small else (644, 903)
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_breakhis(folder / "images", benign=benign, malignant=malignant, height=230, width=350)
        config = compose_config(
            "data=breakhis",
            f"data.root={folder / 'images'}",
            "model.weights=null",
            f"trainer.max_epochs={1 + options.rounds}",
            f"paths.outputs={folder / 'outputs'}",
        )
        data = ImageDataModule(config.data, config.paths.cache, config.seed)
        options.tell("decoding images")
        data.prepare()
        clock = EpochClock(
            lambda epoch: options.tell(
                f"round {epoch} of {options.rounds}: an epoch" if epoch else "warm-up: an epoch"
            )
        )
        fit(
            config,
            folder / "checkpoints",
            build_model(config, len(data.classes)),
            data,
            callbacks=[History(folder / "history.csv"), clock],
        )
        n = len(data.split.train)
    seconds = statistics.median(e.steps + e.validation + e.rest for e in clock.epochs[1:])
    yield Row(f"an epoch of {n} images with validation", f"{seconds:.2f} s", "-", "-")
    yield Row(what, "-", "-", f"{EPOCHS * seconds / 60:.1f} min, extrapolated from that")
