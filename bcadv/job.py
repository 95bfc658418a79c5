"""One job from images to results: split, train, attack, write down, show."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
)
from rich.console import Console

from bcadv import hardware
from bcadv.build import build_injection, build_model, build_trials, pretrained
from bcadv.callbacks.evaluate import RobustnessEvaluation
from bcadv.callbacks.inject import NoiseInjection
from bcadv.callbacks.record import History
from bcadv.config import BatchNormChoice, Config
from bcadv.data import splits
from bcadv.data.datamodule import ImageDataModule
from bcadv.metrics.robustness import summarise
from bcadv.models.batchnorm import reestimate
from bcadv.models.classifier import Classifier
from bcadv.report.figures import draw_all
from bcadv.report.jobs import PREDICTIONS, RESULTS
from bcadv.report.table import console_table
from bcadv.results import example_images, results_of, save_examples, write_json
from bcadv.tracking import Tracker

log = logging.getLogger(__name__)

_HARMLESS = (
    ".*does not have many workers.*",  # images come from a memory map
    ".*LeafSpec.*",  # between Lightning and torch
    ".*exists and is not empty.*",  # a resumed job finds its own checkpoints
    ".*number of training batches.*",
)


@dataclass(frozen=True)
class Result:
    """What a job leaves behind.

    Attributes:
        folder: holds the result files.
        results: the content of ``results.json``.
    """

    folder: Path
    results: dict[str, Any]


def run(config: Config, folder: Path) -> Result:
    """Trains, attacks and writes down; goes on with what the folder already holds.

    Args:
        config: a validated configuration.
        folder: of the job; gets ``results.json``, ``predictions.parquet``, ``split.csv``,
            ``history.csv``, ``checkpoints/`` and ``figures/``.

    Returns:
        The results and where they stand.

    Raises:
        BcadvError: missing images or weights, and whatever else the user can mend.
        KeyboardInterrupt: stopped by a person; the last finished epoch is saved.
    """
    console = Console(stderr=True)
    if config.resume and (folder / RESULTS).is_file():
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        console.print(console_table(results))
        console.print(f"This job had already ended; its results are in {folder}.")
        return Result(folder, results)
    started = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    _settle(config)
    data = ImageDataModule(
        config.data, config.paths.cache, config.seed, config.evaluation.batch_size
    )
    # What is quick to miss comes first: images, then weights, and only then the decoding.
    data.find()
    pretrained(config)
    data.prepare()
    splits.to_csv(data.records, data.split, folder / "split.csv")
    _announce(console, config, data)
    model = build_model(config, len(data.classes))
    injection = build_injection(config)
    tracker = Tracker(folder, config.paths.outputs, config.tracking, _tags(config))
    tracker.start(config.model_dump(mode="json"))
    history = History(folder / "history.csv", tracker.epoch)
    try:
        extra = [history, injection] if injection else [history]
        train(config, folder / "checkpoints", model, data, callbacks=extra)
        epoch = load_checkpoint(model, folder / "checkpoints" / config.trainer.checkpoint)
        predictions = evaluate(config, folder, model, data, injection=injection)
    except KeyboardInterrupt:
        tracker.interrupt()
        console.print(
            f"Stopped after {len(history.rows)} of {config.trainer.max_epochs} epochs. What was "
            f"reached is in {folder}; the same command with resume=true goes on from there."
        )
        raise
    rows = summarise(
        predictions,
        data.classes,
        data.positive,
        n_boot=config.evaluation.n_boot,
        seed=config.seed,
    )
    results = results_of(
        config,
        data,
        predictions=predictions,
        rows=rows,
        history=history.rows,
        started=started,
        epoch=epoch,
    )
    predictions.to_parquet(folder / PREDICTIONS, index=False)
    write_json(folder / RESULTS, results)
    draw_all(folder)
    tracker.finish(config.model_dump(mode="json"), history.rows, results)
    console.print(console_table(results))
    for finding in results["checks"]:
        if not finding["passed"]:
            console.print(f"[bold yellow]CHECK FAILED[/]: {finding['name']} ({finding['detail']})")
    console.print(f"Results, predictions and figures: {folder.resolve()}", soft_wrap=True)
    return Result(folder, results)


def train(
    config: Config,
    checkpoints: Path,
    model: Classifier,
    data: ImageDataModule,
    *,
    callbacks: Sequence[Callback],
) -> None:
    """Trains to the last epoch, from the last finished one where there is a checkpoint.

    Args:
        config: epochs, precision and options of training.
        checkpoints: folder that gets ``best.ckpt`` (lowest validation loss) and ``last.ckpt``.
        model: is trained in place.
        data: prepared or not.
        callbacks: run before the checkpoints are written.

    Raises:
        KeyboardInterrupt: stopped by a person.
    """
    common: dict[str, Any] = {
        "dirpath": checkpoints,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    every: list[Callback] = [
        *callbacks,
        ModelCheckpoint(filename="best", monitor="val_loss", save_top_k=1, **common),
        # Separate from the best one: a job goes on from the newest epoch, not from the best.
        ModelCheckpoint(filename="last", save_top_k=1, **common),
    ]
    if config.trainer.early_stopping:
        every.append(EarlyStopping("val_loss", patience=config.trainer.early_stopping))
    if config.trainer.weight_averaging:
        every.append(EMAWeightAveraging(decay=config.trainer.weight_averaging))
    gpu = hardware.use_gpu(config.trainer.accelerator)
    if config.model.compile:
        _compile(model, config)
    precision = hardware.training_precision(config.trainer.precision, gpu)
    trainer = _trainer(config, every, max_epochs=config.trainer.max_epochs, precision=precision)
    last = checkpoints / "last.ckpt"
    resume_from = last if last.is_file() else None
    try:
        trainer.fit(model, datamodule=data, ckpt_path=resume_from, weights_only=True)
    except SystemExit:  # how Lightning ends after Ctrl-C
        raise KeyboardInterrupt from None


def load_checkpoint(model: Classifier, path: Path) -> int:
    """Loads the weights of ``path.ckpt`` without executing code; returns their epoch."""
    state = torch.load(path.with_suffix(".ckpt"), map_location="cpu", weights_only=True)
    model.load_state_dict(state["state_dict"])
    return int(state["epoch"])


def evaluate(
    config: Config,
    folder: Path,
    model: Classifier,
    data: ImageDataModule,
    *,
    injection: NoiseInjection | None,
) -> pd.DataFrame:
    """Attacks the test images under each choice of BatchNorm statistics.

    Always in float32: bf16 has 8 significant bits, which a quarter of a grey level drowns in.

    Args:
        config: attack, strengths and BatchNorm choices.
        folder: of the job; gets ``examples.npz``.
        model: the trained classifier; left with the statistics of the last choice.
        data: prepared.
        injection: what was mixed into training, for ``batchnorm=noisy``.

    Returns:
        The predictions table, see `RobustnessEvaluation.predictions`, with ``image_id``,
        ``patient`` and ``batchnorm``.
    """
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    model.to("cuda" if hardware.use_gpu(config.trainer.accelerator) else "cpu")
    frames = []
    for variant in config.batchnorm:
        model.load_state_dict(trained)
        _recalibrate(variant, config, model, data, injection=injection)
        evaluation = RobustnessEvaluation(build_trials(config), example_images(config, data))
        trainer = _trainer(config, [evaluation], precision="32-true", enable_checkpointing=False)
        try:
            trainer.test(model, datamodule=data, verbose=False)
        except SystemExit:
            raise KeyboardInterrupt from None
        frames.append(evaluation.predictions().assign(batchnorm=variant))
        if variant == config.batchnorm[0]:
            save_examples(folder / "examples.npz", config, evaluation)
    predictions = pd.concat(frames, ignore_index=True)
    numbers = predictions["index"]
    predictions.insert(0, "image_id", numbers.map(lambda i: data.records[i].image_id))
    predictions.insert(2, "patient", numbers.map(lambda i: data.records[i].patient))
    return predictions


def _settle(config: Config) -> None:
    """Threads, and Lightning's words where they help nobody here."""
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message)


