"""A study -> its tables, and tables -> CSV and Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bcadv.report.markdown import table_lines
from bcadv.report.paper_tables import calibration, clean, counts, malignant
from bcadv.study.study import Study
from bcadv.report.study_tables import comparisons, consequences, robustness
from bcadv.report.tabular import Table

__all__ = ["Table", "markdown_of", "tables", "write_tables"]


def tables(study: Study, prevalence: float) -> list[Table]:
    """All tables of a study, in the order of the report; empty ones are left out.

    Args:
        study: what to tabulate.
        prevalence: share of patients with cancer that consequences are stated at, in (0, 1).
    """
    made = [
        counts(study),
        clean(study),
        malignant(study),
        calibration(study),
        robustness(study),
        comparisons(study),
        consequences(study, prevalence),
    ]
    return [table for table in made if table is not None and len(table.shown)]


def write_tables(tables: Iterable[Table], folder: Path) -> None:
    """Writes ``<name>.csv`` (raw numbers) and ``<name>.md`` (as printed) of each table."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        path = folder / f"{table.name}.csv"
        # A file name may hold bytes that are not UTF-8, which nothing can encode.
        table.frame.to_csv(path, index=False, encoding="utf-8", errors="backslashreplace")
        (folder / f"{table.name}.md").write_text(markdown_of(table), encoding="utf-8")


def markdown_of(table: Table) -> str:
    """A table in Markdown, with its title above and its notes below."""
    return "\n".join(table_lines(table)) + "\n"
