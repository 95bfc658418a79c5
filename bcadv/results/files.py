"""The names of everything that a job's folder holds, and whether it is still what it was."""

from __future__ import annotations

from pathlib import Path

from bcadv.errors import BcadvError
from bcadv.files import sha256_of

RESULTS = "results.json"
PREDICTIONS = "predictions.parquet"
SPLIT = "split.csv"
HISTORY = "history.csv"
EXAMPLES = "examples.npz"
GALLERY = "gallery.npz"
FIGURES = "figures"
PAGE = "report.html"
SUMMARY = "summary.json"
FAILED = "failed.txt"

SWEEPS = "sweeps"
SWEEP_RECORD = "sweep.json"

MEASURED = (PREDICTIONS, SPLIT, HISTORY, EXAMPLES, GALLERY)
"""Files that results.json vouches for by their digest."""


def unharmed(folder: Path, name: str, wanted: str) -> Path:
    """Path of a file that results vouch for.

    Args:
        folder: of the job.
        name: of the file.
        wanted: the digest that the results give it.

    Raises:
        BcadvError: the file is gone, or not the one that the results were written with.
    """
    path = folder / name
    if not path.is_file():
        raise BcadvError(f"{path} was removed since the results were written; run the job again.")
    if sha256_of(path) != wanted:
        raise BcadvError(
            f"{path} was changed or damaged since the results were written, so it is not used; "
            "run the job again."
        )
    return path


def digests(folder: Path) -> dict[str, str]:
    """The digests of the files in a job's folder that results.json vouches for."""
    return {name: sha256_of(folder / name) for name in MEASURED if (folder / name).is_file()}
