"""One job from images to results: split, train, attack, write down, show."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
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
from bcadv.callbacks.evaluate import RobustnessEvaluation, Trial
from bcadv.callbacks.inject import NoiseInjection
from bcadv.callbacks.record import History
from bcadv.config import BatchNormChoice, Config
from bcadv.data import splits
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.metrics.robustness import summarise
from bcadv.models.batchnorm import reestimate
from bcadv.models.classifier import Classifier
from bcadv.perturb import FGSM, GaussianNoise, ThreatModel
from bcadv.report.figures import draw_all
from bcadv.report.jobs import PREDICTIONS, RESULTS, SCHEMA_VERSION
from bcadv.report.table import console_table
from bcadv.tracking import Tracker

log = logging.getLogger(__name__)


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
        console.print(f"This job has already ended; its results are in {folder}.")
        results = json.loads((folder / RESULTS).read_text())
        console.print(console_table(results))
        return Result(folder, results)
    started = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    _settle(config)
    data = ImageDataModule(
        config.data, config.paths.cache, config.seed, config.evaluation.batch_size
    )
    data.prepare()
    splits.to_csv(data.records, data.split, folder / "split.csv")
    _announce(console, config, data)

    model = build_model(config, len(data.classes))
    tracker = _tracker(config, folder)
    params, tags = config.model_dump(mode="json"), _tags(config)
    if tracker:
        tracker.start(params, tags)
    history = History(folder / "history.csv", tracker.epoch if tracker else None)
    injection = build_injection(config)
    try:
        _fit(config, folder, model, data, history, injection)
        chosen = folder / "checkpoints" / f"{config.trainer.checkpoint}.ckpt"
        state = torch.load(chosen, map_location="cpu", weights_only=True)
        model.load_state_dict(state["state_dict"])
        predictions = _evaluate(config, folder, model, data, injection)
    except KeyboardInterrupt:
        if tracker:
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
    results = _results(config, data, rows, history, started, int(state["epoch"]))
    predictions.to_parquet(folder / PREDICTIONS, index=False)
    _write_json(folder / RESULTS, results)
    draw_all(folder)
    if tracker:
        tracker.finish(params, tags, history.rows, results)
    console.print(console_table(results))
    console.print(f"Results, predictions and figures: {folder.resolve()}", soft_wrap=True)
    return Result(folder, results)


def build_model(config: Config, classes: int) -> Classifier:
    """The classifier with its pre-trained features, where the configuration names some."""
    torch.manual_seed(config.seed)
    model = Classifier(
        classes,
        lr=config.optimizer.lr,
        weight_decay=config.optimizer.weight_decay,
        cosine_epochs=config.trainer.max_epochs if config.optimizer.scheduler else None,
        growth_rate=config.model.growth_rate,
        block_config=config.model.block_config,
        init_features=config.model.init_features,
    )
    if config.model.weights is not None:
        from bcadv.models.weights import fetch_weights, load_state_dict

        path = fetch_weights(
            config.model.weights,
            sha256=config.model.weights_sha256,
            url=config.model.weights_url,
        )
        model.net.load_features(load_state_dict(path))
    return model


def build_injection(config: Config) -> NoiseInjection | None:
    """What is mixed into training, if anything."""
    if config.injection.perturbation is None:
        return None
    noise = GaussianNoise(
        config.sigma,
        clip=config.injection.perturbation == "gaussian_clipped",
        seed=config.seed,
    )
    return NoiseInjection(noise, config.injection.probability, config.seed)


def build_trials(config: Config) -> list[Trial]:
    """The attack at every epsilon and, where asked for, noise at sigma."""
    norm = float(config.evaluation.norm)
    attack = Trial(
        FGSM(ThreatModel(eps=0.0, norm=norm)),
        strengths=tuple(px / 255 for px in config.eps_px),
        norm=norm,
        eps_px=config.eps_px,
    )
    if not config.evaluation.noise:
        return [attack]
    # Another seed than in training: the test must not meet noise that was trained on.
    noise = GaussianNoise(
        config.sigma,
        clip=config.injection.perturbation == "gaussian_clipped",
        seed=config.seed + 1,
    )
    return [attack, Trial(noise, (config.sigma,), float("inf"), (config.sigma * 255,))]


def _settle(config: Config) -> None:
    """Threads and Lightning's words."""
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


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


