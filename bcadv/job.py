"""One job from images to results: split, train, attack, write down, show."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from bcadv import distributed, hardware
from bcadv.build import build_injection, build_model, build_trials, pretrained, task_of
from bcadv.callbacks.record import History
from bcadv.config import Config
from bcadv.console import label, say, terminal
from bcadv.data.catalog import SOURCES
from bcadv.data.datamodule import ImageDataModule
from bcadv.data.inspect import seen_in
from bcadv.data.said import compact, notes
from bcadv.data.split_file import to_csv
from bcadv.evaluate.run import evaluated, variants_of
from bcadv.files import write_atomically
from bcadv.launch import together
from bcadv.outcome import defence_of, result_of
from bcadv.report.options import PREVALENCE
from bcadv.report.page import Written, tell, write_report
from bcadv.report.table import console_table
from bcadv.results.files import HISTORY, PAGE, RESULTS, SPLIT, SUMMARY
from bcadv.results.origin import Origin
from bcadv.results.schema import Result, write_result
from bcadv.store.fingerprint import describe, fingerprint
from bcadv.store.models import REFERENCE, SURROGATES, Store
from bcadv.study.jobs import Job
from bcadv.surrogate import plan_with, surrogates
from bcadv.text import first_line
from bcadv.tracking import Tracker
from bcadv.train import assist, digest, load, obtain
from bcadv.world import started_outside

log = logging.getLogger(__name__)

_HARMLESS = (
    ".*does not have many workers.*",  # images come from a memory map
    ".*LeafSpec.*",  # between Lightning and torch
    ".*exists and is not empty.*",  # a resumed job finds its own checkpoints
    ".*number of training batches.*",
)


@dataclass(frozen=True)
class Outcome:
    """What a job leaves behind.

    Attributes:
        folder: holds the result files.
        result: the content of ``results.json``.
    """

    folder: Path
    result: Result


def run(config: Config, folder: Path, origin: Origin | None = None) -> Outcome:
    """Trains or takes a trained model, attacks it and writes down; goes on with what it finds.

    Args:
        config: a validated configuration.
        folder: of the job; gets ``results.json``, ``predictions.parquet``, ``split.csv``,
            ``history.csv``, ``model.json`` (which trained model), ``examples.npz`` and
            ``gallery.npz``, and then ``figures/``, ``summary.json`` and ``report.html``.
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
    named: Mapping[str, str] = distributed.tell()
    data.prepare()  # what the leader fetched and decoded is there
    others = surrogates(config, data.classes, named)
    model = build_model(config, len(data.classes))
    injection = build_injection(config)
    assist(config, model, data, injection)
    weights: str = distributed.tell()
    plan = plan_with(config, others)
    with evaluated(
        config,
        folder,
        model,
        data,
        plan,
        weights=weights,
        injection=injection,
        surrogates=others,
    ):
        pass


def _lead(config: Config, folder: Path, origin: Origin) -> Outcome:
    """The whole of a job."""
    console = terminal()
    started = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    _settle(config)
    data = _data(config)
    # What is quick to miss comes first: images, then weights, and only then the decoding.
    others = surrogates(config, data.find().classes)
    pretrained(config)
    data.prepare()
    distributed.tell({name: other.record.fingerprint for name, other in others.items()})
    # An aim or a loss that these classes do not have is said before the training.
    plan = plan_with(config, others)
    build_trials(config, plan, task_of(data), {name: one.model for name, one in others.items()})
    to_csv(data.records, data.split, folder / SPLIT)
    _announce(console, config, data)
    gpu = hardware.use_gpu(config.trainer.accelerator)
    precision = hardware.training_precision(config.trainer.precision, gpu)
    shape = describe(config, content=data.training_content(), precision=precision)
    name = fingerprint(shape)
    used = [other.other_than(shape, name) for other in others.values()]
    # Before the training: whoever clears the store must see that the model is wanted.
    _refer(folder, name, used)
    Store(config.paths.outputs).used_by(name, folder)
    model = build_model(config, len(data.classes))
    injection = build_injection(config)
    tracker = Tracker(
        folder, config.paths.outputs, config.tracking, _tags(config, data, origin, name)
    )
    tracker.start(config.model_dump(mode="json"))
    history = History(folder / HISTORY, tracker.epoch)
    stage = _Stage(history, config.trainer.max_epochs)
    with _told(tracker, stage, console):
        trained = obtain(
            config,
            shape,
            name,
            folder=folder,
            model=model,
            data=data,
            injection=injection,
            history=history,
            say=partial(say, console),
        )
        checkpoint = trained.entry.checkpoint(config.trainer.checkpoint)
        _refer(folder, name, used, checkpoint)
        if trained.entry.history != folder / HISTORY:
            shutil.copyfile(trained.entry.history, folder / HISTORY)
        stage.trained = True
        epoch = load(model, trained.entry, config.trainer.checkpoint)
        weights = distributed.tell(digest(model))
        with evaluated(
            config,
            folder,
            model,
            data,
            plan,
            weights=weights,
            injection=injection,
            entry=trained.entry,
            surrogates=others,
        ) as done:
            result = result_of(
                config,
                data,
                origin,
                folder=folder,
                plan=done.plan,
                probed=done.findings,
                surrogates=[other.record for other in others.values()],
                variants=variants_of(config, model),
                model=model,
                trained=trained,
                shape=shape,
                name=name,
                started=started,
                epoch=epoch,
                weights=weights,
            )
            # From here on the job is done, whatever becomes of its pictures and of the tracker.
            write_atomically(folder / RESULTS, write_result(result))
    written = render(folder, result)
    tracker.finish(
        config.model_dump(mode="json"),
        trained.history,
        result,
        checkpoint,
        trained.entry.estimated(config.trainer.checkpoint, result.model.batchnorm),
    )
    # A sweep ends with a table of all its jobs.
    if origin.sweep is None:
        console.print(console_table(result, written.notes if written else None))
    for finding in result.failed():
        said = f"{finding.title}: {finding.evidence}"
        if finding.batchnorm is not None and len(result.model.batchnorm) > 1:
            said = f"BN {finding.batchnorm}: {said}"
        label(console, "CHECK FAILED", "bold yellow", said)
    if written:
        tell(console, written)
    say(console, f"Results, predictions and page: {folder.resolve()}")
    return Outcome(folder, result)


