"""Result files -> MLflow; the only folder that imports mlflow, and only once something is tracked.

The files come first. Whatever happens to the tracking server costs a warning and never a training.
"""

from __future__ import annotations

from bcadv.tracking.store import prepare, store_uri
from bcadv.tracking.tracker import Tracker

__all__ = ["Tracker", "prepare", "store_uri"]
