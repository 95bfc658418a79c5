"""The names of everything that a job's folder holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

RESULTS = "results.json"
PREDICTIONS = "predictions.parquet"
SPLIT = "split.csv"
HISTORY = "history.csv"
EXAMPLES = "examples.npz"
GALLERY = "gallery.npz"
FIGURES = "figures"
PAGE = "report.html"
FAILED = "failed.txt"

SWEEPS = "sweeps"
SWEEP_RECORD = "sweep.json"

MEASURED = (PREDICTIONS, SPLIT, HISTORY, EXAMPLES, GALLERY)
"""Files that results.json vouches for by their digest."""


def digest(path: Path) -> str:
    """SHA-256 of a file, read piece by piece."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """The digests of the files in a job's folder that results.json vouches for."""
    return {name: digest(folder / name) for name in MEASURED if (folder / name).is_file()}
