"""How long a job takes to its first training batch, with and without the decoded images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytorch_lightning as pl

from bcadv import job, train
from bcadv.config import Config
from bcadv.trainer import fit
from tests.benchmarks.measure import Options, Row, Timed, alternate
from tests.benchmarks.stand_ins import write_breakhis
from tests.jobs import compose_config


class _Delivered(Exception):  # noqa: N818  it is no error
    """The first batch has come."""


class _StopAtFirstBatch(pl.Callback):
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        raise _Delivered


def _train_to_first_batch(*arguments: Any, callbacks: list[pl.Callback], **options: Any) -> None:
    fit(*arguments, callbacks=[*callbacks, _StopAtFirstBatch()], **options)


def start(config: Config) -> None:
    """Runs a job as the command line does, until the first batch is on the device."""
    folder = config.paths.outputs / uuid4().hex
    with (
        # A job says what it works on; so often, nobody wants to read it.
        redirect_stdout(StringIO()),
        redirect_stderr(StringIO()),
        patch.object(train, "fit", _train_to_first_batch),
        suppress(_Delivered),
    ):
        job.run(config, folder)
        raise RuntimeError("the job ended without a training batch")


def run(options: Options) -> Iterator[Row]:
    """Cold and warm start on as many images as the paper's, at half their side."""
    benign, malignant, height, width = (20, 20, 40, 60) if options.small else (644, 903, 230, 350)
    with TemporaryDirectory() as name:
        folder = Path(name)
        options.tell("writing images")
        write_breakhis(
            folder / "images", benign=benign, malignant=malignant, height=height, width=width
        )

        def config(cache: str, tracking: bool) -> Config:
            return compose_config(
                "data=breakhis",
                f"data.root={folder / 'images'}",
                f"data.crop={32 if options.small else 224}",
                "model.weights=null",
                "trainer.accelerator=cpu",
                f"tracking.enabled={tracking}",
                f"paths.outputs={folder / 'outputs'}",
                f"paths.cache={folder / cache}",
            )

        def timed(what: str, cache: Callable[[], str], tracking: bool) -> Timed:
            side = {what: lambda: start(config(cache(), tracking))}
            return alternate(side, options.rounds, tell=options.tell)[what]

        n = f"{benign + malignant} images {width}x{height}"
        if options.wants("cold"):
            cold = timed("cold", lambda: f"cold_{uuid4().hex}", tracking=False)
            yield Row(f"{n}, cold cache, decoding", str(cold), "-", f"{cold.median:.2f} s")
        if options.wants("warm"):
            warm = timed("warm", lambda: "warm", tracking=False)
            yield Row(f"{n}, warm", str(warm), "-", f"{warm.median:.2f} s", "<= 2 s")
        if options.wants("tracked"):
            tracked = timed("tracked", lambda: "warm", tracking=True)
            yield Row("the same with MLflow", str(tracked), "-", f"{tracked.median:.2f} s")