def _tracker(config: Config, folder: Path) -> Tracker | None:
    if not config.tracking.enabled:
        return None
    return Tracker(
        folder, config.paths.outputs, config.tracking.uri, config.tracking.experiment
    )


def _tags(config: Config) -> dict[str, str]:
    return {
        "experiment": config.experiment,
        "data_source": config.data.source,
        "synthetic": str(config.data.source == "synthetic").lower(),
        "split": config.data.split,
        "git_commit": hardware.git_commit() or "unknown",
    }


def _fit(
    config: Config,
    folder: Path,
    model: Classifier,
    data: ImageDataModule,
    history: History,
    injection: NoiseInjection | None,
) -> None:
    """Trains to the last epoch, from the last finished one where there is a checkpoint."""
    checkpoints = folder / "checkpoints"
    common: dict[str, Any] = {
        "dirpath": checkpoints,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    callbacks: list[Callback] = [
        RichProgressBar(leave=False),
        history,
        ModelCheckpoint(filename="best", monitor="val_loss", save_top_k=1, **common),
        # Separate from the best one: a job goes on from the newest epoch, not from the best.
        ModelCheckpoint(filename="last", save_top_k=1, **common),
    ]
    if injection:
        callbacks.append(injection)
    if config.trainer.early_stopping:
        callbacks.append(EarlyStopping("val_loss", patience=config.trainer.early_stopping))
    if config.trainer.weight_averaging:
        callbacks.append(EMAWeightAveraging(decay=config.trainer.weight_averaging))
    gpu = hardware.use_gpu(config.trainer.accelerator)
    if config.model.compile:
        _compile(model, config)
    trainer = pl.Trainer(
        max_epochs=config.trainer.max_epochs,
        precision=hardware.training_precision(config.trainer.precision, gpu),  # type: ignore[arg-type]
        callbacks=callbacks,
        **_trainer_options(gpu),
    )
    last = checkpoints / "last.ckpt"
    try:
        trainer.fit(
            model,
            datamodule=data,
            ckpt_path=last if last.is_file() else None,
            weights_only=True,
        )
    except SystemExit:  # how Lightning ends after Ctrl-C
        raise KeyboardInterrupt from None
    if trainer.interrupted:
        raise KeyboardInterrupt


def _trainer_options(gpu: bool) -> dict[str, Any]:
    return {
        "accelerator": "gpu" if gpu else "cpu",
        "devices": 1,
        "logger": False,
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        "deterministic": "warn" if gpu else False,
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


def _evaluate(
    config: Config,
    folder: Path,
    model: Classifier,
    data: ImageDataModule,
    injection: NoiseInjection | None,
) -> pd.DataFrame:
    """Attacks the test images under each choice of BatchNorm statistics.

    Always in float32: bf16 has 8 significant bits, which a quarter of a grey level drowns in.
    """
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    gpu = hardware.use_gpu(config.trainer.accelerator)
    model.to("cuda" if gpu else "cpu")
    frames = []
    for variant in config.batchnorm:
        model.load_state_dict(trained)
        _recalibrate(variant, config, model, data, injection)
        evaluation = RobustnessEvaluation(build_trials(config), _examples(config, data))
        trainer = pl.Trainer(
            precision="32-true",
            callbacks=[RichProgressBar(leave=False), evaluation],
            enable_checkpointing=False,
            **_trainer_options(gpu),
        )
        try:
            trainer.test(model, datamodule=data, verbose=False)
        except SystemExit:
            raise KeyboardInterrupt from None
        frames.append(evaluation.predictions().assign(batchnorm=variant))
        if variant == config.batchnorm[0]:
            _save_examples(folder / "examples.npz", config, evaluation)
    predictions = pd.concat(frames, ignore_index=True)
    numbers = predictions["index"]
    predictions.insert(0, "image_id", numbers.map(lambda i: data.records[i].image_id))
    predictions.insert(2, "patient", numbers.map(lambda i: data.records[i].patient))
    return predictions


def _recalibrate(
    variant: BatchNormChoice,
    config: Config,
    model: Classifier,
    data: ImageDataModule,
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


def _examples(config: Config, data: ImageDataModule) -> list[int]:
    """Test images for the figures: as many of each class as fit, the first ones by name."""
    per_class = max(1, config.evaluation.examples // len(data.classes))
    chosen: list[int] = []
    for k in range(len(data.classes)):
        members = [i for i in data.split.test if data.targets[i] == k]
        chosen += members[:per_class]
    return chosen[: config.evaluation.examples]


def _results(
    config: Config,
    data: ImageDataModule,
    rows: list[dict[str, Any]],
    history: History,
    started: datetime,
    epoch: int,
) -> dict[str, Any]:
    gpu = hardware.use_gpu(config.trainer.accelerator)
    counts = data.audit.counts
    sizes = {part: sum(of_class.values()) for part, of_class in counts.items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "run": {
            "experiment": config.experiment,
            "name": config.experiment,
            "command": shlex.join(["python", "-m", "bcadv.run", *sys.argv[1:]]),
            "started": started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": config.seed,
            "git_commit": hardware.git_commit(),
        },
        "data": {
            "source": config.data.source,
            "synthetic": config.data.source == "synthetic",
            "split": config.data.split,
            "fold": config.data.fold,
            "classes": data.classes,
            "positive": data.positive,
            "n_train": sizes["train"],
            "n_val": sizes["val"],
            "n_test": sizes["test"],
            "counts": counts,
            "patient_overlap": data.audit.patient_overlap,
            "overlap": data.audit.as_dict() | {"sentence": data.audit.sentence()},
            "skipped": data.skipped,
            "notes": data.notes,
        },
        "model": config.model.model_dump(mode="json") | {"architecture": "densenet121"},
        "training": {
            "epochs": len(history.rows),
            "checkpoint": config.trainer.checkpoint,
            "checkpoint_epoch": epoch,
            "precision": hardware.training_precision(config.trainer.precision, gpu),
            "injection": config.injection.model_dump(mode="json"),
            "sigma": config.sigma if config.injection.perturbation else None,
            "optimizer": config.optimizer.model_dump(mode="json"),
            "batch_size": config.data.batch_size,
        },
        "clean": [row for row in rows if row["perturbation"] == "none"],
        "perturbed": [row for row in rows if row["perturbation"] != "none"],
        "checks": _checks(rows),
        "environment": hardware.environment(gpu),
    }


def _checks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings that would make the numbers suspect."""
    clean = {row["batchnorm"]: row["metrics"] for row in rows if row["perturbation"] == "none"}
    checks = []
    for row in rows:
        if row["perturbation"] == "none" or row["eps"] != 0:
            continue
        same = row["metrics"]["accuracy"]["k"] == clean[row["batchnorm"]]["accuracy"]["k"]
        checks.append(
            {
                "name": f"{row['perturbation']} of strength 0 changes nothing",
                "passed": same,
                "detail": f"BatchNorm {row['batchnorm']}",
            }
        )
    return checks


def _save_examples(path: Path, config: Config, evaluation: RobustnessEvaluation) -> None:
    kept = evaluation.examples()
    np.savez_compressed(path, image=kept.image)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)


__all__ = ["BcadvError", "Result", "build_injection", "build_model", "build_trials", "run"]
