"""Studies made by hand, with numbers that a test can foretell, and jobs to make a study of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import UNDEFENDED, Result
from bcadv.study.arms import Arm
from bcadv.study.jobs import Job
from bcadv.study.measures import DESCRIBED, described
from bcadv.study.naming import variant_name
from bcadv.study.study import Study
from tests.metrics.tables import fgsm
from tests.report.jobs_on_disk import CLASSES, examples, rewrite, write_job
from tests.results import made

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
            defence = UNDEFENDED if sigma is None else made.noise(sigma)
            of_arm = tuple(job for job in jobs if job.defence == defence)
            arms.append(Arm(name, defence.label, defence, variant, of_arm, tuple(seeds)))
            for seed in [None, *seeds]:
                for e in eps_px:
                    for metric in METRICS:
                        only = seeds[0] if len(seeds) == 1 else seed
                        value = value_of(sigma, only, e, metric)
                        rows.append(
                            {
                                "arm": name,
                                "seed": seed,
                                **dict(zip(DESCRIBED, described(_condition(e)), strict=True)),
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
    return Study(
        tuple(arms),
        reference,
        measures,
        empty,
        synthetic,
        (),
        tuple(jobs) or (Job(Path("nowhere"), made.result()),),
        tuple(map(_condition, eps_px)),
    )


def _condition(eps_px: float) -> Condition:
    return fgsm(eps_px) if eps_px else CLEAN


def gallery(side: int) -> dict[str, Any]:
    """Four images, the last of which never flips."""
    kept = examples([fgsm(0), fgsm(1)], side)
    truth = np.array([0.1, 0.2, 0.1, 0.6])
    target = kept["target"]
    prob = np.where(target[:, None] == np.arange(2), truth[:, None], 1 - truth[:, None])
    return {
        "image": kept["image"],
        "adversarial": kept["adversarial"][1],
        "condition": np.array([fgsm(1).id] * 4),
        "flipped": np.array([True, True, True, False]),
        "first": np.array([True, True, False, False]),
        "target": target,
        "index": kept["index"],
        "image_id": np.array([f"image-{i}" for i in range(4)]),
        "prediction": kept["prediction"],
        "prob_clean": kept["prob_clean"],
        "prediction_adversarial": prob.argmax(1),
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
) -> Result:
    """Writes the folder of a finished job that trained on noise of this sigma.

    Without pictures the report is quicker.
    """
    counts = {part: dict.fromkeys(classes, 10) for part in ("train", "val", "test")}
    write_job(
        folder,
        experiment="defense" if sigma else "baseline",
        sigma=sigma,
        run_seed=run_seed,
        data={"counts": counts},
        task={"classes": tuple(classes)},
        **table,
    )
    if pictures:
        np.savez(folder / "gallery.npz", **gallery(side=24))
    else:
        (folder / "examples.npz").unlink()
    return rewrite(folder)
