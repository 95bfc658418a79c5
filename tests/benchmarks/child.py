"""Measurements that need a fresh process: a process's peak memory never falls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.measure import REPOSITORY


def tell_peak() -> None:
    """Writes the peak resident memory of this process in MB as the last line of its output.

    From /proc, where it begins with this program; the peak that ``getrusage`` tells begins with
    the program that started it.

    Raises:
        FileNotFoundError: outside Linux.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    sys.stdout.write(f"\n{int(peak) / 1024}\n")


def peak_of(module: str, *arguments: object) -> float:
    """Runs a module that ends with `tell_peak`; returns what that said.

    Raises:
        RuntimeError: it failed, with what it said.
    """
    words = [str(argument) for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(words)} failed: {done.stderr}")
    return float(done.stdout.splitlines()[-1])
