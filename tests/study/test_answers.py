"""Predictions on disk as a study reads them: damaged, changed, in another order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bcadv.errors import BcadvError
from bcadv.study.jobs import find_jobs
from bcadv.study.study import Study, build_study
from tests.metrics.tables import predictions
from tests.report.jobs_on_disk import rewrite, write_job


def _study(folder: Path) -> Study:
    return build_study(*find_jobs([folder]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda table: None, "cannot be read"),
        (lambda table: table.drop(columns="size").drop(columns="condition"), "condition"),
        (lambda table: table.iloc[1:], "every image once"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "every image once"),
        (lambda table: table.assign(prediction=1 - table["prediction"]), "disagree"),
        (
            lambda table: table.assign(target=[1 - table["target"][0], *table["target"][1:]]),
            "different classes",
        ),
    ],
)
def test_predictions_that_cannot_be_used_are_named(
    tmp_path: Path, damage: Any, message: str
) -> None:
    write_job(tmp_path / "good", n=20)
    write_job(tmp_path / "bad", n=20, sigma=0.1)
    path = tmp_path / "bad" / "predictions.parquet"
    table = pd.read_parquet(path)
    damaged = damage(table)
    if damaged is None:
        path.write_bytes(b"PAR1")
    else:
        damaged.to_parquet(path, index=False)
    rewrite(tmp_path / "bad")  # vouches for the file as it is now
    study = _study(tmp_path)
    assert [arm.name for arm in study.arms] == ["undefended"]
    assert len(study.left_out) == 1
    assert str(tmp_path / "bad") in study.left_out[0]
    assert message in study.left_out[0]
    with pytest.raises(BcadvError, match=message):
        _study(tmp_path / "bad")


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    frame = predictions(n=30, variants=("as_trained", "clean"))
    write_job(tmp_path / "a" / "job", frame=frame)
    write_job(tmp_path / "b" / "job", frame=frame.sample(frac=1, random_state=0))
    a, b = _study(tmp_path / "a"), _study(tmp_path / "b")
    pd.testing.assert_frame_equal(a.measures, b.measures)
    pd.testing.assert_frame_equal(a.comparisons, b.comparisons)


@pytest.mark.parametrize("name", ["predictions.parquet"])
def test_predictions_changed_since_are_not_used(tmp_path: Path, name: str) -> None:
    write_job(tmp_path / "good", n=20)
    write_job(tmp_path / "bad", n=20, sigma=0.1)
    path = tmp_path / "bad" / name
    table = pd.read_parquet(path)
    # Too small a change to show in any count.
    table.assign(p_0=table["p_0"] + 1e-6).to_parquet(path, index=False)
    study = _study(tmp_path)
    assert [arm.name for arm in study.arms] == ["undefended"]
    assert "changed or damaged since the results were written" in study.left_out[0]
