"""What a sweep saves by training each model once, and what it costs to find nothing missing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.measure import REPOSITORY, Options, Row
from tests.jobs import TINY, TISSUE

SIGMAS = (0.1,)
"""One model: a second doubles both sides, and the ratio stays."""
EPSILONS = (0, 0.25, 0.5, 1, 2, 4, 8, 16)
IMAGES = ("data.patients=10", "data.images_per_patient=6")
"""An eighth of the demo's: what a sweep saves is a matter of epochs, not of images."""
EPOCHS = {"again": 400, "reuse": 250}
"""Row -> of each training; the paper's has 400. Both gain with them; the second trains twice."""

DRIVER = """
import sys, time
import bcadv.job, bcadv.run
begun = time.perf_counter()
try:
    bcadv.run.main()
except SystemExit as end:
    status = end.code
print(time.perf_counter() - begun)
sys.exit(status)
"""
"""The command with everything imported before the clock starts."""


@dataclass(frozen=True)
class Spent:
    """Seconds that a command took.

    Attributes:
        wall: what a person waits.
        inside: imports aside.
    """

    wall: float
    inside: float


def command(folder: Path, overrides: Sequence[str]) -> Spent:
    """Runs a sweep in a process of its own.

    Raises:
        RuntimeError: a job failed.
    """
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "-m", *overrides],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the sweep {overrides} ended with {done.returncode}: {done.stderr}")
    return Spent(time.perf_counter() - begun, float(done.stdout.splitlines()[-1]))


def run(options: Options) -> Iterator[Row]:
    """One round of the demo's jobs on fewer images: long enough for one second to weigh little."""
    for row, measure in (("again", _again), ("reuse", _reuse)):
        if options.wants(row):
            with TemporaryDirectory() as name:
                yield measure(options, Path(name))


def _overrides(options: Options, row: str) -> tuple[list[str], Sequence[float]]:
    """Of every job of a row, and the strengths that its sweep is over."""
    size = [*TISSUE, *TINY] if options.small else [*IMAGES, f"trainer.max_epochs={EPOCHS[row]}"]
    sigmas = ",".join(map(str, SIGMAS))
    common = ["+experiment=defense", f"sigma={sigmas}", *size, "tracking.enabled=false"]
    return common, EPSILONS[-2:] if options.small else EPSILONS


def _first(options: Options, folder: Path, row: str) -> Spent:
    """The sweep where nothing is there yet but its images, painted and decoded."""
    common, epsilons = _overrides(options, row)
    options.tell(f"{row}: warm-up: one training of an epoch")
    command(folder, [*common, "trainer.max_epochs=1"])
    options.tell(f"{row}: {len(SIGMAS) * len(epsilons)} jobs on {len(SIGMAS)} model(s)")
    return command(folder, _sweep(common, epsilons))


def _sweep(common: Sequence[str], epsilons: Sequence[float]) -> list[str]:
    return [*common, f"eps_px={','.join(map(str, epsilons))}"]


def _again(options: Options, folder: Path) -> Row:
    common, epsilons = _overrides(options, "again")
    jobs = len(SIGMAS) * len(epsilons)
    first = _first(options, folder, "again")
    options.tell("again: the same again")
    again = command(folder, _sweep(common, epsilons))
    _check(folder, jobs)
    of = "" if options.small else f" of {EPOCHS['again']} epochs"
    return Row(
        f"the same again, nothing missing, per job{of}, imports aside",
        f"{again.inside / jobs:.3f} s",
        f"{first.inside / jobs:.2f} s at first",
        f"{again.inside / first.inside:.1%}",
        "<= 2 %",
    )


def _reuse(options: Options, folder: Path) -> Row:
    common, epsilons = _overrides(options, "reuse")
    first = _first(options, folder, "reuse")
    options.tell(f"reuse: {len(SIGMAS)} job(s) trained anew")
    anew = command(folder, [*common, f"eps_px={epsilons[-1]}", "reuse=false"])
    _check(folder, len(SIGMAS) * (len(epsilons) + 1))
    # Every epsilon costs the same training: one column stands for all of them.
    imports = anew.wall - anew.inside
    each = imports + anew.inside * len(epsilons)
    epochs = "" if options.small else f", {EPOCHS['reuse']} epochs"
    what = f"{len(SIGMAS)} model(s) x {len(epsilons)} epsilons{epochs}"
    return Row(
        f"{what}, against training for each job (one round)",
        f"{first.wall:.1f} s",
        f"{each:.1f} s (from {len(SIGMAS)} job(s))",
        f"{each / first.wall:.1f} x shorter",
        ">= 6 x",
    )


def _check(folder: Path, jobs: int) -> None:
    # One more of each: the warm-up.
    stored = len(list(folder.glob("outputs/models/*/trained.json"))) - 1
    ended = len(list(folder.glob("outputs/sweeps/*/*/results.json"))) - 1
    if (stored, ended) != (len(SIGMAS), jobs):
        raise RuntimeError(f"{stored} models were trained for {ended} jobs")
