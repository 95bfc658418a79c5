"""Folds taken together, against one job that tested the same images at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bcadv.results.condition import CLEAN
from bcadv.study.facts import commonest_share
from bcadv.study.folds import pooled
from bcadv.study.headline import conclude
from bcadv.study.jobs import find_jobs
from bcadv.study.models import read_models
from bcadv.study.study import Study, build_study
from tests.metrics.tables import predictions
from tests.report.jobs_on_disk import write_job

N = 60


def study(folder: Path) -> Study:
    return build_study(*find_jobs([folder]))


def whole(seed: int = 0) -> pd.DataFrame:
    return predictions(n=N, eps_px=(0, 1, 4), seed=seed, variants=("as_trained", "clean"))


def fold_of(frame: pd.DataFrame) -> pd.Series:
    """Three folds that keep patients together, of different sizes."""
    numbers = pd.factorize(frame["patient"], sort=True)[0]
    return pd.Series(np.minimum(numbers % 5, 2) + 1, index=frame.index)


def write_folds(
    folder: Path,
    frame: pd.DataFrame,
    folds: Sequence[int] = (1, 2, 3),
    split: str = "patient_cv",
    **more: Any,
) -> None:
    numbers = fold_of(frame)
    for k in folds:
        write_job(
            folder / f"{k}",
            frame=frame[numbers == k],
            data={"split": split, "fold": k, "folds": 3 if split == "patient_cv" else None},
            fingerprint=f"fold {k} {more}",
            shape={"data.fold": k, "data.content": f"without fold {k}"},
            finished=f"2025-01-01T12:00:0{9 - k}+00:00",
            **more,
        )


COMPARED = ["arm", "condition", "metric", "value", "low", "high", "k", "n", "n_patients", "kind"]


def table(of: Study) -> pd.DataFrame:
    rows = of.measures[of.measures["seed"].isna() & (of.measures["metric"] != "ece")]
    return rows[COMPARED].sort_values(COMPARED[:3]).reset_index(drop=True)


def test_folds_together_are_one_job_on_all_their_images(tmp_path: Path) -> None:
    for sigma in (None, 0.1):
        frame = whole(seed=0 if sigma is None else 1)
        write_job(tmp_path / "one" / f"{sigma}", frame=frame, sigma=sigma)
        write_folds(tmp_path / "three" / f"{sigma}", frame, sigma=sigma)
    one, three = study(tmp_path / "one"), study(tmp_path / "three")
    assert [arm.folds for arm in three.arms] == [(1, 2, 3)] * len(one.arms)
    pd.testing.assert_frame_equal(table(three), table(one))
    assert set(three.numbers[three.arms[0].name, CLEAN, "accuracy"].counts.split("/")) & {str(N)}
    names = ["arm", "reference", "condition", "difference", "low", "high", "p", "n"]
    assert len(one.comparisons)
    pd.testing.assert_frame_equal(three.comparisons[names], one.comparisons[names])


def test_every_image_keeps_its_class_and_its_patient(tmp_path: Path) -> None:
    frame = whole()
    write_folds(tmp_path, frame)
    [model], _ = pooled(read_models(find_jobs([tmp_path])[0])[0])
    images = model.images
    assert images.image_id.tolist() == sorted(images.image_id)
    truth = frame.drop_duplicates("image_id").set_index("image_id").loc[images.image_id]
    assert images.target.tolist() == truth["target"].tolist()
    assert images.group.tolist() == [f"patient {p}" for p in truth["patient"]]
    assert images.patients == {*truth["patient"]}


def test_the_commonest_class_is_that_of_all_folds_together(tmp_path: Path) -> None:
    frame = whole()
    write_folds(tmp_path, frame)
    [arm, *_] = study(tmp_path).arms
    target = frame.drop_duplicates("image_id")["target"]
    assert commonest_share(arm) == pytest.approx(max(target.mean(), 1 - target.mean()))


def test_calibration_over_folds_has_an_interval(tmp_path: Path) -> None:
    write_folds(tmp_path, whole())
    found = study(tmp_path).numbers
    [ece] = [n for (_, c, metric), n in found.items() if c == CLEAN and metric == "ece"][:1]
    assert ece.low <= ece.value <= ece.high
    assert ece.n == N


def test_a_rate_weighs_images_and_not_folds(tmp_path: Path) -> None:
    frame = whole()
    write_folds(tmp_path, frame)
    clean = frame[(frame["condition"] == CLEAN.id) & (frame["batchnorm"] == "as_trained")]
    right = clean["prediction"] == clean["target"]
    by_fold = right.groupby(fold_of(clean)).mean()
    found = study(tmp_path)
    value = found.numbers[found.arms[0].name, CLEAN, "accuracy"].value
    assert value == pytest.approx(right.mean())
    assert abs(by_fold.mean() - right.mean()) > 1e-3  # the two could be told apart


def test_a_fold_that_nobody_tested_is_named(tmp_path: Path) -> None:
    write_folds(tmp_path / "all", whole())
    write_folds(tmp_path / "two", whole(), folds=(1, 3))
    write_folds(tmp_path / "single", whole(), folds=(2,))
    found = conclude(study(tmp_path / "all"), 0.1)
    assert not found.of("folds_missing")
    assert found.of("folds_pooled")
    missing = conclude(study(tmp_path / "two"), 0.1).of("folds_missing")
    assert [(f.facts["folds"], f.facts["absent"]) for f in missing] == [([1, 3], [2])] * 2
    single = conclude(study(tmp_path / "single"), 0.1)
    assert [f.facts["absent"] for f in single.of("folds_missing")] == [[1, 3]] * 2
    assert not single.of("folds_pooled")


def test_the_patients_of_all_folds_count_as_tested(tmp_path: Path) -> None:
    frame = whole()
    write_folds(tmp_path, frame)
    [small] = conclude(study(tmp_path), 0.1).of("small_test_set")
    assert (small.facts["images"], small.facts["patients"]) == (N, frame["patient"].nunique())
    assert small.facts["folds"]


def test_official_folds_may_test_an_image_twice(tmp_path: Path) -> None:
    """Each image stands for its fold, and a patient for all of its images."""
    frame = whole()
    for k in (1, 2):
        write_job(
            tmp_path / f"{k}",
            frame=frame,
            data={"split": "official", "fold": k},
            fingerprint=f"fold {k}",
            shape={"data.fold": k},
        )
    found = study(tmp_path)
    number = found.numbers[found.arms[0].name, CLEAN, "accuracy"]
    assert number.n == 2 * N
    assert number.n_patients == frame["patient"].nunique()
    single = tmp_path / "single"
    write_job(single, frame=frame)
    alone = study(single)
    once = alone.numbers[alone.arms[0].name, CLEAN, "accuracy"]
    assert number.value == once.value
    # The same answers twice are no more patients: the interval hardly narrows.
    assert number.high - number.low > 0.9 * (once.high - once.low)


def test_other_seeds_have_their_own_folds(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_folds(tmp_path / f"{seed}", whole(seed), run_seed=seed)
    found = study(tmp_path)
    assert {arm.seeds for arm in found.arms} == {(0, 1)}
    assert {arm.folds for arm in found.arms} == {(1, 2, 3)}
    assert found.numbers[found.arms[0].name, CLEAN, "accuracy"].n == 2 * N


def test_a_newer_training_of_a_fold_replaces_it_with_a_word(tmp_path: Path) -> None:
    write_folds(tmp_path / "old", whole())
    write_job(
        tmp_path / "new",
        frame=whole()[fold_of(whole()) == 2],
        data={"split": "patient_cv", "fold": 2, "folds": 3},
        fingerprint="fold 2 anew",
        weights="others",
        shape={"data.fold": 2},
        finished="2026-01-01T12:00:00+00:00",
    )
    found = study(tmp_path)
    assert [said for said in found.left_out if "is a newer training" in said]
    assert {arm.folds for arm in found.arms} == {(1, 2, 3)}
