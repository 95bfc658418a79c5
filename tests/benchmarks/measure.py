"""Timing several sides in turn, and the table that shows what came out."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Options:
    """What every benchmark is told.

    Attributes:
        small: toy sizes, to see that it works; its numbers mean nothing.
        rounds: how often each side is measured after its warm-up.
        checkpoint: a trained model for the benchmarks that can use one.
    """

    small: bool = False
    rounds: int = 3
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table, as text; ``target`` is what ``result`` should reach."""

    what: str
    ours: str
    other: str
    result: str
    target: str = "-"


@dataclass(frozen=True)
class Timed:
    """One side's measurements.

    Attributes:
        seconds: of each round.
        result: what the side returned in its warm-up.
    """

    seconds: tuple[float, ...]
    result: Any = None

    @property
    def median(self) -> float:
        """Median seconds of a round."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        return f"{self.median:.3g} s ({min(self.seconds):.3g} to {max(self.seconds):.3g})"


def alternate(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Timed]:
    """Runs every side once to warm up, then all of them in turn, round after round.

    In turn, so that whatever else the machine does meets every side alike.
    """
    results = {name: side() for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            begun = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - begun)
    return {name: Timed(tuple(seconds[name]), results[name]) for name in sides}


def machine() -> str:
    """What the numbers were measured on."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {gpu}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    )


def table(name: str, rows: Sequence[Row]) -> Table:
    """One benchmark's results with the targets beside them."""
    shown = Table("", "ours", "other side", "result", "target", title=name, title_justify="left")
    for row in rows:
        shown.add_row(row.what, row.ours, row.other, row.result, row.target)
    return shown
