"""What training costs above the bare model, and what noise costs above that."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn import functional

from bcadv import hardware
from bcadv.build import build_injection, build_model
from bcadv.callbacks.inject import NoiseInjection
from bcadv.callbacks.record import History
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.trainer import fit
from bcadv.typing import Batch
from tests.benchmarks.clock import EpochClock, now
from tests.benchmarks.measure import Options, Row
from tests.benchmarks.stand_ins import write_breakhis
from tests.jobs import compose_config

PAPER_STEPS = 39
"""Batches of 32 in the paper's 1,237 training images."""


class BareSteps:
    """The model, its optimizer and one batch: nothing else.

    Args:
        config: network, optimizer and precision, the same as in the training beside it.
        batch: on the device, images in [0, 1].
        steps: in each call.
    """

    def __init__(self, config: Config, batch: Batch, classes: int, steps: int) -> None:
        device = batch.image.device
        self.model = build_model(config, classes).to(device).train()
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), config.optimizer.lr, weight_decay=config.optimizer.weight_decay
        )
        precision = hardware.training_precision(config.trainer.precision, device.type == "cuda")
        self.autocast = torch.autocast(
            device.type, torch.bfloat16, enabled=precision == "bf16-mixed"
        )
        self.batch, self.steps = batch, steps
        self.seconds: list[float] = []

    def __call__(self) -> None:
        begun = now()
        for _ in range(self.steps):
            self.optimizer.zero_grad()
            with self.autocast:
                logits = self.model(self.batch.image)
                loss = functional.cross_entropy(logits, self.batch.target)
            torch.autograd.backward(loss)
            self.optimizer.step()
        self.seconds.append(now() - begun)


class EveryOtherEpoch(pl.Callback):
    """Injects in odd epochs only, so that both kinds stand in one training."""

    def __init__(self, injection: NoiseInjection) -> None:
        self.injection = injection

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Hands on, or does nothing."""
        if trainer.current_epoch % 2:
            self.injection.on_train_batch_start(trainer, pl_module, batch, batch_idx)


def run(options: Options) -> Iterator[Row]:
    """One training: bare steps, an epoch without noise, an epoch with it, and again.

    A row that is not asked for leaves its part of every round out.
    """
    # Eight tenths of each class are trained on: 6 batches of 32, or 4 of 8. A processor that
    # classifies 6 images/s would take 20 minutes for what a GPU does in seconds.
    on_gpu = torch.cuda.is_available() and not options.small
    per_class, batch_size = (120, 32) if on_gpu else (20, 8)
    side = 40 if options.small else 230
    epochs = 2 if options.wants("noise") else 1  # of each round
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_breakhis(
            folder / "images",
            benign=per_class,
            malignant=per_class,
            height=side,
            width=side * 3 // 2,
        )
        config = compose_config(
            "+experiment=defense",
            "data=breakhis",
            f"data.root={folder / 'images'}",
            f"data.crop={32 if options.small else 224}",
            f"data.batch_size={batch_size}",
            "model.weights=null",
            f"model.block_config={'[2,2]' if options.small else '[6,12,24,16]'}",
            f"trainer.max_epochs={epochs * (1 + options.rounds)}",
            f"paths.outputs={folder / 'outputs'}",
        )
        bare, clock, steps = _trained(config, folder, options, epochs)
    measured = clock.epochs[epochs:]  # the first round warms up
    plain = measured[::epochs]
    plain_step = statistics.median(epoch.steps for epoch in plain) / steps

    def rate(step: float) -> str:
        return f"{batch_size / step:.2f} images/s"

    if options.wants("bare"):
        kind = hardware.training_precision(
            config.trainer.precision, hardware.use_gpu(config.trainer.accelerator)
        )
        bare_step = statistics.median(bare.seconds[1:]) / steps
        yield Row(
            f"steps in pl.Trainer against bare model steps, {kind}, batch {batch_size}",
            rate(plain_step),
            rate(bare_step),
            f"{bare_step / plain_step:.3f}",
            ">= 0.92",
        )
        rest = statistics.median(epoch.rest for epoch in measured)
        whole = plain_step + rest / PAPER_STEPS
        yield Row(
            f"with history and checkpoints ({rest:.2f} s per epoch), computed for the paper's "
            f"{PAPER_STEPS} steps per epoch",
            rate(whole),
            rate(bare_step),
            f"{bare_step / whole:.3f}",
            ">= 0.92",
        )
        yield _spread("seconds per step, round by round: bare", bare.seconds[1:], steps)
    yield _spread("seconds per step in pl.Trainer", (epoch.steps for epoch in plain), steps)
    if options.wants("noise"):
        noisy = measured[1::2]
        noisy_step = statistics.median(epoch.steps for epoch in noisy) / steps
        yield Row(
            "steps with noise injected against steps without",
            rate(noisy_step),
            rate(plain_step),
            f"{plain_step / noisy_step:.3f}",
            ">= 0.95",
        )
        yield _spread("seconds per step with noise", (epoch.steps for epoch in noisy), steps)


def _spread(what: str, seconds: Iterable[float], steps: int) -> Row:
    return Row(what, ", ".join(f"{each / steps:.3g}" for each in seconds), "-", "-")


def _trained(
    config: Config, folder: Path, options: Options, epochs: int
) -> tuple[BareSteps, EpochClock, int]:
    options.tell("decoding images")
    data = ImageDataModule(config.data, config.paths.cache, config.seed)
    data.prepare()
    loader = data.train_dataloader()
    device = torch.device("cuda" if hardware.use_gpu(config.trainer.accelerator) else "cpu")
    batch = data.transfer_batch_to_device(next(iter(loader)), device, 0)
    classes, steps = len(data.classes), len(loader)
    bare = BareSteps(config, batch, classes, steps)

    def between(epoch: int) -> None:
        number, noisy = divmod(epoch, epochs)
        when = f"round {number} of {options.rounds}" if number else "warm-up"
        if options.wants("bare") and not noisy:
            options.tell(f"{when}: bare steps")
            bare()
        options.tell(f"{when}: an epoch {'with' if noisy else 'without'} noise")

    clock = EpochClock(between)
    callbacks: list[pl.Callback] = [History(folder / "history.csv")]
    if options.wants("noise"):
        injection = build_injection(config)
        assert injection is not None  # the defence experiment has one
        callbacks.append(EveryOtherEpoch(injection))
    fit(
        config,
        folder / "checkpoints",
        build_model(config, classes),
        data,
        callbacks=[*callbacks, clock],
    )
    return bare, clock, steps
