"""What a job writes down: `results.json` and the images behind the figures."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bcadv import hardware
from bcadv.build import build_noise
from bcadv.callbacks.evaluate import CLEAN, RobustnessEvaluation
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.report.jobs import SCHEMA_VERSION


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
    *,
    rows: list[dict[str, Any]],
    history: list[dict[str, float]],
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
            "epochs": len(history),
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


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
