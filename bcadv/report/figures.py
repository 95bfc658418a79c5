"""The figures of a finished job, made from its result files alone.

A job folder holds ``results.json`` and ``predictions.parquet``; ``history.csv`` (columns epoch,
train_loss, train_accuracy, val_loss, val_accuracy) where the job trained, and ``examples.npz``
(arrays: see `bcadv.report.pictures`) where it kept images.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bcadv.errors import BcadvError
from bcadv.report.curves import robustness_curve, training_curve
from bcadv.report.jobs import load_job
from bcadv.report.pictures import adversarial_figure, load_examples, noise_figure
from bcadv.report.style import save
from bcadv.report.table import is_synthetic

FIGURES = "figures"
HISTORY = "history.csv"
EXAMPLES = "examples.npz"
_HISTORY_COLUMNS = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")

log = logging.getLogger(__name__)


def draw_all(folder: Path, results: Mapping[str, Any] | None = None) -> list[Path]:
    """Draws every figure that the job's files allow, as PNG and SVG.

    Args:
        folder: job folder; the figures go to its ``figures``.
        results: content of its ``results.json``; ``None`` reads it.

    Returns:
        The files written: robustness_curve, training, noise and adversarial.

    Raises:
        BcadvError: if a result file is damaged.
    """
    results = load_job(folder).results if results is None else results
    name, synthetic = str(results["run"]["experiment"]), is_synthetic(results)
    classes = results["data"]["classes"]
    figures: dict[str, Figure | None] = {"robustness_curve": robustness_curve(results)}
    if (folder / HISTORY).is_file():
        figures["training"] = training_curve(
            read_history(folder / HISTORY), f"{name}: training", synthetic=synthetic
        )
    if (folder / EXAMPLES).is_file():
        examples = load_examples(folder / EXAMPLES)
        figures["noise"] = noise_figure(
            examples, classes, f"{name}: Gaussian noise", synthetic=synthetic
        )
        if (examples["eps_px"] > 0).any():
            figures["adversarial"] = adversarial_figure(
                examples, classes, f"{name}: original and attacked", synthetic=synthetic
            )
    written: list[Path] = []
    for stem, figure in figures.items():
        if figure is not None:
            written += save(figure, folder / FIGURES, stem)
    log.info("%d figures in %s", len(written), folder / FIGURES)
    return written


def read_history(path: Path) -> pd.DataFrame:
    """Reads ``history.csv``.

    Raises:
        BcadvError: if it cannot be read or lacks a column.
    """
    try:
        history = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise BcadvError(f"{path} cannot be read ({error}); run the job again.") from error
    absent = [name for name in _HISTORY_COLUMNS if name not in history]
    if absent:
        raise BcadvError(f"{path} lacks the column(s) {', '.join(absent)}; run the job again.")
    return history
