"""Result files -> the metrics of a run. Pure; knows MLflow's units and not MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

SORTABLE = ("accuracy", "robust_accuracy", "sensitivity", "specificity", "auroc")
"""Metrics that also become a scalar per strength, which the runs table can sort by."""


class Point(NamedTuple):
    """One value of a metric at a step."""

    name: str
    value: float
    step: int


def history_points(rows: Iterable[Mapping[str, float]]) -> Iterator[Point]:
    """Losses and accuracies; the step is the epoch."""
    for row in rows:
        for name, value in row.items():
            if name != "epoch":
                yield Point(name, float(value), int(row["epoch"]))


def result_points(results: Mapping[str, Any]) -> Iterator[Point]:
    """Robustness curves and their points as scalars.

    A curve is named ``batchnorm/perturbation/metric``; its step is the strength in hundredths of a
    grey level, because a step must be a whole number and epsilon need not be. Every curve begins
    at step 0: where strength 0 was not evaluated, the clean value stands there, since a
    perturbation of strength 0 changes nothing (a metric that clean images lack begins later). A
    scalar is named ``batchnorm/perturbation/metric_at_strength``, in grey levels. Undefined values
    are left out.

    Args:
        results: the content of ``results.json``.
    """
    clean: dict[str, dict[str, float]] = {}
    for row in results["clean"]:
        clean[row["batchnorm"]] = values = _defined(row)
        for name, value in values.items():
            yield Point(f"{row['batchnorm']}/{row['perturbation']}/{name}", value, 0)
    curves: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in results["perturbed"]:
        curves.setdefault((row["batchnorm"], row["perturbation"]), []).append(row)
    for (batchnorm, perturbation), rows in curves.items():
        prefix = f"{batchnorm}/{perturbation}"
        if all(row["eps_px"] > 0 for row in rows):
            for name, value in clean.get(batchnorm, {}).items():
                yield Point(f"{prefix}/{name}", value, 0)
        for row in rows:
            for name, value in _defined(row).items():
                yield Point(f"{prefix}/{name}", value, round(100 * row["eps_px"]))
                if name in SORTABLE:
                    yield Point(f"{prefix}/{name}_at_{row['eps_px']:g}", value, 0)


def _defined(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(entry["value"])
        for name, entry in row["metrics"].items()
        if entry["value"] is not None
    }
