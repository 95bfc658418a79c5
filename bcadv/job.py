"""One job from images to results: split, train, attack, write down, show."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from bcadv import distributed, hardware
from bcadv.build import build_injection, build_model, build_trials, pretrained
from bcadv.callbacks.evaluate import RobustnessEvaluation
from bcadv.callbacks.inject import NoiseInjection
from bcadv.callbacks.record import History
from bcadv.config import Config
from bcadv.data import splits
from bcadv.data.datamodule import ImageDataModule
from bcadv.data.records import write_atomically
from bcadv.gallery import save_gallery
from bcadv.launch import together
from bcadv.models.classifier import Classifier
from bcadv.recalibrate import recalibrate
from bcadv.report.figures import draw_all
from bcadv.report.jobs import PREDICTIONS, RESULTS, Job
from bcadv.report.page import PREVALENCE, write_report
from bcadv.report.table import console_table
from bcadv.results import Origin, example_images, results_of, save_examples
from bcadv.store.fingerprint import describe, fingerprint
from bcadv.store.models import REFERENCE, Entry, Store
from bcadv.tracking import Tracker
from bcadv.train import assist, digest, load, obtain, trainer
from bcadv.world import started_outside

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


def run(config: Config, folder: Path, origin: Origin | None = None) -> Result:
    """Trains or takes a trained model, attacks it and writes down; goes on with what it finds.

    Args:
        config: a validated configuration.
        folder: of the job; gets ``results.json``, ``predictions.parquet``, ``split.csv``,
            ``history.csv``, ``model.json`` (which trained model), ``figures/`` and
            ``report.html``.
        origin: the command that asked for the job, and the sweep it belongs to.

    Returns:
        The results and where they stand; in every process of a job that several do.

    Raises:
        BcadvError: missing images or weights, and whatever else the user can mend.
        KeyboardInterrupt: stopped by a person; the last finished epoch is saved.
    """
    if not distributed.active():
        wanted = config.trainer.devices * config.trainer.nodes
        if wanted > 1 or started_outside(os.environ) is not None:
            return together(config, run, config, folder, origin)
        return _lead(config, folder, origin or Origin())
    result = None
    if distributed.rank() == 0:
        result = _lead(config, folder, origin or Origin())
    else:
        _assist(config, folder)
    return distributed.tell(result)


def _assist(config: Config, folder: Path) -> None:
    """A job's work on images, for a leader that decides, writes and speaks."""
    _settle(config)
    data = _data(config)
    distributed.wait()  # what the leader fetches and decodes is then there
    data.prepare()
    model = build_model(config, len(data.classes))
    injection = build_injection(config)
    assist(config, model, data, injection)
    evaluate(config, folder, model, data, injection=injection)


def _lead(config: Config, folder: Path, origin: Origin) -> Result:
    """The whole of a job."""
    console = Console(stderr=True)
    started = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    _settle(config)
    data = _data(config)
    # What is quick to miss comes first: images, then weights, and only then the decoding.
    data.find()
    pretrained(config)
    data.prepare()
    distributed.wait()
    splits.to_csv(data.records, data.split, folder / "split.csv")
    _announce(console, config, data)
    gpu = hardware.use_gpu(config.trainer.accelerator)
    precision = hardware.training_precision(config.trainer.precision, gpu)
    shape = describe(config, content=data.training_content(), precision=precision)
    name = fingerprint(shape)
    # Before the training: whoever clears the store must see that the model is wanted.
    _refer(folder, name)
    Store(config.paths.outputs).used_by(name, folder)
    model = build_model(config, len(data.classes))
    injection = build_injection(config)
    tracker = Tracker(
        folder, config.paths.outputs, config.tracking, _tags(config, data, origin, name)
    )
    tracker.start(config.model_dump(mode="json"))
    history = History(folder / "history.csv", tracker.epoch)
    with _told(tracker, history, console, config.trainer.max_epochs):
        trained = obtain(
            config,
            shape,
            name,
            folder=folder,
            model=model,
            data=data,
            injection=injection,
            history=history,
            say=console.print,
        )
        checkpoint = trained.entry.checkpoint(config.trainer.checkpoint)
        _refer(folder, name, checkpoint)
        if trained.entry.history != folder / "history.csv":
            shutil.copyfile(trained.entry.history, folder / "history.csv")
        epoch = load(model, trained.entry, config.trainer.checkpoint)
        weights = digest(model)
        predictions = evaluate(
            config, folder, model, data, injection=injection, entry=trained.entry
        )
        results = results_of(
            config,
            data,
            origin,
            folder=folder,
            predictions=predictions,
            trained=trained,
            shape=shape,
            name=name,
            started=started,
            epoch=epoch,
            weights=weights,
        )
        _write(folder, predictions, results)
    tracker.finish(config.model_dump(mode="json"), trained.history, results, checkpoint)
    console.print(console_table(results))
    for finding in results["checks"]:
        if not finding["passed"]:
            console.print(f"[bold yellow]CHECK FAILED[/]: {finding['name']} ({finding['detail']})")
    console.print(f"Results, predictions and figures: {folder.resolve()}", soft_wrap=True)
    return Result(folder, results)


