"""Result files -> the metrics of a run. Pure; knows MLflow's units and not MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Result, Row
from bcadv.tracking.names import (
    MAIN,
    clean_name,
    curve_group,
    epoch_name,
    main_name,
    point_name,
)

SORTABLE = ("accuracy", "robust_accuracy", "sensitivity", "specificity", "auroc")
"""Metrics that also become a scalar per strength, which the runs table can sort by."""

STEPS_PER_UNIT = 1000
"""Steps of a curve per grey level, or per unit of the pixels: fine enough for what people try."""


LARGEST_STEP = 2**53
"""Databases hold a little more; JSON, by which the UI learns of it, does not."""


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
                yield Point(epoch_name(name), float(value), int(row["epoch"]))


def result_points(result: Result) -> Iterator[Point]:
    """What a reader looks for first, then clean metrics, robustness curves, and their points.

    For the names see `bcadv.tracking.names`. The step of a curve is the strength in thousandths of
    its unit (finer where that would lay two points on each other, see `steps`), because a step must
    be a whole number and epsilon need not be. Every curve begins at step 0: where strength 0 was
    not evaluated, the clean value stands there, since a perturbation of strength 0 changes nothing
    (a metric that clean images lack begins later). Undefined values are left out.

    Args:
        result: the content of ``results.json``.
    """
    # MLflow's page of a run lists metrics in the order in which they came.
    for name, value in main_points(result).items():
        yield Point(name, value, 0)
    clean: dict[str, dict[str, float]] = {}
    curves: dict[tuple[str, str], list[tuple[Condition, Row]]] = {}
    for row in result.rows:
        condition = result.condition_of(row)
        if condition == CLEAN:
            clean[row.batchnorm] = values = _defined(row)
            for name, value in values.items():
                yield Point(clean_name(row.batchnorm, name), value, 0)
        elif not condition.clean:
            curves.setdefault((row.batchnorm, condition.series), []).append((condition, row))
    for (batchnorm, _), rows in curves.items():
        conditions = [condition for condition, _ in rows]
        step = steps(conditions)
        group = f"{batchnorm}/{curve_group(conditions[0], _scale(_strengths(conditions)))}"
        if all(condition.strength > 0 for condition in conditions):
            for name, value in clean.get(batchnorm, {}).items():
                yield Point(f"{group}/{name}", value, 0)
        for condition, row in rows:
            for name, value in _defined(row).items():
                yield Point(f"{group}/{name}", value, step[condition.strength])
                if name in SORTABLE:
                    yield Point(point_name(batchnorm, condition, name), value, 0)


def main_points(result: Result) -> dict[str, float]:
    """The few metrics without a prefix, by name.

    They are of the first choice of BatchNorm statistics, with which the logged model answers. At
    each strength stands the lowest accuracy that any of the job's attacks left: a model is no
    better than under the attack that does worst.
    """
    lowest: dict[str, float] = {}
    for row in result.rows:
        condition = result.condition_of(row)
        value = _defined(row).get(MAIN)
        if row.batchnorm != result.model.batchnorm[0] or value is None:
            continue
        if condition == CLEAN:
            lowest[main_name("inf", 0)] = value
        elif condition.kind == "attack" and condition.norm and condition.strength > 0:
            name = main_name(condition.norm, condition.strength)
            lowest[name] = min(value, lowest.get(name, value))
    return dict(sorted(lowest.items()))


def steps(conditions: Sequence[Condition]) -> dict[float, int]:
    """The step of each strength of a series, and of 0.

    1000 steps per unit, or so many times ten more that no two points meet. Where a store could not
    hold such a number, the strengths are numbered.
    """
    strengths = _strengths(conditions)
    scale = _scale(strengths)
    if scale is None:
        return {strength: number for number, strength in enumerate(strengths)}
    return {strength: round(scale * strength) for strength in strengths}


def _strengths(conditions: Sequence[Condition]) -> list[float]:
    return sorted({condition.strength for condition in conditions} | {0.0})


def _scale(strengths: Sequence[float]) -> int | None:
    """Steps per unit; none where no number that a store can hold keeps the points apart."""
    scale = STEPS_PER_UNIT
    while scale * max(1, *strengths) <= LARGEST_STEP:
        if len({round(scale * strength) for strength in strengths}) == len(strengths):
            return scale
        scale *= 10
    return None


def curve_tags(result: Result) -> dict[str, str]:
    """What each curve is of, and what its step means, as tags of the run."""
    series: dict[str, list[Condition]] = {}
    for condition in result.conditions:
        if not condition.clean:
            series.setdefault(condition.series, []).append(condition)
    said = {}
    for conditions in series.values():
        scale, label = _scale(_strengths(conditions)), conditions[0].label
        what = "place in the order of" if scale is None else f"{scale} x"
        said[f"step.{curve_group(conditions[0], scale)}"] = (
            f"{label}; step: {what} {conditions[0].axis}"
        )
    return said


def used_params(params: Mapping[str, object]) -> dict[str, object]:
    """The settings that a job has a use for, by dotted name.

    A setting that nothing reads would be taken for what was done: an undefended model's sigma, the
    steps of an attack that was not run.

    Args:
        params: all settings.
    """
    injected = params.get("injection.perturbation") is not None
    noise = injected and params.get("injection.probability") != 0
    attacks, norms = params.get("attacks") or (), params.get("evaluation.norm") or ()
    unused = {
        "sigma": not noise and not params.get("evaluation.noise"),
        "injection.probability": not injected,
    }
    if "evaluation.norm" in params:
        grids = {"eps_px": "inf", "eps_l2": "2", "eps_l1": "1", "eps_l0": "0"}
        unused |= {grid: norm not in norms for grid, norm in grids.items()}  # type: ignore[operator]

    def is_used(name: str) -> bool:
        if name.startswith("attack."):
            return name.split(".")[1] in attacks  # type: ignore[operator]
        if name == "objective_options" or name.startswith("objective_options."):
            return name.split(".")[1:2] == [params.get("objective")]
        return not unused.get(name, False)

    return {name: value for name, value in params.items() if is_used(name)}


def _defined(row: Row) -> dict[str, float]:
    return {
        name: float(entry.value) for name, entry in row.metrics.items() if entry.value is not None
    }
