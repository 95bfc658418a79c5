"""Attacks the test images under each choice of BatchNorm statistics, batch by batch to disk."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from torch import nn

from bcadv import distributed, hardware
from bcadv.build import build_trials, task_of
from bcadv.callbacks.evaluate import Answers, RobustnessEvaluation
from bcadv.callbacks.inject import NoiseInjection
from bcadv.config import BatchNormChoice, Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.evaluate.ask import ask, keep, kept, unreachable, without_white_box
from bcadv.evaluate.images import save_pictures
from bcadv.evaluate.predictions import PredictionParts
from bcadv.evaluate.progress import EvaluationProgress
from bcadv.evaluate.state import StateFile
from bcadv.fitting import fitted
from bcadv.keys import measuring_code
from bcadv.models.batchnorm import has_batchnorm
from bcadv.models.classifier import Classifier
from bcadv.plan import Plan
from bcadv.progress import Meter
from bcadv.recalibrate import recalibrate
from bcadv.results.condition import REPEATED
from bcadv.results.files import PREDICTIONS
from bcadv.results.schema import Finding
from bcadv.store.fingerprint import digest
from bcadv.store.models import Entry
from bcadv.surrogate import Surrogate
from bcadv.trainer import trainer

log = logging.getLogger(__name__)

PARTS = "evaluations"
"""Folder below the cache where evaluations under way keep what they have."""

_STALE_S = 30 * 24 * 3600.0


def variants_of(config: Config, model: Classifier) -> tuple[BatchNormChoice, ...]:
    """The choices of BatchNorm statistics that make a difference to this model."""
    return config.batchnorm if has_batchnorm(model) else ("as_trained",)


def evaluation_key(
    config: Config,
    data: ImageDataModule,
    plan: Plan,
    variants: Sequence[str],
    weights: str,
    surrogates: Mapping[str, str] | None = None,
) -> str:
    """Names an evaluation by all that its answers depend on.

    Args:
        config: of the job.
        data: prepared.
        plan: what the model is measured under.
        variants: choices of BatchNorm statistics.
        weights: digest of the model.
        surrogates: attack -> digest of the other model that it is made on.
    """
    images = [[i, data.digests[data.records[i].image_id], data.targets[i]] for i in data.split.test]
    settings = config.model_dump(mode="json")
    return digest(
        {
            "weights": weights,
            "surrogates": dict(surrogates or {}),
            "conditions": [condition.model_dump(mode="json") for condition in plan.conditions],
            "variants": list(variants),
            "images": images,
            "code": measuring_code(),
            "processes": distributed.size(),
            # Statistics are estimated from training images, in batches, under the training noise.
            "training": data.training_content(),
            "data": settings["data"],
            "injection": settings["injection"],
            "seed": config.seed,
            "sigma": config.sigma,
            "batch_size": config.evaluation.batch_size,
            "precision": config.evaluation.precision,
            "check_images": config.evaluation.check_images,
        }
    )


@dataclass(frozen=True)
class _Sink:
    """The answers under one choice of BatchNorm statistics."""

    parts: PredictionParts
    variant: str

    def has(self, batch: int, piece: int) -> bool:
        return self.parts.has(self.variant, batch, piece)

    def write(self, batch: int, piece: int, answers: Sequence[Answers]) -> None:
        self.parts.write(self.variant, batch, answers, piece)
        self.keeper(batch, piece).remove()

    def keeper(self, batch: int, piece: int) -> StateFile:
        place = self.parts.place(self.variant, batch, self.parts.rank, piece)
        return StateFile(place.with_suffix(".state"))


@dataclass(frozen=True)
class Evaluated:
    """What came of an evaluation beside the table of answers.

    Attributes:
        plan: what the model was measured under: what was asked for, or of that what can be tried
            on a model without a gradient.
        findings: of the checks on the model; none but in the leader.
    """

    plan: Plan
    findings: tuple[Finding, ...]


@contextmanager
def evaluated(
    config: Config,
    folder: Path,
    model: Classifier,
    data: ImageDataModule,
    plan: Plan,
    *,
    weights: str,
    injection: NoiseInjection | None,
    entry: Entry | None = None,
    surrogates: Mapping[str, Surrogate] | None = None,
) -> Iterator[Evaluated]:
    """Measures a model under everything that a plan asks for; the body gets a complete table.

    Then the model itself is asked what would make its numbers suspect. One that has no gradient is
    measured under what needs none.

    Answers are always in float32: bf16 has 8 significant bits, which a quarter of a grey level
    drowns in. It may serve an attack to find what is then confirmed.
    What is done is on disk after each batch, so a killed evaluation goes on where it was. That is
    kept until the body ends well: whoever is killed over the numbers has the answers still.

    Args:
        config: BatchNorm choices, batch size.
        folder: of the job; gets ``predictions.parquet``, ``examples.npz`` and ``gallery.npz``.
            Where several processes share the images the leader writes them.
        model: the trained classifier; left with the statistics of the first choice.
        data: prepared.
        plan: what to measure under.
        weights: digest of the model.
        injection: what was mixed into training, for ``batchnorm=noisy``.
        entry: of the model, which keeps its other BatchNorm statistics.
        surrogates: attack -> the other model that it is made on.
    """
    _warn_of_slowness(config)
    distributed.share_state(model)
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    variants = variants_of(config, model)
    _restore(model, trained, config)
    lost = distributed.tell(unreachable(model, data) if distributed.rank() == 0 else None)
    asked, plan = plan, without_white_box(plan) if lost else plan
    others = surrogates or {}
    models = {name: _place_model(other.model, config) for name, other in others.items()}
    trials = build_trials(config, plan, task_of(data), models)
    digests = {name: other.record.weights for name, other in others.items()}
    key = evaluation_key(config, data, plan, variants, weights, digests)
    findings: list[Finding] = []
    shown = trials
    with _place(config, folder, key) as place:
        pieces = max(1, len(trials))
        parts = PredictionParts(place, key, distributed.rank(), distributed.size(), pieces)
        if distributed.rank() == 0:
            parts.begin()
        distributed.wait()
        batches = len(data.test_dataloader())
        if distributed.rank() == 0:
            _say_what_is_done(parts, variants, batches)
        with _shown(model, len(variants), batches) as progress:
            for variant in variants:
                _restore(model, trained, config)
                with nullcontext() if progress is None else progress.estimating(variant):
                    recalibrate(variant, config, model, data, injection=injection, entry=entry)
                ready = fitted(trials, config, model, data, variant, entry=entry)
                shown = ready if variant == variants[0] else shown
                callback = RobustnessEvaluation(
                    model.task,
                    ready,
                    _Sink(parts, variant),
                    repeat=REPEATED in plan.conditions,
                    low_precision=config.evaluation.precision == "bf16",
                    watcher=progress,
                )
                runner = trainer(
                    config, [callback], precision="32-true", enable_checkpointing=False
                )
                try:
                    runner.test(model, datamodule=data, verbose=False)
                except SystemExit:
                    raise KeyboardInterrupt from None
                if distributed.rank() == 0:
                    _place_model(model, config)
                    findings += _checked(config, model, data, asked, parts, variant, progress)
        _restore(model, trained, config)
        recalibrate(variants[0], config, model, data, injection=injection, entry=entry)
        distributed.wait()
        if distributed.rank() == 0:
            parts.finish(
                folder / PREDICTIONS,
                variants=variants,
                batches=batches,
                conditions=[condition.id for condition in plan.conditions],
                names=lambda i: (data.records[i].image_id, data.records[i].patient),
            )
            attacks = [t for t in shown if t.conditions[0].kind == "attack"]
            if attacks:
                save_pictures(folder, config, variants[0], attacks[0], model, data)
        yield Evaluated(plan, tuple(findings))
        if distributed.rank() == 0:
            parts.remove()


def _warn_of_slowness(config: Config) -> None:
    gpu = hardware.use_gpu(config.trainer.accelerator)
    if config.evaluation.precision == "bf16" and not hardware.has_native_bf16(gpu):
        log.warning(
            "evaluation.precision=bf16: this hardware has no bfloat16 of its own, so attacks take "
            "longer than with evaluation.precision=32."
        )


def _checked(
    config: Config,
    model: Classifier,
    data: ImageDataModule,
    plan: Plan,
    parts: PredictionParts,
    variant: str,
    progress: EvaluationProgress | None,
) -> list[Finding]:
    """What the checks on the model find, now or before it was stopped; of the leader's images."""
    place = parts.folder / f"{variant}-findings.json"
    found = kept(place)
    if found is None:
        seen = parts.seen(variant, len(data.test_dataloader()))
        with nullcontext() if progress is None else progress.checking():
            found = ask(config, model, data, plan, seen, variant)
        keep(place, found)
    return found


