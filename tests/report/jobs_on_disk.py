"""Made-up job folders, with every file that a finished job leaves behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bcadv.metrics.robustness import summarise
from tests.metrics.tables import predictions

CLASSES = ["benign", "malignant"]


def write_job(
    folder: Path,
    *,
    experiment: str = "baseline",
    finished: str | None = "2025-01-01T12:00:00+00:00",
    synthetic: bool = True,
    eps_px: Sequence[float] = (0, 0.25, 1, 4),
    side: int = 24,
    **table: Any,
) -> dict[str, Any]:
    """Writes a job folder and returns the contents of its ``results.json``."""
    folder.mkdir(parents=True)
    frame = predictions(eps_px=eps_px, **table)
    frame.to_parquet(folder / "predictions.parquet", index=False)
    rows = summarise(frame, CLASSES, [1], n_boot=20)
    results = {
        "schema_version": 1,
        "run": {
            "experiment": experiment,
            "name": experiment,
            "finished": finished,
            "seed": 0,
            "git_commit": "abc1234",
        },
        "data": {
            "source": "synthetic" if synthetic else "breakhis",
            "synthetic": synthetic,
            "split": "paper",
            "classes": CLASSES,
            "positive": [1],
            "overlap": {
                "sentence": "40 of 60 test images (66.7%) come from a patient in training."
            },
        },
        "clean": [row for row in rows if row["perturbation"] == "none"],
        "perturbed": [row for row in rows if row["perturbation"] != "none"],
    }
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    history(12).to_csv(folder / "history.csv", index=False)
    np.savez(folder / "examples.npz", **examples(eps_px, side))
    return results


def history(epochs: int) -> pd.DataFrame:
    """A training that learns, then overfits."""
    epoch = np.arange(epochs)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "train_loss": 0.7 * np.exp(-epoch / 5),
            "train_accuracy": 1 - 0.4 * np.exp(-epoch / 5),
            "val_loss": 0.7 * np.exp(-epoch / 4) + 0.004 * epoch,
            "val_accuracy": 0.95 - 0.35 * np.exp(-epoch / 4),
        }
    )


def examples(eps_px: Sequence[float], side: int) -> dict[str, Any]:
    """Smooth pink pictures, their noisy and their sign-attacked versions."""
    random = np.random.default_rng(0)
    waves = random.normal(size=(4, 3, 1, 1)) * 4
    y, x = np.mgrid[0:side, 0:side] / side
    field = 0.5 + 0.5 * np.sin(waves[:, :1] * x * 6 + waves[:, 1:2] * y * 6 + waves[:, 2:])
    tint = np.array([0.85, 0.55, 0.75]).reshape(1, 3, 1, 1)
    image = np.clip(255 * (0.25 + 0.75 * field) * tint, 0, 255).astype(np.uint8)
    clean = image / 255
    sign = np.sign(random.normal(size=image.shape))
    eps = np.array(eps_px, dtype=float)
    margin = 3 - np.outer(np.sqrt(eps), [2, 3, 4, 5])
    target = np.array([0, 1, 0, 1])
    truth = 1 / (1 + np.exp(-margin))
    prob = np.where(target[None, :, None] == np.arange(2), truth[..., None], 1 - truth[..., None])
    attacked = np.clip(clean + eps[:, None, None, None, None] / 255 * sign, 0, 1)
    return {
        "image": image,
        "noisy": np.clip(clean + 0.1 * random.normal(size=image.shape), 0, 1).astype("f4"),
        "sigma": np.float64(0.1),
        "adversarial": attacked.astype("f4"),
        "eps_px": eps,
        "target": target,
        "index": np.array([3, 17, 120, 155]),
        "prob_clean": np.where(target[:, None] == np.arange(2), 0.953, 0.047),
        "prob_adversarial": prob,
    }
