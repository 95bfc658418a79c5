"""Timing several sides in turn, and what comes out."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]

Tell = Callable[[str], None]
"""Takes what is being measured from now on."""


def silent(what: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Options:
    """What every benchmark is told.

    Attributes:
        small: toy sizes, to see that it works; its numbers mean nothing.
        rounds: how often each side is measured after its warm-up.
        checkpoint: a trained model for the benchmarks that can use one.
        rows: names of the rows to measure; None means all.
        tell: is told every step.
    """

    small: bool = False
    rounds: int = 3
    checkpoint: Path | None = None
    rows: frozenset[str] | None = None
    tell: Tell = silent

    def wants(self, row: str) -> bool:
        """Whether the row is to be measured."""
        return self.rows is None or row in self.rows

    def of(self, rows: frozenset[str], tell: Tell) -> Options:
        """The same for some rows of one benchmark."""
        return replace(self, rows=rows, tell=tell)


@dataclass(frozen=True)
class Row:
    """A line of the table, as text; ``target`` is what ``result`` should reach."""

    what: str
    ours: str
    other: str
    result: str
    target: str = "-"


def robust(where: str, ours: float, other: float, target: str = "<= 0") -> Row:
    """The row on two robust accuracies, shares in [0, 1]."""
    return Row(
        f"robust accuracy at {where}",
        f"{100 * ours:.1f} %",
        f"{100 * other:.1f} %",
        f"{100 * (ours - other):+.1f} points",
        target,
    )


@dataclass(frozen=True)
class Timed:
    """One side's measurements.

    Attributes:
        seconds: of each round.
        result: what the side returned in the last of them.
    """

    seconds: tuple[float, ...]
    result: Any = None

    @property
    def median(self) -> float:
        """Median seconds of a round."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        return f"{self.median:.3g} s ({min(self.seconds):.3g} to {max(self.seconds):.3g})"


def faster(what: str, ours: Timed, other: Timed, target: str) -> Row:
    """The row on the times of two sides."""
    ratio = other.median / ours.median
    return Row(what, str(ours), str(other), f"{ratio:.2f}x faster", target)


def alternate(
    sides: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    warm_up: Mapping[str, Callable[[], Any]] | None = None,
    tell: Tell = silent,
) -> dict[str, Timed]:
    """Runs every side once to warm up, then all of them in turn, round after round.

    In turn, so that whatever else the machine does meets every side alike.

    Args:
        sides: what is timed.
        rounds: how often.
        warm_up: less of the same, where a whole side would take too long; else the sides.
        tell: is told every step.
    """
    for name, side in (warm_up or sides).items():
        tell(f"warm-up: {name}")
        side()
    results: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds):
        for name, side in sides.items():
            tell(f"round {i + 1} of {rounds}: {name}")
            begun = time.perf_counter()
            results[name] = side()
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
