"""From a finished evaluation to the content of ``results.json``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bcadv import hardware
from bcadv.config import Config
from bcadv.data.audit import content
from bcadv.data.catalog import SOURCES
from bcadv.data.datamodule import ImageDataModule
from bcadv.defend.catalog import OBJECTIVES
from bcadv.evaluate.checks import checks, data_findings, pixel_finding
from bcadv.evaluate.predictions import read_frames
from bcadv.metrics.corruption import corruption_errors
from bcadv.metrics.effort import efforts
from bcadv.metrics.robustness import summarise
from bcadv.models.batchnorm import has_batchnorm
from bcadv.models.classifier import Classifier
from bcadv.plan import Plan
from bcadv.results.files import PREDICTIONS, digests
from bcadv.results.origin import Origin
from bcadv.results.schema import (
    UNDEFENDED,
    DataSection,
    Defence,
    Finding,
    ModelSection,
    PicturesSection,
    Result,
    RunSection,
    SurrogateSection,
    TaskSection,
    TrainingSection,
)
from bcadv.store.fingerprint import digest
from bcadv.train import Trained


def defence_of(config: Config) -> Defence:
    """What training did to make the model robust.

    Noise of strength 0, or on no image, is no noise: the model is then undefended.
    """
    noise = _noise(config)
    row = OBJECTIVES[config.objective]
    if row.label is None:
        return noise
    settings = row.settings(config.objective_options.get(row.name, {}))
    label = row.label.format(**settings)
    plain = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    return Defence(
        kind="objective",
        settings={"objective": row.name} | plain | dict(noise.settings),
        label=label if noise.none else f"{label}, {noise.label}",
    )


def _noise(config: Config) -> Defence:
    if not config.trains_on_noise:
        return UNDEFENDED
    injection = config.injection
    share = "" if injection.probability == 1 else f" on {100 * injection.probability:g} % of images"
    clipped = ", clipped" if injection.perturbation == "gaussian_clipped" else ""
    return Defence(
        kind="noise",
        settings={
            "noise": injection.perturbation,
            "sigma": config.sigma,
            "probability": injection.probability,
        },
        label=f"noise σ={config.sigma:g}{clipped}{share}",
    )


def result_of(
    config: Config,
    data: ImageDataModule,
    origin: Origin,
    *,
    folder: Path,
    plan: Plan,
    probed: Sequence[Finding],
    surrogates: Sequence[SurrogateSection],
    variants: Sequence[str],
    model: Classifier,
    trained: Trained,
    shape: Mapping[str, Any],
    name: str,
    started: datetime,
    epoch: int,
    weights: str,
) -> Result:
    """Measures the predictions in a job's folder, checks them, and says what they are of.

    Args:
        config: of the job.
        data: prepared.
        origin: the command that asked for the job.
        folder: of the job; holds the predictions and everything else that is vouched for.
        plan: what the model was measured under.
        probed: what the checks on the model itself found.
        surrogates: the other models that attacks were made on.
        variants: choices of BatchNorm statistics that were tested, the first one pictured.
        model: the tested model.
        trained: how it was come by, with its history.
        shape: everything that shaped the model.
        name: the fingerprint of `shape`.
        started: when the job began.
        epoch: that the tested weights are from.
        weights: their digest.
    """
    task = TaskSection(
        kind="multiclass",
        classes=data.classes,
        positive=data.positive,
        positive_by=data.positive_by,
    )
    rows = summarise(
        read_frames(folder / PREDICTIONS),
        plan.conditions,
        data.classes,
        data.positive,
        n_boot=config.evaluation.n_boot,
        seed=config.seed,
    )
    gpu = hardware.use_gpu(config.trainer.accelerator)
    found = efforts(read_frames(folder / PREDICTIONS), plan.conditions)
    read = checks(folder / PREDICTIONS, plan, rows, task)
    findings = [*data_findings(task, data.audit), pixel_finding(data.pixels), *read, *probed]
    if len(variants) < len(config.batchnorm):
        findings.append(_no_statistics(config))
    attacks = plan.attacks
    source = SOURCES[config.data.source]
    return Result(
        run=RunSection(
            experiment=config.experiment,
            name=folder.name if origin.sweep is None else f"{origin.sweep}/{origin.job}",
            command=shlex.join(["python", "-m", "bcadv.run", *origin.overrides]),
            overrides=origin.overrides,
            key=origin.key,
            sweep=origin.sweep,
            job=origin.job,
            started=started.isoformat(timespec="milliseconds"),
            # The newest job is told by this time, and a small one takes less than a second.
            finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
            seed=config.seed,
            git_commit=hardware.git_commit(),
        ),
        task=task,
        data=DataSection(
            source=config.data.source,
            words=source.words,
            label=source.label,
            synthetic=source.synthetic,
            tumours=source.tumours,
            content=content(data.records, data.digests),
            split=config.data.split_rule,
            fold=config.data.fold,
            folds=config.data.folds if config.data.split == "patient_cv" else None,
            counts=data.audit.counts,
            patient_overlap=data.audit.patient_overlap,
            overlap=data.audit.as_dict() | {"sentence": data.audit.sentence()},
            skipped=data.skipped,
            notes=data.notes,
            digests=_digests(data),
            bits=16 if data.pixels.bits > 8 else 8,
            white=data.pixels.white,
        ),
        model=ModelSection(
            architecture=model.net.architecture,
            weights=weights,
            crop=config.data.crop,
            resize=config.data.resize,
            defence=defence_of(config),
            settings=config.model.model_dump(mode="json"),
            batchnorm=tuple(variants),
            has_batchnorm=has_batchnorm(model),
        ),
        training=TrainingSection(
            epochs=len(trained.history),
            seconds=trained.seconds,
            reused=trained.reused,
            fingerprint=name,
            shape=dict(shape),
            checkpoint=config.trainer.checkpoint,
            checkpoint_epoch=epoch,
            precision=hardware.training_precision(config.trainer.precision, gpu),
            injection=config.injection.model_dump(mode="json"),
            optimizer=config.optimizer.model_dump(mode="json"),
            batch_size=config.data.batch_size,
        ),
        pictures=PicturesSection(
            batchnorm=variants[0], series=attacks[0].name if attacks else None
        ),
        conditions=plan.conditions,
        rows=tuple(rows),
        efforts=tuple(found),
        corruption_errors=tuple(
            corruption_errors(read_frames(folder / PREDICTIONS), plan.conditions)
        )
        if plan.corruptions
        else (),
        surrogates=tuple(surrogates),
        findings=tuple(findings),
        files=digests(folder),
        environment=hardware.environment(gpu)
        | {"attacks look in": hardware.NAMES[config.evaluation.precision]},
    )


def _digests(data: ImageDataModule) -> dict[str, str]:
    """Names the images of each part by what they show, and not by order or place."""
    return {
        part: digest(
            sorted([data.records[i].label, data.digests[data.records[i].image_id]] for i in members)
        )
        for part, members in data.split.by_part().items()
    }


def _no_statistics(config: Config) -> Finding:
    return Finding(
        id="batchnorm",
        title="the network has BatchNorm statistics to choose",
        outcome="failed",
        evidence=f"it has no BatchNorm layer, so batchnorm=[{','.join(config.batchnorm)}] would "
        "test the same network several times; it was tested once",
    )
