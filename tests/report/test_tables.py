from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bcadv.metrics.intervals import wilson
from bcadv.report import paper
from bcadv.report.calibration import fall
from bcadv.study.jobs import find_jobs
from bcadv.study.numbers import Number
from bcadv.study.study import Study, build_study
from bcadv.report.study_tables import failures, p_text
from bcadv.report.tables import Table, tables, write_tables
from bcadv.results.schema import CLEAN, Condition
from tests.metrics.tables import fgsm, predictions
from tests.report.jobs_on_disk import answers, write_job

PAPERS_DATA = {"counts": {part: dict(of) for part, of in paper.COUNTS.items()}}
DEFENDED = "noise σ=0.1, BN as trained"


def _study(folder: Path) -> Study:
    return build_study(*find_jobs([folder]))


def _tables(study: Study, prevalence: float = 0.1) -> dict[str, Table]:
    return {table.name: table for table in tables(study, prevalence)}


def _malignant(right: Sequence[int], *, n: int = 91) -> list[list[bool]]:
    """Whether each of 9 benign (all right) and n malignant images is right, for each number."""
    return [[True] * 9 + [i < k for i in range(n)] for k in right]


def _write(folder: Path, sigma: float | None, right: dict[float, int], **job: Any) -> None:
    columns = _malignant(list(right.values()))
    frame = answers(
        {("as_trained", e): column for e, column in zip(right, columns, strict=True)},
        [0] * 9 + [1] * 91,
    )
    write_job(folder, sigma=sigma, frame=frame, synthetic=False, **job)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The paper's own Table 3, between other strengths."""
    folder = tmp_path_factory.mktemp("papers")
    _write(folder / "u", None, {0: 90, 0.5: 60, 1: 10, 2: 0}, data=PAPERS_DATA)
    _write(folder / "d", 0.1, {0: 88, 0.5: 70, 1: 25, 2: 3}, data=PAPERS_DATA)
    return _study(folder)


def _cell(table: Table, row: str, column: str) -> str:
    rows = table.shown[table.shown.iloc[:, 0] == row]
    assert len(rows) == 1
    return str(rows.iloc[0][column])


def test_table_1_has_the_papers_numbers_beside(papers: Study) -> None:
    table = _tables(papers)["table1_counts"]
    assert _cell(table, "malignant, test", "this study") == "91"
    assert list(table.shown["this study"]) == list(table.shown["paper"])
    assert table.notes == ("The numbers are the paper's.",)


def test_other_numbers_are_said_beside_every_table_that_shows_the_papers(tmp_path: Path) -> None:
    _write(tmp_path / "u", None, {0: 90, 1: 12})
    made = _tables(_study(tmp_path))
    for name in ("table1_counts", "table2_clean", "table3_malignant", "calibration"):
        assert any("the paper has 1547" in note for note in made[name].notes), name


def test_table_2_has_counts_and_intervals(papers: Study) -> None:
    table = _tables(papers)["table2_clean"]
    low, high = wilson(99, 100)
    expected = f"99.0 [{100 * low:.1f}, {100 * high:.1f}]"
    assert _cell(table, "undefended", "accuracy") == expected
    assert _cell(table, "undefended", "right/images") == "99/100"
    assert _cell(table, "undefended", "paper").startswith("98.7 [")
    assert _cell(table, DEFENDED, "paper's right/images") == "153/156"
    assert not any("Not to be held" in note for note in table.notes)


def test_table_3_is_about_malignant_images_only(papers: Study) -> None:
    table = _tables(papers)["table3_malignant"]
    assert _cell(table, "undefended", "FGSM 1/255").startswith("11.0 [")
    assert _cell(table, "undefended", "FGSM, paper (ε not stated)") == "11.0 [6.1, 19.1]"
    assert _cell(table, DEFENDED, "FGSM 1/255").startswith("27.5 [")
    assert _cell(table, DEFENDED, "FGSM, paper (ε not stated)") == "27.5 [19.4, 37.4]"
    assert _cell(table, DEFENDED, "no attack").startswith("96.7 [")
    assert set(table.frame["n"]) == {91}


def test_calibration_finds_the_papers_fall_and_the_defence_there(papers: Study) -> None:
    table = _tables(papers)["calibration"]
    assert list(table.shown.iloc[:, 0]) == [
        "undefended: FGSM 1/255",
        f"{DEFENDED}: FGSM 1/255",
    ]
    assert list(table.shown["right/images"]) == ["10/91", "25/91"]
    assert list(table.frame["strength"]) == [1, 1]
    assert list(table.frame["paper"]) == pytest.approx([10 / 91, 25 / 91])
    assert any("first falls into the paper's interval" in note for note in table.notes)


