"""The history of a training, read with distrust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bcadv.errors import BcadvError
from bcadv.text import brief

_HISTORY_COLUMNS = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


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
