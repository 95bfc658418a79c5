"""How many images a black box fools for how many queries, worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcadv.metrics.clustered import rate_interval
from bcadv.metrics.intervals import wilson
from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Finding
from bcadv.study.jobs import find_jobs
from bcadv.study.queries import budgets
from bcadv.study.study import Study, build_study
from tests.metrics.tables import fgsm
from tests.report.jobs_on_disk import answers, write_job


def square(eps_px: float, **more: object) -> Condition:
    return Condition.model_validate(
        {
            "kind": "attack",
            "name": "square",
            "norm": "inf",
            "strength": eps_px,
            "unit": "grey level",
            "goal": "untargeted",
            "settings": {"queries": 100},
            "label": "Square-100",
            "access": "black box, scores",
            "how": "black box, scores, random search over squares, 100 queries at most",
            **more,
        }
    )


RIGHT = [True] * 8 + [False] * 2
"""Of ten images two are wrong when clean, which the first query shows."""
AFTER: Mapping[Condition, Sequence[int | None]] = {
    square(4): [5, 10, 11, 60, None, None, None, None, 1, 1],
    square(8): [2, 3, 4, 5, 40, 50, None, None, 1, 1],
}
PATIENTS = ["A", "A", "B", "B", "C", "C", "D", "D", "E", "E"]


def frame(
    after: Mapping[Condition, Sequence[int | None]],
    *,
    patient: Sequence[str | None] = PATIENTS,
    right: Sequence[bool] = RIGHT,
) -> pd.DataFrame:
    target = [i % 2 for i in range(len(right))]
    tables = [answers({("as_trained", 0.0): right}, target, patient)]
    for condition, of in after.items():
        hits = [number is None for number in of]
        table = answers({("as_trained", 0.0): hits}, target, patient)
        tables.append(
            table.assign(
                condition=condition.id,
                size=condition.size,
                queries=[101 if number is None else number for number in of],
                broken_after=pd.array([*of], dtype="Int64"),
            )
        )
    return pd.concat(tables, ignore_index=True)


def study(
    folder: Path,
    *tables: pd.DataFrame,
    conditions: Sequence[Condition] = (),
    findings: Sequence[Finding] = (),
) -> Study:
    for seed, table in enumerate(tables):
        write_job(
            folder / f"{seed}",
            run_seed=seed,
            frame=table,
            conditions=[*(conditions or AFTER)],
            synthetic=False,
            findings=findings,
        )
    return build_study(*find_jobs([folder]))


def at(made: Study, condition: Condition, queries: int) -> pd.Series[float]:
    rows = made.queries
    [row] = rows[(rows["condition"] == condition.id) & (rows["queries"] == queries)].index
    found: pd.Series[float] = rows.loc[row]
    return found


@pytest.mark.parametrize(
    ("most", "told"),
    [
        (101, [10, 101]),
        (1001, [10, 100, 1001]),
        (2002, [10, 100, 1000, 2002]),
        (7, [7]),
        (1, [1]),
    ],
)
def test_powers_of_ten_are_told_and_the_whole_budget(most: int, told: list[int]) -> None:
    assert budgets(most) == told


def test_the_share_fooled_is_that_of_images_right_when_clean(tmp_path: Path) -> None:
    made = study(tmp_path, frame(AFTER))
    told = made.queries[made.queries["told"]]
    assert told["queries"].tolist() == [10, 101] * 2
    assert told["value"].tolist() == [2 / 8, 4 / 8, 4 / 8, 6 / 8]
    assert (set(told["n"]), told["k"].tolist()) == ({8}, [2, 4, 4, 6])
    # Patient E has no image that is right when clean.
    assert set(told["n_patients"]) == {4}
    of = made.queries[made.queries["condition"] == square(4).id]
    assert of["value"].is_monotonic_increasing
    # Nothing that is wrong as it is counts as fooled by the first query.
    assert at(made, square(4), 1)["value"] == 0


def test_the_end_of_the_curve_is_the_success_of_the_attack(tmp_path: Path) -> None:
    made = study(tmp_path, frame(AFTER))
    [job] = made.jobs
    for condition in AFTER:
        [row] = [row for row in job.result.rows if row.condition == condition.id]
        success, last = row.metrics["attack_success"], at(made, condition, 101)
        assert (last["value"], last["k"]) == (success.value, success.k)
        assert last["low"] == pytest.approx(success.ci_low)
        assert last["high"] == pytest.approx(success.ci_high)


def test_intervals_are_by_patients_and_wilsons_where_none_is_known(tmp_path: Path) -> None:
    hit = np.array([True, True] + [False] * 6)
    row = at(study(tmp_path / "a", frame(AFTER)), square(4), 10)
    expected = rate_interval(hit, np.array([0, 0, 1, 1, 2, 2, 3, 3]))
    assert (row["low"], row["high"]) == pytest.approx(expected)
    unknown = study(tmp_path / "b", frame(AFTER, patient=[None] * 10))
    row = at(unknown, square(4), 10)
    assert (row["low"], row["high"]) == pytest.approx(wilson(2, 8))
    assert pd.isna(row["n_patients"])


def test_of_several_seeds_it_is_the_mean(tmp_path: Path) -> None:
    worse = {condition: [1, *of[1:]] for condition, of in AFTER.items()}
    other = frame(worse, right=[False, *RIGHT[1:]])
    row = at(study(tmp_path, frame(AFTER), other), square(4), 10)
    assert row["value"] == pytest.approx((2 / 8 + 1 / 7) / 2)
    assert (row["k"], row["n"], row["n_patients"]) == (3, 15, 4)
    assert row["low"] < row["value"] < row["high"]


@pytest.mark.parametrize("absent", ["broken_after", "queries"])
def test_older_results_have_no_curve(tmp_path: Path, absent: str) -> None:
    made = study(tmp_path, frame(AFTER).drop(columns=absent))
    assert made.queries.empty
    assert made.numbers


def test_a_seed_that_does_not_say_when_is_left_out(tmp_path: Path) -> None:
    silent = frame(AFTER).assign(broken_after=pd.array([None] * 30, dtype="Int64"))
    made = study(tmp_path, frame(AFTER), silent)
    assert at(made, square(4), 10)["value"] == 2 / 8
    assert study(tmp_path / "1", silent).queries.empty


def test_an_attack_that_breaks_nothing_has_a_curve_of_zeros(tmp_path: Path) -> None:
    none = {square(4): [None] * 8 + [1, 1]}
    made = study(tmp_path, frame(none), conditions=list(none))
    assert at(made, square(4), 101)["value"] == 0
    assert at(made, square(4), 101)["high"] > 0


def test_only_black_boxes_count_queries(tmp_path: Path) -> None:
    step = fgsm(4)
    assert (square(4).black_box, step.black_box, CLEAN.black_box) == (True, False, False)
    made = study(tmp_path, frame({step: AFTER[square(4)]}), conditions=[step])
    assert made.queries.empty
