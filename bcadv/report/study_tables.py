"""Tables of the study itself: every metric, paired comparison, what it means for patients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from bcadv.study.differences import points
from bcadv.study.measures import DESCRIBED, described
from bcadv.study.numbers import IN_PER_CENT, Number, cases, several_seeds
from bcadv.study.study import Study
from bcadv.report.table import UNDEFINED
from bcadv.report.tabular import Table, table_of
from bcadv.results.schema import Condition

_METRICS = {
    "accuracy": "accuracy",
    "robust_accuracy": "robust accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "auroc": "AUROC",
    "ece": "ECE",
}
PER = 1000


def robustness(study: Study) -> Table:
    """Every metric of every arm, clean and under everything tried."""
    numbers = study.numbers
    shown = []
    for name, key in _arms_and_conditions(study):
        line = {"model and image": f"{name}: {key.text}"}
        for metric, heading in _METRICS.items():
            number = numbers.get((name, key, metric))
            line[heading] = UNDEFINED if number is None else _text(metric, number)
        shown.append(line)
    notes = [
        "In per cent, AUROC and ECE as they are; [95 % interval]. Robust accuracy: right when "
        "clean and under the attack. ECE: expected calibration error, 0 is best.",
        *(
            ["Of several seeds: the mean; each seed by itself stands in the CSV file."]
            if several_seeds(study.arms)
            else []
        ),
    ]
    title = "All metrics, clean and attacked"
    return table_of("robustness", title, study.measures, shown, notes)


def _text(metric: str, number: Number) -> str:
    return number.rate if metric in IN_PER_CENT else number.decimals


def _arms_and_conditions(study: Study) -> Iterator[tuple[str, Condition]]:
    measured = {key[:2] for key in study.numbers}
    for arm in study.arms:
        for key in study.conditions:
            if (arm.name, key) in measured:
                yield arm.name, key


def comparisons(study: Study) -> Table | None:
    """Each arm against the undefended one on the same images."""
    if study.comparisons.empty:
        return None
    rows = study.comparisons
    several = several_seeds(study.arms)
    by_id = {condition.id: condition for condition in study.conditions}
    of_seeds: dict[tuple[str, str], list[float]] = {}
    for row in _lines(rows[rows["seed"].notna()].sort_values("seed")):
        of_seeds.setdefault((row["arm"], row["condition"]), []).append(row["p"])
    shown = []
    for row in _lines(rows[rows["seed"].isna()]):
        line = {"model and image": f"{row['arm']}: {by_id[row['condition']].text}"}
        if rows["reference"].nunique() > 1:
            line["against"] = str(row["reference"])
        line |= {
            "difference (points)": points(row["difference"], row["low"], row["high"]),
            "images": str(row["n"]),
            "only undefended right": str(row["only_reference"]),
            "only this right": str(row["only_arm"]),
            "p, seed by seed" if several else "p": " / ".join(
                map(p_text, of_seeds[row["arm"], row["condition"]])
            ),
        }
        shown.append(line)
    notes = [
        "Difference: accuracy of this model minus that of the undefended one on the same images "
        "under the same attack, in percentage points with a 95 % interval: the outer ends of a "
        "bootstrap over patients and of Newcombe's interval for paired images.",
        "p: exact two-sided McNemar test. It counts images as independent; images of one patient "
        f"resemble each other, so p may be too small. {_tests(study)}",
    ]
    if several:
        notes.append(
            "Of several seeds: the mean difference; images and those right in one model only are "
            "sums over the seeds. There is one p per seed and none for all together, because the "
            "same images under several seeds are not independent."
        )
    return table_of(
        "comparisons", "Paired comparison with the undefended model", rows, shown, notes
    )


def _lines(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _tests(study: Study) -> str:
    tests = int(study.comparisons["p"].notna().sum() - _repeated(study))
    plural = "one test was" if tests == 1 else f"{tests} tests were"
    return f"In all {plural} made, and p is not adjusted for their number."


def _repeated(study: Study) -> int:
    """Rows of all seeds together that repeat the only seed's."""
    rows = study.comparisons
    return int((rows["seed"].isna() & rows["p"].notna()).sum())


def p_text(p: float) -> str:
    """A p-value for a table."""
    if math.isnan(p):
        return UNDEFINED
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def consequences(study: Study, prevalence: float) -> Table | None:
    """Missed cases and false alarms per 1,000 patients at a prevalence, attack by attack."""
    numbers = study.numbers
    what = cases(study.jobs)
    records: list[dict[str, Any]] = []
    shown = []
    for name, key in _arms_and_conditions(study):
        if key.kind == "noise":
            continue
        sensitivity = numbers.get((name, key, "sensitivity"))
        specificity = numbers.get((name, key, "specificity"))
        if sensitivity is None or specificity is None:
            continue
        missed = failures(sensitivity, PER * prevalence)
        alarms = failures(specificity, PER * (1 - prevalence))
        records.append(
            {
                "arm": name,
                **dict(zip(DESCRIBED, described(key), strict=True)),
                "prevalence": prevalence,
                **dict(zip(("missed", "missed_low", "missed_high"), missed, strict=True)),
                **dict(zip(("alarms", "alarms_low", "alarms_high"), alarms, strict=True)),
            }
        )
        shown.append(
            {
                "model and image": f"{name}: {key.text}",
                f"missed {what}": _counted(missed, PER * prevalence),
                "false alarms": _counted(alarms, PER * (1 - prevalence)),
            }
        )
    if all(math.isnan(record["missed"]) and math.isnan(record["alarms"]) for record in records):
        return None
    ill = PER * prevalence
    notes = [
        f"Of {PER:,} patients at a prevalence of {100 * prevalence:g} %: {ill:g} have the disease, "
        f"{PER - ill:g} do not. [95 % interval], carried over from sensitivity and specificity.",
        "The rates are of images and stand in for patients: one image decides for its patient "
        "here, which is not how anybody is diagnosed.",
        "Attacked: every image of every patient is attacked at this strength, which is not what "
        "is to be expected. Nor is it the most that an attacker could do: the attack turns some "
        "wrong answers into right ones, and those images could be left alone.",
    ]
    if study.synthetic:
        which = "Some" if study.partly_real else "The"
        notes.insert(0, f"{which} images are synthetic: numbers of them are of no patients at all.")
    title = f"Per {PER:,} patients at a prevalence of {100 * prevalence:g} %"
    return table_of("consequences", title, pd.DataFrame(records), shown, notes)


def failures(rate: Number, patients: float) -> tuple[float, float, float]:
    """How many of some patients a rate fails, with the interval of the rate carried over.

    Args:
        rate: sensitivity or specificity.
        patients: those it is about.

    Returns:
        The number and the ends of its interval, low before high.
    """
    return patients * (1 - rate.value), patients * (1 - rate.high), patients * (1 - rate.low)


def _counted(numbers: tuple[float, float, float], patients: float) -> str:
    """A number of so many patients with its interval; finer the fewer they are."""
    value, low, high = numbers
    if math.isnan(value):
        return UNDEFINED
    # Five ill of a thousand, rounded to whole patients, would read as certainly none missed.
    places = 0 if patients >= 100 else 1 if patients >= 10 else 2
    return f"{value:.{places}f} [{low:.{places}f}, {high:.{places}f}]"
