"""Made-up predictions tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def predictions(
    *,
    n: int = 60,
    patients: int = 20,
    n_classes: int = 2,
    eps_px: Sequence[float] = (0, 1, 4),
    variants: Sequence[str] = ("as_trained",),
    seed: int = 0,
) -> pd.DataFrame:
    """A model that separates the classes and loses its margin as epsilon grows.

    Some images that it has wrong when clean it has right under perturbation.

    ``patients=0``: patients unknown. Each patient has images of one class only.
    """
    random = np.random.default_rng(seed)
    patient = random.integers(0, patients, n) if patients else None
    target = random.integers(0, n_classes, n) if patient is None else patient % n_classes
    shared = random.normal(0, 1, (max(patients, 1), n_classes))
    rows = []
    for variant in variants:
        clean = random.normal(0, 1, (n, n_classes))
        clean += shared[patient] if patient is not None else 0
        clean[np.arange(n), target] += 2.2
        conditions = [("none", "-", 0.0), *(("fgsm", "inf", float(e)) for e in eps_px)]
        for name, norm, e in conditions:
            logits = clean.copy()
            logits[np.arange(n), target] -= 1.6 * np.sqrt(e)
            logits += random.normal(0, 1, logits.shape) if e else 0
            p = np.exp(logits)
            p /= p.sum(axis=1, keepdims=True)
            columns: dict[str, object] = {
                "image_id": [f"image-{i:04d}" for i in range(n)],
                "index": np.arange(n),
                "patient": None if patient is None else [f"P{i}" for i in patient],
                "target": target,
                "batchnorm": variant,
                "perturbation": name,
                "norm": norm,
                "eps": e / 255,
                "eps_px": e,
                "prediction": p.argmax(axis=1),
                "size": e / 255,
            }
            columns |= {f"p_{c}": p[:, c] for c in range(n_classes)}
            rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)