@contextmanager
def _told(tracker: Tracker, history: History, console: Console, epochs: int) -> Iterator[None]:
    """Tells the tracker, and a person who stopped the job, how the work within it ended."""
    try:
        yield
    except KeyboardInterrupt:
        tracker.interrupt()
        console.print(
            f"Stopped after {len(history.rows)} of {epochs} epochs. The same "
            "command goes on from there; with resume=true in the same folder."
        )
        raise
    except Exception as error:
        tracker.fail(str(error) or type(error).__name__)
        raise


def _write(folder: Path, predictions: pd.DataFrame, results: dict[str, Any]) -> None:
    """Writes the files of a finished job, and last the one that says that it is finished."""
    predictions.to_parquet(folder / PREDICTIONS, index=False)
    draw_all(folder, results)
    command = f"python -m bcadv.report runs={shlex.quote(str(folder))}"
    write_report(
        [Job(folder, results)], [], folder, prevalence=PREVALENCE, command=command, files=False
    )
    write_atomically(folder / RESULTS, json.dumps(results, indent=2) + "\n")


def _refer(folder: Path, name: str, checkpoint: Path | None = None) -> None:
    """Writes down which trained model the job uses."""
    reference = {"fingerprint": name}
    if checkpoint is not None:
        reference["checkpoint"] = os.path.relpath(checkpoint, folder)
    write_atomically(folder / REFERENCE, json.dumps(reference) + "\n")


def _data(config: Config) -> ImageDataModule:
    return ImageDataModule(
        config.data, config.paths.cache, config.seed, config.evaluation.batch_size
    )


def evaluate(
    config: Config,
    folder: Path,
    model: Classifier,
    data: ImageDataModule,
    *,
    injection: NoiseInjection | None,
    entry: Entry | None = None,
) -> pd.DataFrame:
    """Attacks the test images under each choice of BatchNorm statistics.

    Always in float32: bf16 has 8 significant bits, which a quarter of a grey level drowns in.

    Args:
        config: attack, strengths and BatchNorm choices.
        folder: of the job; gets ``examples.npz`` and ``gallery.npz``.
        model: the trained classifier; left with the statistics of the last choice.
        data: prepared.
        injection: what was mixed into training, for ``batchnorm=noisy``.
        entry: of the model, which keeps its other BatchNorm statistics.

    Returns:
        The predictions table, see `RobustnessEvaluation.predictions`, with ``image_id``,
        ``patient`` and ``batchnorm``. Where several processes share the images the leader has the
        whole table and writes the files.
    """
    distributed.share_state(model)
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    frames = []
    for variant in config.batchnorm:
        model.load_state_dict(trained)
        # Each time: the Trainer leaves a model on the CPU.
        model.to("cuda" if hardware.use_gpu(config.trainer.accelerator) else "cpu")
        recalibrate(variant, config, model, data, injection=injection, entry=entry)
        evaluation = RobustnessEvaluation(build_trials(config), example_images(config, data))
        runner = trainer(config, [evaluation], precision="32-true", enable_checkpointing=False)
        try:
            runner.test(model, datamodule=data, verbose=False)
        except SystemExit:
            raise KeyboardInterrupt from None
        frames.append(evaluation.predictions().assign(batchnorm=variant))
        if variant == config.batchnorm[0] and distributed.rank() == 0:
            save_examples(folder / "examples.npz", config, evaluation)
            save_gallery(folder / "gallery.npz", evaluation, model, data)
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


def _tags(config: Config, data: ImageDataModule, origin: Origin, name: str) -> dict[str, str]:
    tags: Mapping[str, object] = {
        "experiment": config.experiment,
        "data_source": config.data.source,
        "synthetic": str(config.data.source == "synthetic").lower(),
        "split": config.data.split,
        "patient_overlap": data.audit.patient_overlap,
        "git_commit": hardware.git_commit() or "unknown",
        "fingerprint": name,
        "sweep": origin.sweep,
        "job": origin.job,
    }
    return {key: str(value) for key, value in tags.items() if value is not None}
