from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bcadv.metrics.patients import RECOGNITION
from bcadv.results.condition import CLEAN
from bcadv.study.jobs import find_jobs
from bcadv.study.study import Study, build_study
from tests.metrics.tables import fgsm, predictions
from tests.report.jobs_on_disk import answers, rewrite, write_job


def _study(folder: Path) -> Study:
    return build_study(*find_jobs([folder]))


def _rows(study: Study, condition: str = "clean") -> pd.DataFrame:
    """Of each seed and, last, of all together."""
    rows = study.measures
    found = rows[(rows["metric"] == RECOGNITION) & (rows["condition"] == condition)]
    return found.set_index("seed").sort_index()


def _shares(frame: pd.DataFrame) -> pd.Series:
    attacked = frame[frame["condition"] == fgsm(1).id]
    right = attacked["prediction"] == attacked["target"]
    return right.groupby(attacked["patient"]).mean()


def test_seeds_together_are_their_mean_with_each_patient_once(tmp_path: Path) -> None:
    shares = []
    for seed in (0, 1):
        frame = predictions(n=400, patients=60, seed=seed, eps_px=(1,))
        # A third of the patients is tested in one of the two seeds alone, and some are unknown.
        number = frame["patient"].str[1:].astype(int)
        frame = frame[number >= 20 if seed else number < 50]
        frame["patient"] = frame["patient"].where(frame["index"] % 10 > 0, None)
        write_job(tmp_path / str(seed), frame=frame, run_seed=seed)
        shares.append(_shares(frame))
    rows = _rows(_study(tmp_path), fgsm(1).id)
    together = rows[rows.index.isna()].iloc[0]
    assert together["value"] == pytest.approx(np.mean([of.mean() for of in shares]))
    assert (together["n"], together["kind"]) == (sum(map(len, shares)), rows["kind"].iloc[0])
    names = sorted({*shares[0].index, *shares[1].index})
    assert together["n_patients"] == len(names)
    assert pd.isna(together["k"])

    random = np.random.default_rng(0)
    drawn = random.multinomial(len(names), [1 / len(names)] * len(names), size=4000)
    means = []
    for of in shares:
        weights = drawn[:, [names.index(name) for name in of.index]]
        means.append(weights @ of.to_numpy() / weights.sum(axis=1))
    ends = np.quantile(np.mean(means, axis=0), [0.025, 0.975])
    assert (together["low"], together["high"]) == pytest.approx(ends, abs=0.015)


def test_the_same_patients_under_several_seeds_are_no_more_patients(tmp_path: Path) -> None:
    right = {("as_trained", 0.0): [i % 5 > 0 for i in range(36)]}
    frame = answers(right, [i % 2 for i in range(36)], [f"P{i // 4}" for i in range(36)])
    for seed in (0, 1, 2):
        write_job(tmp_path / str(seed), frame=frame, run_seed=seed)
    rows = _rows(_study(tmp_path))
    one, together = rows.loc[0], rows[rows.index.isna()].iloc[0]
    same = ["value", "low", "high", "n_patients"]
    assert [together[name] for name in same] == pytest.approx([one[name] for name in same])
    assert together["n_patients"] == 9
    assert (one["n"], together["n"]) == (9, 27)


def _forget(folder: Path) -> None:
    """Makes the results those of a program that did not know the metric."""
    rows: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())["rows"]
    for row in rows:
        del row["metrics"][RECOGNITION]
    rewrite(folder, rows=rows)


def test_older_results_are_read_and_lack_it(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write_job(tmp_path / str(seed), n=30, run_seed=seed, seed=seed)
    _forget(tmp_path / "1")
    study = _study(tmp_path)
    assert not study.left_out
    # Nor is a mean over two seeds passed off as one over three.
    assert _rows(study).index.tolist() == [0, 2]
    accuracy = study.measures[study.measures["metric"] == "accuracy"]
    assert set(accuracy["seed"].dropna()) == {0, 1, 2}
    assert accuracy["seed"].isna().any()


def test_without_patients_the_reason_stands_there(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_job(tmp_path / str(seed), n=30, patients=0, run_seed=seed)
    rows = _rows(_study(tmp_path))
    assert rows.index.tolist() == [0, 1]
    assert rows["value"].isna().all()
    assert set(rows["kind"]) == {"no patient is known"}


def test_it_stands_in_the_csv_file_clean_and_attacked(tmp_path: Path) -> None:
    result = write_job(tmp_path / "a", n=60, patients=12)
    table = _study(tmp_path).measures
    found = table[(table["metric"] == RECOGNITION) & table["seed"].isna()]
    assert set(found["condition"]) == {CLEAN.id, *(fgsm(e).id for e in (0.25, 1, 4))}
    worst = result.rows[-1].metrics[RECOGNITION]
    assert found.set_index("condition").loc[fgsm(4).id, "low"] == worst.ci_low


@pytest.mark.parametrize(("positive", "defined"), [((), False), ((0, 1, 2), False), ((2,), True)])
def test_rates_of_one_side_need_two(
    tmp_path: Path, positive: tuple[int, ...], defined: bool
) -> None:
    for seed in (0, 1):
        frame = predictions(n=60, patients=12, n_classes=3, seed=seed, eps_px=(1,))
        about = {"classes": ("a", "b", "c"), "positive": positive}
        write_job(tmp_path / str(seed), frame=frame, run_seed=seed, task=about)
    rows = _study(tmp_path).measures
    for metric in ("sensitivity", "specificity"):
        assert (rows.loc[rows["metric"] == metric, "value"].notna() == defined).all()
    assert rows.loc[rows["metric"] == "accuracy", "value"].notna().all()
