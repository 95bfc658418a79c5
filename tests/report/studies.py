"""Studies made by hand, with numbers that a test can foretell, and jobs to make a study of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bcadv.report.jobs import SCHEMA_VERSION, Job
from bcadv.report.study import Arm, Study
from bcadv.report.table import variant_name
from tests.report.jobs_on_disk import CLASSES, examples, write_job

METRICS = ("accuracy", "sensitivity", "specificity", "auroc", "ece")
EPS_PX = (0.0, 1.0, 4.0)


def value_of(sigma: float | None, seed: int | None, eps_px: float, metric: str) -> float:
    """What `make_study` puts in; another number for every condition."""
    number = 0.3 + (sigma or 0) + 0.01 * (seed or 0) - 0.02 * eps_px
    return number + 0.005 * METRICS.index(metric)


def make_study(
    sigmas: Sequence[float | None] = (None, 0.1),
    *,
    variants: Sequence[str] = ("as_trained",),
    seeds: Sequence[int] = (0,),
    eps_px: Sequence[float] = EPS_PX,
    synthetic: bool = False,
    jobs: Sequence[Job] = (),
) -> Study:
    """A study without files unless jobs are given; undefended has the first variant only.

    Rows of all seeds together have seed <NA>; of a single seed they repeat its rows.
    """
    arms, rows = [], []
    for sigma in sigmas:
        for variant in variants if sigma else variants[:1]:
            name = "undefended" if sigma is None else f"noise σ={sigma:g}"
            name += f", {variant_name(variant)}" if sigma else ""
            of_arm = tuple(job for job in jobs if job.results["training"]["sigma"] == sigma)
            arms.append(Arm(name, "experiment", sigma, variant, of_arm, tuple(seeds)))
            for seed in [None, *seeds]:
                for e in eps_px:
                    for metric in METRICS:
                        only = seeds[0] if len(seeds) == 1 else seed
                        value = value_of(sigma, only, e, metric)
                        rows.append(
                            {
                                "arm": name,
                                "seed": seed,
                                "perturbation": "fgsm" if e else "none",
                                "norm": "inf" if e else "-",
                                "eps_px": e,
                                "metric": metric,
                                "value": value,
                                "low": value - 0.05,
                                "high": value + 0.1,
                                "k": pd.NA,
                                "n": 50,
                                "n_patients": 20,
                                "kind": "wilson",
                            }
                        )
    measures = pd.DataFrame(rows).astype({"seed": "Int64", "k": "Int64"})
    reference = arms[0] if sigmas and sigmas[0] is None else None
    empty = pd.DataFrame()
    return Study(tuple(arms), reference, measures, empty, synthetic, (), tuple(jobs) or _no_job())


def _no_job() -> tuple[Job, ...]:
    return (Job(Path("nowhere"), {"run": {}, "environment": {}}),)


def gallery(side: int) -> dict[str, Any]:
    """Four images, the last of which never flips."""
    made = examples((0, 1), side)
    truth = np.array([0.1, 0.2, 0.1, 0.6])
    target = made["target"]
    prob = np.where(target[:, None] == np.arange(2), truth[:, None], 1 - truth[:, None])
    return {
        "image": made["image"],
        "adversarial": made["adversarial"][1],
        "eps_px": np.array([1.0, 1.0, 1.0, 1.0]),
        "flipped": np.array([True, True, True, False]),
        "first": np.array([True, True, False, False]),
        "target": target,
        "index": made["index"],
        "image_id": np.array([f"image-{i}" for i in range(4)]),
        "prob_clean": made["prob_clean"],
        "prob_adversarial": prob,
    }


def write_run(
    folder: Path,
    *,
    sigma: float | None = None,
    run_seed: int = 0,
    classes: Sequence[str] = CLASSES,
    pictures: bool = True,
    **table: Any,
) -> None:
    """Writes the folder of a finished job that trained on noise of this sigma.

    Without pictures the report is quicker.
    """
    experiment = "defense" if sigma else "baseline"
    results = write_job(folder, experiment=experiment, **table)
    counts = {part: dict.fromkeys(classes, 10) for part in ("train", "val", "test")}
    results["schema_version"] = SCHEMA_VERSION
    results["run"] |= {"seed": run_seed, "name": folder.name}
    results["data"] |= {"classes": list(classes), "counts": counts}
    results["training"] = {
        "fingerprint": f"{sigma or 0:g}-{run_seed}",
        "checkpoint": "last",
        "weights": "w",
        "sigma": sigma,
        "shape": {
            "data.split": "paper",
            "injection.perturbation": "gaussian" if sigma else None,
            "sigma": sigma,
            "seed": run_seed,
        },
    }
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    if pictures:
        np.savez(folder / "gallery.npz", **gallery(side=24))
    else:
        (folder / "examples.npz").unlink()
