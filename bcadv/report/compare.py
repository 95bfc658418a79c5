"""Jobs side by side: clean and every epsilon, with a paired test where the images are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from bcadv.errors import BcadvError
from bcadv.metrics.intervals import mcnemar
from bcadv.report.jobs import Job
from bcadv.report.table import (
    SYNTHETIC_WARNING,
    UNDEFINED,
    by_variant,
    decimal,
    is_synthetic,
    markdown_head,
    markdown_line,
    markdown_table,
    percent_with_interval,
    perturbation_name,
    variant_name,
)

Condition: TypeAlias = tuple[str, float]
"""Name of the perturbation with its norm, and epsilon in grey levels of 255."""

METRICS = {
    "accuracy": "Accuracy",
    "robust_accuracy": "Robust accuracy (right when clean and under the perturbation)",
    "accuracy_positive": "Accuracy on the positive images alone",
    "specificity": "Specificity",
    "auroc": "AUROC",
}
REFERENCE = "baseline"


@dataclass(frozen=True)
class Column:
    """One BatchNorm variant of one job."""

    name: str
    job: Job
    variant: str
    rows: dict[Condition, Mapping[str, Any]]


def columns(jobs: Sequence[Job]) -> list[Column]:
    """The columns of the comparison; the first is the one that the others are tested against.

    That is the first variant of the job called ``baseline``, or else of the first job.
    """
    ordered = sorted(jobs, key=lambda job: job.experiment != REFERENCE)
    namesakes = Counter(job.experiment for job in jobs)
    result = []
    for job in ordered:
        name = job.experiment
        if namesakes[name] > 1:
            name = f"{name} ({job.folder.name})"
        groups = by_variant(job.results)
        for variant, rows in groups.items():
            result.append(
                Column(
                    name if len(groups) == 1 else f"{name}, {variant_name(variant)}",
                    job,
                    variant,
                    {condition(row): row for row in rows},
                )
            )
    return result


def condition(row: Mapping[str, Any]) -> Condition:
    """What the row measures; the join key between jobs."""
    name = perturbation_name(row)
    return name, 0.0 if name == "clean" else float(row["eps_px"])


def conditions(compared: Sequence[Column]) -> list[Condition]:
    """Every condition of any column: clean, then by perturbation and epsilon."""
    found = {key for column in compared for key in column.rows}
    return sorted(found, key=lambda key: (key[0] != "clean", *key))


def p_values(compared: Sequence[Column]) -> tuple[dict[tuple[str, Condition], float], list[str]]:
    """Exact McNemar tests of each column against the first.

    Returns:
        (column name, condition) -> p, where both columns predicted the same images of the same
        classes; and a sentence for each column that could not be tested.
    """
    tested: dict[tuple[str, Condition], float] = {}
    untested: list[str] = []
    if len(compared) < 2:
        return tested, untested
    reference, *others = compared
    try:
        expected = _right(reference)
    except BcadvError as error:
        return tested, [f"No paired test: {error}"]
    for column in others:
        try:
            right = _right(column)
        except BcadvError as error:
            untested.append(f"{column.name} is not tested against {reference.name}: {error}")
            continue
        pairs = {
            key: (expected[key], right[key])
            for key in expected
            if key in right and expected[key].index.equals(right[key].index)
        }
        for key, (a, b) in pairs.items():
            tested[column.name, key] = mcnemar(a.to_numpy(dtype=bool), b.to_numpy(dtype=bool))
        if not pairs:
            untested.append(
                f"{column.name} is not tested against {reference.name}: the test images differ."
            )
    return tested, untested


def _right(column: Column) -> dict[Condition, pd.Series]:
    """Whether each image is right, indexed by image and class, by condition."""
    wanted = ["image_id", "target", "batchnorm", "perturbation", "norm", "eps_px", "prediction"]
    table = column.job.predictions(wanted)
    table = table[table["batchnorm"] == column.variant].sort_values(["image_id", "target"])
    result = {}
    for (perturbation, norm, eps_px), part in table.groupby(["perturbation", "norm", "eps_px"]):
        row = {"perturbation": perturbation, "norm": norm, "eps_px": eps_px}
        indexed = part.set_index(["image_id", "target"])
        result[condition(row)] = indexed["prediction"] == part["target"].to_numpy()
    return result


def p_text(p: float | None) -> str:
    """A p-value for a table."""
    if p is None:
        return UNDEFINED
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def cells(
    compared: Sequence[Column],
    metric: str,
    tested: Mapping[tuple[str, Condition], float],
) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of the comparison of one metric; p-values stand beside accuracy."""
    with_p = metric == "accuracy"
    headings = ["image"]
    for i, column in enumerate(compared):
        headings += [column.name, *(["p"] if with_p and i else [])]
    lines = []
    for key in conditions(compared):
        line = ["clean" if key[0] == "clean" else f"{key[0]} {key[1]:g}/255"]
        for i, column in enumerate(compared):
            row = column.rows.get(key)
            line.append(UNDEFINED if row is None else _value(metric, row["metrics"][metric]))
            if with_p and i:
                line.append(p_text(tested.get((column.name, key))))
        lines.append(line)
    return headings, lines


def _value(metric: str, entry: Mapping[str, Any]) -> str:
    if metric != "auroc" or entry["value"] is None:
        return percent_with_interval(entry)
    return f"{decimal(entry)} [{entry['ci_low']:.3f}, {entry['ci_high']:.3f}]"


def remarks(compared: Sequence[Column], untested: Sequence[str]) -> list[str]:
    """What must be known to read the comparison, a sentence each."""
    sentences = ["In per cent except AUROC, with 95 % intervals."]
    if len(compared) > 1:
        sentences.append(
            f"p: exact McNemar test against {compared[0].name} on the same images, two-sided, "
            "not adjusted for the number of tests."
        )
    if any(column.job.results["clean"][0]["n_patients"] is not None for column in compared):
        sentences.append(
            "The test counts images as independent; images of one patient resemble each other, so "
            "p may be too small."
        )
    return [*sentences, *untested]


def markdown_report(
    compared: Sequence[Column],
    tested: Mapping[tuple[str, Condition], float],
    untested: Sequence[str],
    left_out: Sequence[str],
    figure: str,
) -> str:
    """The whole comparison in Markdown.

    Args:
        compared: the columns, the reference first.
        tested: from `p_values`.
        untested: from `p_values`.
        left_out: sentences on result files that could not be used.
        figure: path of the comparison figure, relative to the report.
    """
    jobs = list({column.job.folder: column.job for column in compared}.values())
    lines = ["# Jobs compared", ""]
    if any(is_synthetic(job.results) for job in jobs):
        lines += [f"**{SYNTHETIC_WARNING}**", ""]
    for metric, title in METRICS.items():
        headings, body = cells(compared, metric, tested)
        lines += [f"## {title}", "", *markdown_head(headings), *map(markdown_line, body), ""]
    lines += [*(f"- {sentence}" for sentence in remarks(compared, untested)), ""]
    lines += [f"![Accuracy against epsilon]({figure})", "", "# Each job", ""]
    for job in jobs:
        run = job.results["run"]
        lines += [f"## {job.experiment}", "", f"Folder `{job.folder.name}`, "]
        lines[-1] += f"seed {run.get('seed')}, ended {job.finished}, code {run.get('git_commit')}."
        lines += ["", markdown_table(job.results)]
    if left_out:
        lines += ["# Left out", "", *(f"- {sentence}" for sentence in left_out), ""]
    return "\n".join(lines)
