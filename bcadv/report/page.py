"""Finished jobs -> a folder with one self-contained page, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import jinja2

from bcadv.errors import BcadvError
from bcadv.report.document import FIGURES, Album, Document
from bcadv.report.environment import environment_table
from bcadv.study.jobs import Job
from bcadv.report.markdown import markdown
from bcadv.report.sections import sections
from bcadv.study.study import Study, build_study
from bcadv.report.tables import Table, tables, write_tables
from bcadv.report.words import words
from bcadv.text import shown

PREVALENCE = 0.1
"""Share of patients with cancer that consequences are stated at, unless another is named."""

PAGE = "report.html"
MARKDOWN = "report.md"
TABLES = "tables"

_LONGEST_NUMBER = 36
"""A column with a longer cell holds words, not numbers with intervals and counts."""


class Written(NamedTuple):
    """A report on disk.

    Attributes:
        page: its path.
        failures: a sentence for each figure that could not be drawn; the page has them too.
    """

    page: Path
    failures: tuple[str, ...]


def write_report(
    jobs: Sequence[Job],
    left_out: Sequence[str],
    folder: Path,
    *,
    prevalence: float,
    command: str,
    files: bool = True,
) -> Written:
    """Writes ``report.html`` and, beside it, ``report.md``, ``tables/`` and ``figures/``.

    Args:
        jobs: one or more.
        left_out: a sentence for each result file that could not be used.
        folder: made if need be.
        prevalence: share of patients with cancer that consequences are stated at, in (0, 1).
        command: what to type to make this report again.
        files: also write what stands beside the page, which takes longer than the page itself.

    Returns:
        Where the page is, and which figures it lacks.

    Raises:
        BcadvError: if there are no jobs or the folder cannot be written.
    """
    if not jobs:
        raise BcadvError("There is no finished job to report on; run one first.")
    study = build_study(jobs, left_out)
    return write_study(study, folder, prevalence=prevalence, command=command, files=files)


def write_study(
    study: Study, folder: Path, *, prevalence: float, command: str, files: bool = True
) -> Written:
    """As `write_report`, for a study that is already built."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        album = Album(folder / FIGURES if files else None)
        made = [*tables(study, prevalence), environment_table(study.jobs)]
        document = Document(
            "Can this medical image classifier be fooled?",
            study.warning,
            sections(study, words(study, prevalence), made, album, command),
        )
        if files:
            write_tables(made, folder / TABLES)
            (folder / MARKDOWN).write_text(markdown(document), encoding="utf-8")
        (folder / PAGE).write_text(html(document), encoding="utf-8")
    except OSError as error:
        raise BcadvError(
            f"The report cannot be written to {folder} ({error.strerror or error}); "
            "name another folder: out=DIR."
        ) from error
    return Written(folder / PAGE, tuple(album.failures))


def html(document: Document) -> str:
    """The report as one page that needs no other file; everything from files is escaped."""
    template = files("bcadv.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, finalize=_shown
    )
    return environment.from_string(template).render(
        document=document,
        kind_of=lambda block: type(block).__name__,
        wordy_columns=_wordy_columns,
    )


def _shown(value: object) -> object:
    """Texts without control characters; what is markup already (figures) as it is."""
    return shown(value, keep="\n\t") if type(value) is str else value


def _wordy_columns(table: Table) -> set[int]:
    """Numbers of the columns that hold words and may be broken into lines."""
    return {
        number
        for number, name in enumerate(table.shown.columns)
        if number and table.shown[name].astype(str).str.len().max() > _LONGEST_NUMBER
    }
