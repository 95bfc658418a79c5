"""``python -m bcadv.report [runs=DIR ...]``: compares finished jobs from their result files.

Without arguments: the newest finished job of each experiment below ``outputs``. With
``runs=DIR``, as often as wanted: every finished job in and below these folders.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bcadv.errors import BcadvError
from bcadv.report.compare import cells, columns, markdown_report, p_values, remarks
from bcadv.report.curves import comparison_curve
from bcadv.report.jobs import find_jobs, newest_of_each
from bcadv.report.style import save
from bcadv.report.table import SYNTHETIC_WARNING, is_synthetic

OUTPUTS = Path("outputs")


def report(roots: Sequence[Path], folder: Path, console: Console, *, newest: bool) -> Path:
    """Writes ``report.md`` and the figure ``comparison``, and prints the comparison.

    Args:
        roots: folders to look in and below.
        folder: where the report goes.
        console: to print to.
        newest: keep only the newest job of each experiment.

    Returns:
        The path of ``report.md``.

    Raises:
        BcadvError: if there is no readable result of a finished job.
    """
    jobs, left_out = find_jobs(roots)
    for sentence in left_out:
        console.print(Text(f"Left out: {sentence}", "yellow"))
    if not jobs:
        raise BcadvError(
            f"No finished job in or below {', '.join(map(str, roots))}; run one first "
            "(python -m bcadv.run) or name its folder: runs=DIR."
        )
    compared = columns(newest_of_each(jobs) if newest else jobs)
    tested, untested = p_values(compared)
    synthetic = any(is_synthetic(column.job.results) for column in compared)
    figure = comparison_curve(
        {column.name: list(column.rows.values()) for column in compared}, synthetic=synthetic
    )
    png, _ = save(figure, folder, "comparison")
    path = folder / "report.md"
    text = markdown_report(compared, tested, untested, left_out, png.name)
    path.write_text(text, encoding="utf-8")

    caption = Text("\n".join(remarks(compared, untested)), justify="left")
    title = Text("Accuracy")
    if synthetic:
        title.append(f"\n{SYNTHETIC_WARNING}", "bold red")
    headings, lines = cells(compared, "accuracy", tested)
    table = Table(title=title, caption=caption, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(
            Text(heading), justify="right" if i else "left", no_wrap=heading in {"image", "p"}
        )
    for line in lines:
        table.add_row(*map(Text, line))
    console.print(table)
    console.print(f"Report: {path.resolve()}", soft_wrap=True)
    return path


def main(arguments: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    console = Console()
    try:
        for argument in arguments:
            if not argument.startswith("runs="):
                raise BcadvError(f"Unknown argument {argument!r}; only runs=DIR is understood.")
        named = [Path(argument.removeprefix("runs=")) for argument in arguments]
        for root in named or [OUTPUTS]:
            if not root.is_dir():
                raise BcadvError(f"There is no folder {root}; name a folder of jobs: runs=DIR.")
        report(named or [OUTPUTS], OUTPUTS / "report", console, newest=not named)
    except BcadvError as error:
        Console(stderr=True).print(Text(str(error), "bold red"), soft_wrap=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
