"""`python -m tests.benchmarks [names...]`: speed and memory, beside the targets.

A name is a benchmark (`fgsm`) or one of its rows (`fgsm:foolbox`). Each row is printed as soon as
it is measured. Nothing here passes or fails: numbers from a busy machine are no verdict.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from rich.console import Console

from tests.benchmarks.catalog import BENCHMARKS, select
from tests.benchmarks.display import Progress, Table
from tests.benchmarks.measure import Options, machine


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmarks that are named, or all of them."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of {', '.join(BENCHMARKS)}")
    parser.add_argument("--list", action="store_true", help="say what each row measures, and end")
    parser.add_argument("--small", action="store_true", help="toy sizes, to see that it works")
    parser.add_argument("--rounds", type=int, help="measurements of each side (default 3)")
    parser.add_argument("--checkpoint", type=Path, help="a trained model for fgsm and pgd")
    given = parser.parse_args(arguments)
    try:
        chosen = select(given.names)
    except ValueError as error:
        parser.error(str(error))
    if given.rounds is not None and given.rounds < 1:
        parser.error(f"--rounds {given.rounds}: give at least 1")
    if given.list:
        sys.stdout.write(catalog(chosen))
        return
    rounds = given.rounds or (1 if given.small else 3)
    console = Console()
    width = console.width if console.is_terminal else 130
    sys.stdout.write(f"{machine()}\nMedians of {rounds} round(s) in turn, after a warm-up.\n")
    if given.small:
        sys.stdout.write("TOY SIZES: these numbers only show that the code runs.\n")
    sys.stdout.flush()
    measure(chosen, Options(given.small, rounds, given.checkpoint), width)


def catalog(chosen: dict[str, frozenset[str]]) -> str:
    """A line for each of these rows: its name and what it measures."""
    lines = [
        (f"{name}:{row}", what)
        for name, rows in chosen.items()
        for row, what in BENCHMARKS[name].items()
        if row in rows
    ]
    indent = max(len(name) for name, _ in lines)
    return "".join(f"{name:{indent}}  {what}\n" for name, what in lines)


def measure(chosen: dict[str, frozenset[str]], options: Options, width: int) -> None:
    """Runs the benchmarks; writes every row as it comes.

    Raises:
        RuntimeError: a benchmark knows none of the rows that the catalog promises.
    """
    table, progress = Table(sys.stdout, width), Progress(sys.stderr)
    try:
        for name, rows in chosen.items():
            table.head(name)
            written = 0
            progress.step(name, "imports")
            run = import_module(f"tests.benchmarks.{name}").run
            for row in run(options.of(rows, partial(progress.step, name))):
                with progress.aside():
                    table.row(row)
                written += 1
            if not written:
                raise RuntimeError(f"{name} measured none of {', '.join(sorted(rows))}")
            with progress.aside():
                table.foot()
    finally:
        progress.close()


if __name__ == "__main__":
    # The compared libraries and Lightning talk a lot; none of it bears on the numbers.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    main()
