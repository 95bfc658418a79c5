"""The catalog of verbs: a row each. Imports nothing, so that ``bcadv --help`` takes a moment.

A new verb is a module with two names and a row here:

* ``COMMAND``, a `bcadv.arguments.Command`: its options, from which parsing, help and the answers to
  mistakes come;
* ``run(options, others)``, which takes every option by name, and the arguments to be handed on, and
  returns the exit status.

The module imports what is heavy inside of ``run``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verb:
    """A row of the catalog.

    Attributes:
        name: on the command line.
        words: what it does, in one line.
        place: of its module.
        hands_on: whether all that follows it is for somebody else, ``--help`` too.
        second: second words that have a module of their own -> its place.
    """

    name: str
    words: str
    place: str
    hands_on: bool = False
    second: Mapping[str, str] = field(default_factory=dict)


_ROWS = (
    Verb(
        "run",
        "Train a classifier, attack it, write down what happened; a job, or a sweep of them.",
        "bcadv.cli.run",
        hands_on=True,
    ),
    Verb("report", "One page that says whether the defence helps.", "bcadv.report.options"),
    Verb(
        "models",
        "List the trained models that are kept, or remove unused ones.",
        "bcadv.store.listing",
    ),
    Verb("sync", "Upload to MLflow the finished jobs that it lacks.", "bcadv.tracking.sync"),
    Verb(
        "data",
        "Show how images are understood before a job is run; compare two sets; fetch BreakHis.",
        "bcadv.cli.data",
        second={"check": "bcadv.cli.data", "overlap": "bcadv.cli.overlap"},
    ),
    Verb("ui", "Show the jobs in MLflow's pages, on this machine.", "bcadv.tracking.ui"),
)

VERBS: dict[str, Verb] = {row.name: row for row in _ROWS}
"""Every verb by its name."""
