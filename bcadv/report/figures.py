"""The figures of a finished job, made from its result files alone.

A job folder holds ``results.json`` and ``predictions.parquet``; ``history.csv`` (columns epoch,
train_loss, train_accuracy, val_loss, val_accuracy) where the job trained, and ``examples.npz``
(arrays: see `bcadv.report.pictures`) where it kept images.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bcadv.errors import BcadvError
from bcadv.report.curves import robustness_curve, training_curve
from bcadv.study.jobs import Job
from bcadv.report.pictures import (
    adversarial_figure,
    load_examples,
    noise_figure,
    spread_attacks,
)
from bcadv.report.style import not_drawn, save
from bcadv.results.files import EXAMPLES, FIGURES, HISTORY
from bcadv.text import brief

_HISTORY_COLUMNS = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")

log = logging.getLogger(__name__)


class Drawn(NamedTuple):
    """What became of a job's figures.

    Attributes:
        files: those written.
        failures: a sentence for each figure that could not be drawn, and for each file that is
            damaged.
    """

    files: list[Path]
    failures: list[str]


def draw_all(job: Job) -> Drawn:
    """Draws every figure that the job's files allow, as PNG and SVG.

    Args:
        job: a finished job; the figures go to its folder's ``figures``.

    Returns:
        The files of robustness_curve, training, noise and adversarial, and what was in the way.
    """
    drawn = Drawn([], [])
    for name, draw in _figures(job, drawn.failures).items():
        try:
            figure = draw()
            if figure is not None:
                drawn.files.extend(save(figure, job.folder / FIGURES, name))
        except Exception as error:
            drawn.failures.append(not_drawn(name, error))
    log.info("%d figures in %s", len(drawn.files), job.folder / FIGURES)
    return drawn


def _figures(job: Job, failures: list[str]) -> dict[str, Callable[[], Figure | None]]:
    """What draws each figure; damaged files are noted."""
    name, classes, synthetic = job.experiment, job.classes, job.synthetic
    known = job.result.by_id
    found: dict[str, Callable[[], Figure | None]] = {
        "robustness_curve": partial(robustness_curve, job.result)
    }
    try:
        if (job.folder / HISTORY).is_file():
            history = read_history(job.unharmed(HISTORY))
            title = f"{name}: training"
            found["training"] = partial(training_curve, history, title, synthetic=synthetic)
    except BcadvError as error:
        failures.append(str(error))
    try:
        if (job.folder / EXAMPLES).is_file():
            examples = load_examples(job.unharmed(EXAMPLES), len(classes))
            title = f"{name}: Gaussian noise"
            found["noise"] = partial(noise_figure, examples, classes, title, synthetic=synthetic)
            if spread_attacks(examples, known):
                title = f"{name}: original and attacked"
                found["adversarial"] = partial(
                    adversarial_figure, examples, known, classes, title, synthetic=synthetic
                )
    except BcadvError as error:
        failures.append(str(error))
    return found


def read_history(path: Path) -> pd.DataFrame:
    """Reads ``history.csv``: a row per epoch; losses and accuracies may be nan (not measured).

    Raises:
        BcadvError: if it cannot be read, lacks a column, holds no epoch or one twice, text for a
            number, or an accuracy outside [0, 1].
    """
    try:
        history = pd.read_csv(path, encoding="utf-8")
    except Exception as error:  # pandas raises many kinds on bytes that are no table
        reason = brief(" ".join(str(error).split()), 200)
        raise BcadvError(f"{path} cannot be read ({reason}); run the job again.") from error
    absent = [name for name in _HISTORY_COLUMNS if name not in history]
    if absent:
        raise BcadvError(f"{path} lacks the column(s) {', '.join(absent)}; run the job again.")
    for name in _HISTORY_COLUMNS:
        fault = _fault(history[name])
        if fault:
            raise BcadvError(f"The column {name} of {path} {fault}; run the job again.")
    if history.empty:
        raise BcadvError(f"{path} holds no epoch; run the job again.")
    return history


def _fault(column: pd.Series[Any]) -> str:
    """What is wrong with a column of the history; nothing where all is well."""
    if column.dtype.kind not in "iuf":
        numbers = pd.to_numeric(column.astype(str), errors="coerce")
        texts = column[numbers.isna() & column.notna()]
        return f"has {str(next(iter(texts), True))[:40]!r} for a number" if len(column) else ""
    if column.name == "epoch":
        if not np.isfinite(column).all() or (column < 0).any() or column.duplicated().any():
            return "is no list of different epochs"
    elif str(column.name).endswith("accuracy") and not column.dropna().between(0, 1).all():
        return f"has values from {column.min():g} to {column.max():g}, outside [0, 1]"
    return ""
