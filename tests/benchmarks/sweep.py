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
EPOCHS = 50
"""Of each training: an eighth of the paper's 400. The gain grows with them."""

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
    epsilons = EPSILONS[-2:] if options.small else EPSILONS
    size = [*TISSUE, *TINY] if options.small else [*IMAGES, f"trainer.max_epochs={EPOCHS}"]
    sigmas = ",".join(map(str, SIGMAS))
    common = ["+experiment=defense", f"sigma={sigmas}", *size, "tracking.enabled=false"]
    jobs = len(SIGMAS) * len(epsilons)
    with TemporaryDirectory() as name:
        folder = Path(name)
        # Images are painted and decoded once, whoever comes first.
        options.tell("warm-up: one training of an epoch")
        command(folder, [*common[:1], *size, "tracking.enabled=false", "trainer.max_epochs=1"])
        sweep = [*common, f"eps_px={','.join(map(str, epsilons))}"]
        options.tell(f"{jobs} jobs on {len(SIGMAS)} model(s)")
        first = command(folder, sweep)
        if options.wants("again"):
            options.tell("the same again")
            again = command(folder, sweep)
            _check(folder, jobs)
            yield Row(
                "the same again, nothing missing, per job, imports aside",
                f"{again.inside / jobs:.3f} s",
                f"{first.inside / jobs:.2f} s at first",
                f"{again.inside / first.inside:.1%}",
                "<= 2 %",
            )
        if options.wants("reuse"):
            options.tell(f"{len(SIGMAS)} job(s) trained anew")
            anew = command(folder, [*common, f"eps_px={epsilons[-1]}", "reuse=false"])
            _check(folder, jobs + len(SIGMAS))
            yield _reuse(first, anew, len(epsilons), options.small)


def _check(folder: Path, jobs: int) -> None:
    # One more of each: the warm-up.
    stored = len(list(folder.glob("outputs/models/*/trained.json"))) - 1
    ended = len(list(folder.glob("outputs/sweeps/*/*/results.json"))) - 1
    if (stored, ended) != (len(SIGMAS), jobs):
        raise RuntimeError(f"{stored} models were trained for {ended} jobs")


def _reuse(first: Spent, anew: Spent, epsilons: int, small: bool) -> Row:
    # Every epsilon costs the same training: one column stands for all of them.
    imports = anew.wall - anew.inside
    each = imports + anew.inside * epsilons
    what = f"{len(SIGMAS)} model(s) x {epsilons} epsilons" + ("" if small else f", {EPOCHS} epochs")
    return Row(
        f"{what}, against training for each job (one round)",
        f"{first.wall:.1f} s",
        f"{each:.1f} s (from {len(SIGMAS)} job(s))",
        f"{each / first.wall:.1f} x shorter",
        ">= 6 x",
    )
