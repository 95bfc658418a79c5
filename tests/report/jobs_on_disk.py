"""Made-up job folders, with every file that a finished job leaves behind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bcadv.metrics.robustness import summarise
from bcadv.results.condition import CLEAN, Condition
from bcadv.results.files import digests
from bcadv.results.schema import UNDEFENDED, Defence, Finding, Result, write_result
from tests.metrics.tables import fgsm, predictions
from tests.results import made

CLASSES = ["benign", "malignant"]


def write_job(
    folder: Path,
    *,
    experiment: str = "baseline",
    finished: str = "2025-01-01T12:00:00+00:00",
    synthetic: bool = True,
    sigma: float | None = None,
    defence: Defence | None = None,
    run_seed: int = 0,
    fingerprint: str | None = None,
    weights: str = "w",
    shape: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    frame: pd.DataFrame | None = None,
    conditions: Sequence[Condition] = (),
    eps_px: Sequence[float] = (0, 0.25, 1, 4),
    side: int = 24,
    findings: Sequence[Finding] = (),
    **table: Any,
) -> Result:
    """Writes a job folder and returns the content of its ``results.json``.

    Args:
        folder: to make.
        experiment: its name.
        finished: when it ended.
        synthetic: whether the images are made up.
        sigma: of the noise in training.
        defence: of the model; by default noise of `sigma`, or none.
        run_seed: of the training.
        fingerprint: of the training; by default its own for each defence and seed.
        weights: their digest.
        shape: more options of the training.
        data: replaces parts of the section on the data.
        task: replaces parts of the section on the task.
        frame: the predictions; by default made up by `predictions` from `eps_px` and `table`.
        conditions: that the predictions are of; by default FGSM at `eps_px`.
        eps_px: of the attack.
        side: of the pictures.
        findings: what checks found.
        table: for `predictions`.
    """
    folder.mkdir(parents=True)
    frame = predictions(eps_px=eps_px, **table) if frame is None else frame
    frame.to_parquet(folder / "predictions.parquet", index=False)
    usual = map(fgsm, sorted({0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, *map(float, eps_px)}))
    known = [CLEAN, *(conditions or usual)]
    known = [c for c in known if c.id in set(frame["condition"])]
    defence = defence or (UNDEFENDED if sigma is None else made.noise(sigma))
    classes, counts = _classes_and_counts(frame)
    section = {
        "source": "synthetic" if synthetic else "breakhis",
        "synthetic": synthetic,
        "counts": counts,
    } | dict(data or {})
    about = {"classes": classes, "positive": (1,)} | dict(task or {})
    rows = summarise(frame, known, about["classes"], about["positive"], n_boot=20)
    history(12).to_csv(folder / "history.csv", index=False)
    attacked = [c for c in known if c.kind == "attack"]
    np.savez(folder / "examples.npz", **examples(attacked, side))
    noise = defence.kind == "noise"
    result = made.result(
        known,
        rows,
        run={
            "experiment": experiment,
            "name": folder.name,
            "finished": finished,
            "seed": run_seed,
            "command": f"python -m bcadv.run +experiment={experiment}",
            "overrides": (f"+experiment={experiment}",),
        },
        data=section,
        task=about,
        defence=defence,
        weights=weights,
        batchnorm=list(dict.fromkeys(frame["batchnorm"])),
        findings=findings,
        training={
            "fingerprint": fingerprint or f"{defence.label}-{run_seed}",
            "shape": {
                "code": "c0de",
                "torch": "2.15.0",
                "lightning": "2.6.6",
                "data.content": f"content of seed {run_seed}",
                "data.source": section["source"],
                "data.split": section.get("split", "paper"),
                "model.weights": "densenet121-res224-all",
                "trainer.max_epochs": 400,
                "injection.perturbation": "gaussian" if noise else None,
                "injection.probability": 1.0 if noise else None,
                "sigma": sigma,
                "seed": run_seed,
                **dict(shape or {}),
            },
        },
        files=digests(folder),
    )
    (folder / "results.json").write_text(write_result(result), encoding="utf-8")
    return result


def rewrite(folder: Path, **sections: Any) -> Result:
    """Changes a job's ``results.json``: section -> new parts of it, or the whole section."""
    content = json.loads((folder / "results.json").read_text())
    for name, value in sections.items():
        if isinstance(value, dict) and isinstance(content[name], dict):
            content[name] |= value
        else:
            content[name] = value
    # The files may have been changed on purpose beside it.
    content["files"] = digests(folder) if "files" not in sections else content["files"]
    result = Result.model_validate(content)
    (folder / "results.json").write_text(write_result(result), encoding="utf-8")
    return result


def _classes_and_counts(frame: pd.DataFrame) -> tuple[list[str], dict[str, dict[str, int]]]:
    clean = frame[frame["condition"] == CLEAN.id].drop_duplicates("image_id")
    n_classes = sum(str(name).startswith("p_") for name in frame)
    classes = CLASSES if n_classes == 2 else [f"class {c}" for c in range(n_classes)]
    test = {name: int((clean["target"] == c).sum()) for c, name in enumerate(classes)}
    counts = {"train": dict.fromkeys(classes, 80), "val": dict.fromkeys(classes, 10), "test": test}
    return classes, counts


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
            "condition": (fgsm(eps_px) if eps_px else CLEAN).id,
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


def examples(attacked: Sequence[Condition], side: int) -> dict[str, Any]:
    """Smooth pink pictures, their noisy and their sign-attacked versions."""
    random = np.random.default_rng(0)
    waves = random.normal(size=(4, 3, 1, 1)) * 4
    y, x = np.mgrid[0:side, 0:side] / side
    field = 0.5 + 0.5 * np.sin(waves[:, :1] * x * 6 + waves[:, 1:2] * y * 6 + waves[:, 2:])
    tint = np.array([0.85, 0.55, 0.75]).reshape(1, 3, 1, 1)
    image = np.clip(255 * (0.25 + 0.75 * field) * tint, 0, 255).astype(np.uint8)
    clean = image / 255
    sign = np.sign(random.normal(size=image.shape))
    eps = np.array([c.strength for c in attacked], dtype=float)
    margin = 3 - np.outer(np.sqrt(eps), [2, 3, 4, 5])
    target = np.array([0, 1, 0, 1])
    truth = 1 / (1 + np.exp(-margin))
    prob = np.where(target[None, :, None] == np.arange(2), truth[..., None], 1 - truth[..., None])
    moved = np.clip(clean + eps[:, None, None, None, None] / 255 * sign, 0, 1)
    prob_clean = np.where(target[:, None] == np.arange(2), 0.953, 0.047)
    return {
        "image": image,
        "noisy": np.clip(clean + 0.1 * random.normal(size=image.shape), 0, 1).astype("f4"),
        "sigma": np.float64(0.1),
        "adversarial": moved.astype("f4"),
        "condition": np.array([c.id for c in attacked], dtype=str),
        "target": target,
        "index": np.array([3, 17, 120, 155]),
        "prediction": prob_clean.argmax(1),
        "prob_clean": prob_clean,
        "prediction_adversarial": prob.argmax(2),
        "prob_adversarial": prob,
    }
