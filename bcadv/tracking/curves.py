"""Result files -> the metrics of a run. Pure; knows MLflow's units and not MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bcadv.results.schema import CLEAN, Condition, Result, Row

SORTABLE = ("accuracy", "robust_accuracy", "sensitivity", "specificity", "auroc")
"""Metrics that also become a scalar per strength, which the runs table can sort by."""

STEPS_PER_UNIT = 1000
"""Steps of a curve per grey level, or per unit of the pixels: fine enough for what people try."""


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


def result_points(result: Result) -> Iterator[Point]:
    """Robustness curves and their points as scalars.

    A curve is named ``batchnorm/series/metric``, where the series says attack, norm and settings
    (see `Condition.series`). Its step is the strength in thousandths of its unit (finer where that
    would lay two points on each other, see `steps`), because a step must be a whole number and
    epsilon need not be. Every curve begins at step 0: where strength 0 was not evaluated, the clean
    value stands there, since a perturbation of strength 0 changes nothing (a metric that clean
    images lack begins later). A scalar is named ``batchnorm/series/metric_at_strength``. Undefined
    values are left out.

    Args:
        result: the content of ``results.json``.
    """
    clean: dict[str, dict[str, float]] = {}
    curves: dict[tuple[str, str], list[tuple[Condition, Row]]] = {}
    for row in result.rows:
        condition = result.condition_of(row)
        if condition == CLEAN:
            clean[row.batchnorm] = values = _defined(row)
            for name, value in values.items():
                yield Point(f"{row.batchnorm}/clean/{name}", value, 0)
        elif not condition.clean:
            curves.setdefault((row.batchnorm, condition.series), []).append((condition, row))
    for (batchnorm, series), rows in curves.items():
        prefix = f"{batchnorm}/{series}"
        scale = steps([condition for condition, _ in rows])
        if all(condition.strength > 0 for condition, _ in rows):
            for name, value in clean.get(batchnorm, {}).items():
                yield Point(f"{prefix}/{name}", value, 0)
        for condition, row in rows:
            for name, value in _defined(row).items():
                yield Point(f"{prefix}/{name}", value, round(scale * condition.strength))
                if name in SORTABLE:
                    yield Point(f"{prefix}/{name}_at_{condition.strength:.9g}", value, 0)


def steps(conditions: Sequence[Condition]) -> int:
    """Steps per unit of a series: 1000, or so many times ten more that no two points meet."""
    strengths = {condition.strength for condition in conditions} | {0.0}
    scale = STEPS_PER_UNIT
    while len({round(scale * strength) for strength in strengths}) < len(strengths):
        scale *= 10
    return scale


def curve_tags(result: Result) -> dict[str, str]:
    """What the step of each curve means, as tags of the run."""
    series: dict[str, list[Condition]] = {}
    for condition in result.conditions:
        if not condition.clean:
            series.setdefault(condition.series, []).append(condition)
    return {
        f"step.{name}": f"{steps(conditions)} x {conditions[0].axis}"
        for name, conditions in series.items()
    }


def used_params(params: Mapping[str, object]) -> dict[str, object]:
    """The settings that a job has a use for, by dotted name.

    A setting that nothing reads would be taken for what was done: an undefended model's sigma, the
    steps of an attack that was not run.

    Args:
        params: all settings.
    """
    noise = params.get("injection.perturbation") is not None
    attacks, norms = params.get("attacks") or (), params.get("evaluation.norm") or ()
    source = params.get("data.source")
    unused = {
        "sigma": not noise and not params.get("evaluation.noise"),
        "injection.probability": not noise,
        "eps_px": "evaluation.norm" in params and "inf" not in norms,  # type: ignore[operator]
        "eps_l2": "evaluation.norm" in params and "2" not in norms,  # type: ignore[operator]
    }
    unused |= {
        f"data.{name}": source is not None and source != "synthetic"
        for name in ("patients", "images_per_patient", "height", "width")
    }
    unused |= {
        f"data.{name}": source == "folder" for name in ("magnification", "subtypes", "target")
    }

    def is_used(name: str) -> bool:
        if name.startswith("attack."):
            return name.split(".")[1] in attacks  # type: ignore[operator]
        return not unused.get(name, False)

    return {name: value for name, value in params.items() if is_used(name)}


def _defined(row: Row) -> dict[str, float]:
    return {
        name: float(entry.value) for name, entry in row.metrics.items() if entry.value is not None
    }
