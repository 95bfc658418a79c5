"""What a report can be asked for; apart from what makes it, which takes seconds to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bcadv.arguments import EXISTING, FOLDER, Command, Option, number

OUTPUTS = Path("outputs")
PREVALENCE = 0.1
"""Share of patients with the disease that consequences are stated at, unless another is named."""

COMMAND = Command(
    "bcadv report",
    "Writes one page on some jobs, with its tables and figures as files, from their result files "
    "alone. Without runs=: the newest sweep below outputs, or the newest finished job of each "
    "experiment.",
    (
        Option("runs", EXISTING, "Every finished job in and below this folder.", (), several=True),
        Option("out", FOLDER, "Where the page is written.", OUTPUTS / "report"),
        Option(
            "prevalence",
            number(0, 1),
            "Share of patients with the disease where the classifier is to be used; missed cases "
            "are counted at it.",
            PREVALENCE,
        ),
    ),
    (
        ("bcadv report", "the newest sweep or jobs"),
        ("bcadv report runs=outputs/baseline runs=outputs/defense", "the jobs of two folders"),
    ),
)


def run(options: Mapping[str, Any], others: Sequence[str]) -> int:
    """Makes the report.

    Raises:
        BcadvError: there is no finished job, or the page cannot be written.
    """
    from rich.console import Console

    from bcadv.report.__main__ import arguments_of, report

    report(arguments_of(options), Console())
    return 0
