"""What a job writes down: `results.json` and the images behind the figures."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bcadv import hardware
from bcadv.build import build_noise
from bcadv.callbacks.evaluate import CLEAN, RobustnessEvaluation
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.metrics.robustness import summarise
from bcadv.report.jobs import SCHEMA_VERSION
from bcadv.train import Trained


@dataclass(frozen=True)
class Origin:
    """Where a job comes from.

    Attributes:
        overrides: options that make this one job, as on the command line.
        key: of its settings, see `bcadv.sweep.job_key`.
        sweep: name of the sweep's folder; ``None`` for a job by itself.
        job: number in the sweep.
    """

    overrides: tuple[str, ...] = ()
    key: str | None = None
    sweep: str | None = None
    job: int | None = None


def example_images(config: Config, data: ImageDataModule) -> list[int]:
    """Test images for the figures: as many of each class as fit, the first ones by name."""
    per_class = max(1, config.evaluation.examples // len(data.classes))
    chosen: list[int] = []
    for k in range(len(data.classes)):
        members = [i for i in data.split.test if data.targets[i] == k]
        chosen += members[:per_class]
    return chosen[: config.evaluation.examples]


def results_of(
    config: Config,
    data: ImageDataModule,
    origin: Origin,
    *,
    folder: Path,
    predictions: pd.DataFrame,
    trained: Trained,
    shape: Mapping[str, Any],
    name: str,
    started: datetime,
    epoch: int,
    weights: str,
) -> dict[str, Any]:
    """The content of ``results.json``.

    Args:
        config: of the job.
        data: prepared.
        origin: the command that asked for the job.
        folder: of the job.
        predictions: the table of every answer.
        trained: the model and its history.
        shape: everything that shaped the model.
        name: the fingerprint of `shape`.
        started: when the job began.
        epoch: that the tested weights are from.
        weights: their digest.
    """
    rows = summarise(
        predictions,
        data.classes,
        data.positive,
        n_boot=config.evaluation.n_boot,
        seed=config.seed,
    )
    gpu = hardware.use_gpu(config.trainer.accelerator)
    counts = data.audit.counts
    sizes = {part: sum(of_class.values()) for part, of_class in counts.items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "run": {
            "experiment": config.experiment,
            "name": folder.name if origin.sweep is None else f"{origin.sweep}/{origin.job}",
            "command": shlex.join(["python", "-m", "bcadv.run", *origin.overrides]),
            "overrides": list(origin.overrides),
            "key": origin.key,
            "sweep": origin.sweep,
            "job": origin.job,
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
            "epochs": len(trained.history),
            "seconds": trained.seconds,
            "reused": trained.reused,
            "fingerprint": name,
            "shape": dict(shape),
            "checkpoint": config.trainer.checkpoint,
            "checkpoint_epoch": epoch,
            "weights": weights,
            "precision": hardware.training_precision(config.trainer.precision, gpu),
            "injection": config.injection.model_dump(mode="json"),
            "sigma": config.sigma if config.injection.perturbation else None,
            "optimizer": config.optimizer.model_dump(mode="json"),
            "batch_size": config.data.batch_size,
        },
        "pictures": {"batchnorm": config.batchnorm[0]},
        "clean": [row for row in rows if is_clean(row)],
        "perturbed": [row for row in rows if not is_clean(row)],
        "checks": checks(rows, predictions),
        "environment": hardware.environment(gpu),
    }


def checks(rows: list[dict[str, Any]], predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """Findings that would make the numbers suspect (after Carlini et al. 2019, section 5).

    Args:
        rows: of `summarise`.
        predictions: the table that they were made from.

    Returns:
        For each BatchNorm variant and perturbation: strength 0 changes nothing, every image was
        moved, and a larger epsilon never helps the classifier; each with ``name``, ``passed`` and
        ``detail``.
    """
    found = []
    keys = ["batchnorm", "perturbation"]
    clean = {row["batchnorm"]: row["metrics"]["accuracy"]["k"] for row in rows if is_clean(row)}
    for (variant, name), part in predictions.groupby(keys, sort=False):
        series = [r for r in rows if (r["batchnorm"], r["perturbation"]) == (variant, name)]
        if name == CLEAN:
            continue

        def check(what: str, passed: bool, detail: str, *, where: str) -> None:
            found.append({"name": what, "passed": passed, "detail": f"{where}: {detail}"})

        where = f"{name}, BatchNorm {variant}"
        for row in series:
            if row["eps"] == 0:
                same = row["metrics"]["accuracy"]["k"] == clean[variant]
                check("strength 0 changes nothing", same, "accuracy as when clean", where=where)
        still = int(((part["eps"] > 0) & (part["size"] == 0)).sum())
        check("every image was moved", still == 0, f"{still} not (zero gradient?)", where=where)
        rises = [
            f"{a['metrics']['accuracy']['value']:.1%} at {a['eps_px']:g}/255, "
            f"{b['metrics']['accuracy']['value']:.1%} at {b['eps_px']:g}/255"
            for a, b in pairwise(series)
            if b["metrics"]["accuracy"]["k"] > a["metrics"]["accuracy"]["k"]
        ]
        detail = "; ".join(rises) or "accuracy falls with epsilon"
        check("a larger epsilon never helps", not rises, detail, where=where)
    return found


def is_clean(row: Mapping[str, Any]) -> bool:
    """Whether a row of the summary is about unperturbed images."""
    return bool(row["perturbation"] == CLEAN)


def save_examples(path: Path, config: Config, evaluation: RobustnessEvaluation) -> None:
    """Keeps what the figures show; see `bcadv.report.pictures` for the arrays."""
    kept = evaluation.examples()
    image, target, index = map(torch.from_numpy, (kept.image, kept.target, kept.index))
    noise = build_noise(config, config.seed + 1)
    noisy = noise(torch.nn.Identity(), image, target, index=index)
    attack = evaluation.trials[0].perturbation.name
    eps_px = sorted(set(config.eps_px))
    np.savez_compressed(
        path,
        image=(kept.image * 255).round().astype(np.uint8),
        noisy=noisy.numpy(),
        sigma=np.float64(config.sigma),
        adversarial=np.stack([kept.perturbed[attack, px] for px in eps_px]),
        eps_px=np.array(eps_px),
        target=kept.target,
        index=kept.index,
        prob_clean=kept.probability[CLEAN, 0.0],
        prob_adversarial=np.stack([kept.probability[attack, px] for px in eps_px]),
    )
