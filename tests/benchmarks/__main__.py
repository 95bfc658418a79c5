"""`python -m tests.benchmarks [names...]`: speed and memory, beside the targets.

Nothing here passes or fails: numbers from a busy machine are no verdict.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rich.console import Console

from tests.benchmarks.measure import Options, machine, table

NAMES = ("cli", "start", "memory", "fgsm", "pgd", "training", "gpu", "sweep", "tracking", "report")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmarks that are named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of {', '.join(NAMES)}")
    parser.add_argument("--small", action="store_true", help="toy sizes, to see that it works")
    parser.add_argument("--rounds", type=int, help="measurements of each side (default 3)")
    parser.add_argument("--checkpoint", type=Path, help="a trained model for fgsm")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(NAMES)}")
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error(f"--rounds {chosen.rounds}: give at least 1")
    rounds = chosen.rounds or (1 if chosen.small else 3)
    options = Options(chosen.small, rounds, chosen.checkpoint)

    console = Console()
    if not console.is_terminal:
        console = Console(width=130)
    console.print(machine())
    console.print(f"Medians of {rounds} round(s) in turn, after a warm-up.")
    if options.small:
        console.print("[bold yellow]TOY SIZES[/]: these numbers only show that the code runs.")
    for name in chosen.names or NAMES:
        rows = import_module(f"tests.benchmarks.{name}").run(options)
        console.print(table(name, rows))


if __name__ == "__main__":
    # The compared libraries and Lightning talk a lot; none of it bears on the numbers.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    main()
