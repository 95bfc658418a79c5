"""Made-up predictions tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Finding


def fgsm(eps_px: float, norm: Literal["inf", "2"] = "inf") -> Condition:
    """FGSM at a strength: grey levels of 255 in the maximum norm, pixels in [0, 1] in L2."""
    return Condition(
        kind="attack",
        name="fgsm",
        norm=norm,
        strength=eps_px,
        unit="grey level" if norm == "inf" else "pixel range",
        goal="untargeted",
        label="FGSM" if norm == "inf" else "FGM, L2",
        access="white box",
        how="white box, one step",
        steps=1,
    )


def pgd(eps_px: float, norm: Literal["inf", "2"] = "inf", steps: int = 20) -> Condition:
    """PGD at a strength, as `fgsm`."""
    return Condition(
        kind="attack",
        name="pgd",
        norm=norm,
        strength=eps_px,
        unit="grey level" if norm == "inf" else "pixel range",
        goal="untargeted",
        settings={"steps": steps},
        label=f"PGD-{steps}" if norm == "inf" else f"PGD-{steps}, L2",
        access="white box",
        how=f"white box, {steps} steps",
    )


def failed(name: str, *taints: Condition, batchnorm: str | None = "as_trained") -> Finding:
    """A check that failed, on these conditions."""
    return Finding(
        id=name,
        title=f"{name} holds",
        outcome="failed",
        evidence="e",
        batchnorm=batchnorm,
        taints=tuple(condition.id for condition in taints),
    )


def gaussian(sigma: float) -> Condition:
    """Gaussian noise of a standard deviation, pixels in [0, 1]."""
    return Condition(
        kind="noise", name="gaussian", strength=sigma, unit="pixel range", label="Gaussian noise"
    )


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
        for condition in [CLEAN, *(fgsm(float(e)) for e in eps_px)]:
            e = condition.strength
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
                "condition": condition.id,
                "prediction": p.argmax(axis=1),
                "size": condition.size,
            }
            columns |= {f"p_{c}": p[:, c] for c in range(n_classes)}
            rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)