def _restore(model: Classifier, state: dict[str, object], config: Config) -> None:
    model.load_state_dict(state)
    _place_model(model, config)


def _place_model(model: nn.Module, config: Config) -> nn.Module:
    # Each time: the Trainer leaves a model on the CPU.
    return model.to("cuda" if hardware.use_gpu(config.trainer.accelerator) else "cpu")


@contextmanager
def _place(config: Config, folder: Path, key: str) -> Iterator[Path]:
    """Where the answers of an evaluation are kept until it has ended; the same in every process.

    The next command with the same settings has another folder, so the place is named by the key.
    If another job is at the very same evaluation, this one works in its own folder.
    """
    if distributed.rank() > 0:
        yield distributed.tell()
        return
    root = config.paths.cache / PARTS
    root.mkdir(parents=True, exist_ok=True)
    _prune(root)
    lock = FileLock(root / f"{key[:16]}.lock")
    try:
        lock.acquire(timeout=0)
        place = root / key[:16]
    except Timeout:
        place = folder / ".evaluation"
    try:
        yield distributed.tell(place)
    finally:
        lock.release()


def _prune(root: Path) -> None:
    """Removes what evaluations left that were stopped long ago and never begun again."""
    for path in root.iterdir():
        try:
            age = time.time() - path.stat().st_mtime
        except OSError:  # removed by another process
            continue
        if age < _STALE_S:
            continue
        if path.is_dir():
            with suppress(Timeout), FileLock(root / f"{path.name}.lock", timeout=0):
                shutil.rmtree(path, ignore_errors=True)
        elif not path.with_suffix("").exists():
            path.unlink(missing_ok=True)


def _shown(
    model: Classifier, variants: int, batches: int
) -> AbstractContextManager[EvaluationProgress | None]:
    """The leader shows how far it is; the others are as far."""
    if distributed.rank() > 0:
        return nullcontext()
    return EvaluationProgress(model, variants, batches, Meter()).shown()


def _say_what_is_done(parts: PredictionParts, variants: Sequence[str], batches: int) -> None:
    """Where the evaluation goes on, if a command was stopped in it."""
    places = [(variant, batch) for variant in variants for batch in range(batches)]
    missing = [place for place in places if not parts.answered(*place)]
    done = len(places) - len(missing)
    if not done:
        return
    if not missing:
        log.info("The evaluation was stopped with all %d batches answered: none is repeated.", done)
        return
    variant, batch = missing[0]
    under = f" under BN {variant}" if len(variants) > 1 else ""
    log.info(
        "The evaluation goes on at batch %d of %d%s: %d of %d batches are answered already.",
        *(batch + 1, batches, under, done, len(places)),
    )