def render(folder: Path, result: Result) -> Written | None:
    """Writes a finished job's page; what fails costs a warning and not the job.

    Args:
        folder: of the job.
        result: its results.

    Returns:
        The report; ``None`` where the page could not be written.
    """
    command = f"python -m bcadv.report runs={shlex.quote(str(folder))}"
    written = None
    try:
        # Those of earlier results are not to be taken for those of these, whatever fails now.
        for name in (PAGE, SUMMARY):
            (folder / name).unlink(missing_ok=True)
        written = write_report(
            [Job(folder, result)], [], folder, prevalence=PREVALENCE, command=command, tables=False
        )
        failures = written.failures
    except Exception as error:  # whatever a font, a library or a disk may do
        said = f"{type(error).__name__}: {first_line(str(error))[:300]}"
        failures = (f"{folder / PAGE} could not be drawn ({said}).",)
    for failure in dict.fromkeys(failures):
        log.warning("%s The results stand; to draw them later: %s", failure, command)
    return written


@dataclass
class _Stage:
    """How far a job is.

    Attributes:
        history: gets the epochs of its training.
        epochs: that it wants.
        trained: whether its model is trained.
    """

    history: History
    epochs: int
    trained: bool = False

    @property
    def words(self) -> str:
        if self.trained:
            return "in the evaluation; the batches that are answered are kept"
        return f"after {len(self.history.rows)} of {self.epochs} epochs"


@contextmanager
def _told(tracker: Tracker, stage: _Stage, console: Console) -> Iterator[None]:
    """Tells the tracker, and a person who stopped the job, how the work within it ended."""
    try:
        yield
    except KeyboardInterrupt:
        tracker.interrupt()
        say(
            console,
            f"Stopped {stage.words}. The same command goes on from there; with resume=true in "
            "the same folder.",
        )
        raise
    except Exception as error:
        tracker.fail(str(error) or type(error).__name__)
        raise


def _refer(
    folder: Path, name: str, surrogates: Sequence[str], checkpoint: Path | None = None
) -> None:
    """Writes down which trained models the job uses."""
    reference: dict[str, object] = {"fingerprint": name}
    if surrogates:
        reference[SURROGATES] = list(surrogates)
    if checkpoint is not None:
        reference["checkpoint"] = os.path.relpath(checkpoint, folder)
    write_atomically(folder / REFERENCE, json.dumps(reference) + "\n")


def _data(config: Config) -> ImageDataModule:
    return ImageDataModule(
        config.data, config.paths.cache, config.seed, config.evaluation.batch_size
    )


def _settle(config: Config) -> None:
    """Threads, and Lightning's words where they help nobody here."""
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message)


def _announce(console: Console, config: Config, data: ImageDataModule) -> None:
    if SOURCES[config.data.source].synthetic:
        label(
            console,
            "SYNTHETIC TISSUE",
            "bold yellow",
            "these images are painted by a program. Nothing that follows says anything about "
            "patients. For real images: data=breakhis.",
        )
    selection = data.find()
    seen = seen_in(config.data, selection, data.records, data.split, data.audit, seed=config.seed)
    sizes = set(zip(data.images.widths.tolist(), data.images.heights.tolist(), strict=True))
    for line in compact(seen, sorted(sizes)):
        say(console, line)
    # With what the decoding showed of the pixels.
    for note in notes(replace(seen, notes=data.notes)):
        label(console, "NOTE", "bold yellow", note)
    for skipped in data.skipped:
        label(console, "SKIPPED", "bold yellow", skipped)
    for doubt in seen.doubts:
        label(console, "DOUBT", "bold yellow", f"{doubt.text} {doubt.remedy}")


def _tags(config: Config, data: ImageDataModule, origin: Origin, name: str) -> dict[str, str]:
    tags: Mapping[str, object] = {
        "experiment": config.experiment,
        "data_source": config.data.source,
        "synthetic": str(SOURCES[config.data.source].synthetic).lower(),
        "split": config.data.split_rule,
        "fold": config.data.fold,
        "patient_overlap": data.audit.patient_overlap,
        "git_commit": hardware.git_commit() or "unknown",
        "fingerprint": name,
        "defence": defence_of(config).label,
        "sweep": origin.sweep,
        "job": origin.job,
    }
    return {key: str(value) for key, value in tags.items() if value is not None}