def _trainer(config: Config, callbacks: Sequence[Callback], **options: Any) -> pl.Trainer:
    gpu = hardware.use_gpu(config.trainer.accelerator)
    return pl.Trainer(
        callbacks=[RichProgressBar(leave=False), *callbacks],
        accelerator="gpu" if gpu else "cpu",
        devices=1,
        logger=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        **options,
    )


def _announce(console: Console, config: Config, data: ImageDataModule) -> None:
    if config.data.source == "synthetic":
        console.print(
            "[bold yellow]SYNTHETIC TISSUE[/]: these images are painted by a program. Nothing "
            "that follows says anything about patients. For real images: data=breakhis."
        )
    for note in data.notes:
        console.print(f"[bold yellow]NOTE[/]: {note}")
    for skipped in data.skipped:
        console.print(f"[bold yellow]SKIPPED[/]: {skipped}")
    for part, counts in data.audit.counts.items():
        counted = ", ".join(f"{n} {name}" for name, n in counts.items())
        console.print(f"{part:>5}: {counted}")
    console.print(data.audit.sentence())


def _tags(config: Config) -> dict[str, str]:
    return {
        "experiment": config.experiment,
        "data_source": config.data.source,
        "synthetic": str(config.data.source == "synthetic").lower(),
        "split": config.data.split,
        "git_commit": hardware.git_commit() or "unknown",
    }


def _compile(model: Classifier, config: Config) -> None:
    """Compiles the network, or says why not and goes on without."""
    probe = torch.zeros(2, 3, config.data.crop, config.data.crop)
    try:
        model.net.compile()
        with torch.no_grad():
            model.net.eval()(probe)
    except Exception as error:
        model.net._compiled_call_impl = None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("model.compile=true: cannot compile here (%s); going on without.", reason)
    finally:
        model.net.train()


def _recalibrate(
    variant: BatchNormChoice,
    config: Config,
    model: Classifier,
    data: ImageDataModule,
    *,
    injection: NoiseInjection | None,
) -> None:
    if variant == "as_trained":
        return
    batches = (
        data.on_after_batch_transfer(data.transfer_batch_to_device(b, model.device, 0), 0)
        for b in data.plain_train_dataloader()
    )
    if variant == "noisy" and injection is not None:
        # The epoch after the last one is a draw that training has not seen.
        unseen = config.trainer.max_epochs
        reestimate(model, batches, lambda batch: injection.inject(model, batch, unseen))
    else:
        reestimate(model, batches)
