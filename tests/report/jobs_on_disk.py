"""Made-up job folders, with every file that a finished job leaves behind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bcadv.metrics.robustness import summarise
from bcadv.report.jobs import SCHEMA_VERSION
from tests.metrics.tables import predictions

CLASSES = ["benign", "malignant"]


def write_job(
    folder: Path,
    *,
    experiment: str = "baseline",
    finished: str | None = "2025-01-01T12:00:00+00:00",
    synthetic: bool = True,
    sigma: float | None = None,
    run_seed: int = 0,
    fingerprint: str | None = None,
    weights: str = "w",
    shape: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    frame: pd.DataFrame | None = None,
    eps_px: Sequence[float] = (0, 0.25, 1, 4),
    side: int = 24,
    **table: Any,
) -> dict[str, Any]:
    """Writes a job folder and returns the contents of its ``results.json``.

    Args:
        folder: to make.
        experiment: its name.
        finished: when it ended.
        synthetic: whether the images are made up.
        sigma: of the noise in training.
        run_seed: of the training.
        fingerprint: of the training; by default its own for each sigma and seed.
        weights: their digest.
        shape: more options of the training.
        data: replaces parts of the section on the data.
        frame: the predictions; by default made up by `predictions` from `eps_px` and `table`.
        eps_px: of the attack.
        side: of the pictures.
        table: for `predictions`.
    """
    folder.mkdir(parents=True)
    frame = predictions(eps_px=eps_px, **table) if frame is None else frame
    frame.to_parquet(folder / "predictions.parquet", index=False)
    section = _data(frame, synthetic) | dict(data or {})
    rows = summarise(frame, section["classes"], section["positive"], n_boot=20)
    results = {
        "schema_version": SCHEMA_VERSION,
        "run": {
            "experiment": experiment,
            "name": folder.name,
            "finished": finished,
            "seed": run_seed,
            "git_commit": "abc1234",
            "command": f"python -m bcadv.run +experiment={experiment}",
            "overrides": [f"+experiment={experiment}"],
            "sweep": None,
            "job": None,
        },
        "data": section,
        "training": {
            "fingerprint": fingerprint or f"{sigma or 0:g}-{run_seed}",
            "checkpoint": "last",
            "weights": weights,
            "sigma": sigma,
            "shape": {
                "code": "c0de",
                "torch": "2.15.0",
                "lightning": "2.6.6",
                "data.content": f"content of seed {run_seed}",
                "data.source": section["source"],
                "data.split": section["split"],
                "model.weights": "densenet121-res224-all",
                "trainer.max_epochs": 400,
                "injection.perturbation": None if sigma is None else "gaussian",
                "injection.probability": None if sigma is None else 1.0,
                "sigma": sigma,
                "seed": run_seed,
                **dict(shape or {}),
            },
        },
        "pictures": {"batchnorm": str(frame["batchnorm"].iloc[0])},
        "clean": [row for row in rows if row["perturbation"] == "none"],
        "perturbed": [row for row in rows if row["perturbation"] != "none"],
        "checks": [],
        "environment": {"python": "3.11.7", "packages": {"torch": "2.15.0"}},
    }
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    history(12).to_csv(folder / "history.csv", index=False)
    np.savez(folder / "examples.npz", **examples(eps_px, side))
    return results


def _data(frame: pd.DataFrame, synthetic: bool) -> dict[str, Any]:
    clean = frame[frame["perturbation"] == "none"].drop_duplicates("image_id")
    n_classes = sum(str(name).startswith("p_") for name in frame)
    classes = CLASSES if n_classes == 2 else [f"class {c}" for c in range(n_classes)]
    test = {name: int((clean["target"] == c).sum()) for c, name in enumerate(classes)}
    return {
        "source": "synthetic" if synthetic else "breakhis",
        "synthetic": synthetic,
        "split": "paper",
        "fold": None,
        "classes": classes,
        "positive": [1],
        "counts": {"train": dict.fromkeys(classes, 80), "val": dict.fromkeys(classes, 10)}
        | {"test": test},
        "overlap": {
            "sentence": "40 of 60 test images (66.7%) come from a patient in training.",
            "patient_overlap": 2 / 3,
        },
        "skipped": [],
        "notes": [],
    }


def answers(
    right: Mapping[tuple[str, float], Sequence[bool]],
    target: Sequence[int],
    patient: Sequence[str | None] | None = None,
    *,
    n_classes: int = 2,
) -> pd.DataFrame:
    """A predictions table with exactly these images right.

    Args:
        right: (BatchNorm variant, epsilon in grey levels; 0 is clean) -> whether each image is.
        target: class of each image.
        patient: of each image; by default each has its own.
        n_classes: a wrong image is taken for the next class.
    """
    truth = np.array(target)
    tables = []
    for (variant, eps_px), hits in right.items():
        prediction = np.where(hits, truth, (truth + 1) % n_classes)
        columns: dict[str, Any] = {
            "image_id": [f"image-{i:04d}" for i in range(len(truth))],
            "index": np.arange(len(truth)),
            "patient": [f"P{i}" for i in range(len(truth))] if patient is None else patient,
            "target": truth,
            "batchnorm": variant,
            "perturbation": "fgsm" if eps_px else "none",
            "norm": "inf" if eps_px else "-",
            "eps": eps_px / 255,
            "eps_px": float(eps_px),
            "prediction": prediction,
            "size": eps_px / 255,
        }
        columns |= {
            f"p_{c}": np.where(prediction == c, 0.9, 0.1 / (n_classes - 1))
            for c in range(n_classes)
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


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