@pytest.mark.parametrize(
    ("right", "rows", "words"),
    [
        ({0: 90, 1: 60, 2: 30}, 1, "never falls into"),
        ({0: 90, 1: 60, 2: 3}, 2, "jumps over"),
        ({0: 90, 1: 2}, 2, "jumps over"),
        ({0: 5, 1: 2}, 1, "or lower, already"),
    ],
)
def test_calibration_that_fails_says_so_with_both_neighbours(
    tmp_path: Path, right: dict[float, int], rows: int, words: str
) -> None:
    _write(tmp_path / "u", None, right)
    table = _tables(_study(tmp_path))["calibration"]
    assert len(table.shown) == rows
    assert any(words in note for note in table.notes)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({0: 0.99, 1: 0.5, 2: 0.15, 4: 0.1}, (2, None, None)),
        ({0: 0.99, 1: 0.5, 2: 0.03, 4: 0.1}, (None, 1, 2)),  # what rises again did not fall
        ({0: 0.99, 1: 0.5, 2: 0.3}, (None, 2, None)),
        ({0: 0.1, 1: 0.1}, (None, None, 0)),
        ({0: float("nan"), 1: float("nan")}, (None, None, None)),
    ],
)
def test_fall(values: dict[float, float], expected: tuple[float | None, ...]) -> None:
    def condition(eps_px: float) -> Condition:
        return fgsm(eps_px) if eps_px else CLEAN

    found = fall({condition(eps_px): value for eps_px, value in values.items()})
    assert found == tuple(None if e is None else condition(e) for e in expected)


def test_consequences_are_counted_by_hand(papers: Study) -> None:
    table = _tables(papers, prevalence=0.05)["consequences"]
    row = table.frame[(table.frame["arm"] == "undefended") & (table.frame["strength"] == 1)].iloc[0]
    # 50 of 1,000 have the disease; 10 of 91 cancers are seen, all 9 benign images are right.
    assert row["missed"] == pytest.approx(50 * 81 / 91)
    assert row["alarms"] == 0
    sensitivity = papers.measures[
        (papers.measures["arm"] == "undefended")
        & (papers.measures["strength"] == 1)
        & (papers.measures["metric"] == "sensitivity")
    ].iloc[0]
    assert row["missed_low"] == pytest.approx(50 * (1 - sensitivity["high"]))
    assert row["missed_high"] == pytest.approx(50 * (1 - sensitivity["low"]))
    assert row["alarms_high"] == pytest.approx(950 * (1 - wilson(9, 9)[0]))
    assert "missed cancers" in table.shown


def test_few_ill_are_not_rounded_to_none_missed(papers: Study) -> None:
    table = _tables(papers, prevalence=0.005)["consequences"]
    # One of 91 cancers is missed without attack.
    assert _cell(table, "undefended: clean", "missed cancers").startswith("0.05 [")
    assert not any("at most" in note for note in table.notes)


def test_failures_turn_an_interval_around() -> None:
    assert failures(Number(0.9, 0.8, 0.95, 9, 10, None), 100) == pytest.approx((10, 5, 20))


def test_comparisons_show_each_seeds_p(tmp_path: Path) -> None:
    for seed in (0, 1):
        _write(tmp_path / f"u{seed}", None, {0: 90, 1: 10}, run_seed=seed)
        _write(tmp_path / f"d{seed}", 0.1, {0: 90, 1: 10 + 3 * seed}, run_seed=seed)
    table = _tables(_study(tmp_path))["comparisons"]
    row = f"{DEFENDED}: FGSM 1/255"
    assert _cell(table, row, "p, seed by seed") == "1.000 / 0.250"
    assert _cell(table, row, "difference (points)").startswith("+1.5 [")
    assert _cell(table, row, "only this right") == "3"
    assert any("In all 4 tests were made" in note for note in table.notes)


def test_p_values() -> None:
    assert [p_text(p) for p in (0.0004, 0.0496, 1.0, float("nan"))] == [
        "< 0.001",
        "0.050",
        "1.000",
        "–",
    ]


def test_files_hold_the_raw_numbers_and_the_printed_ones(papers: Study, tmp_path: Path) -> None:
    made = tables(papers, 0.1)
    write_tables(made, tmp_path / "tables")
    for table in made:
        text = (tmp_path / "tables" / f"{table.name}.md").read_text(encoding="utf-8")
        for cell in table.shown.to_numpy().ravel():
            assert str(cell) in text
        read = pd.read_csv(tmp_path / "tables" / f"{table.name}.csv")
        assert len(read) == len(table.frame)
        assert list(read.columns) == list(table.frame.columns)
    raw = pd.read_csv(tmp_path / "tables" / "calibration.csv")
    assert raw["value"].iloc[0] == pytest.approx(10 / 91)


@pytest.mark.parametrize("case", ["no attack", "defended only", "subtypes", "no positives"])
def test_what_is_missing_leaves_no_hole(tmp_path: Path, case: str) -> None:
    if case == "no attack":
        write_job(tmp_path / "a", n=20, eps_px=())
    elif case == "defended only":
        write_job(tmp_path / "a", n=20, sigma=0.1)
    elif case == "subtypes":
        frame = predictions(n=60, n_classes=4)
        write_job(tmp_path / "a", frame=frame, task={"positive": (2, 3)})
    else:
        frame = predictions(n=40)
        write_job(tmp_path / "a", frame=frame[frame["target"] == 0])
    made = _tables(_study(tmp_path))
    assert {"table1_counts", "table2_clean", "robustness"} <= set(made)
    assert ("table3_malignant" in made) == (case != "no positives")
    assert ("calibration" in made) == (case == "subtypes")
    assert ("comparisons" in made) is False
    for table in made.values():
        assert not table.shown.isna().any().any()
        assert not re.search(r"\bnan\b", " ".join(map(str, table.shown.to_numpy().ravel())))
        assert table.shown.iloc[:, 0].is_unique


def test_missed_cases_are_of_the_class_that_counts_as_the_disease(tmp_path: Path) -> None:
    write_job(tmp_path / "a", n=20, task={"positive": (0,), "positive_by": "user"})
    assert "missed cases of benign" in _tables(_study(tmp_path))["consequences"].shown
