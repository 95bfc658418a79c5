from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from bcadv.metrics.paired import Gap, paired_gap
from bcadv.results.schema import Defence
from bcadv.study.jobs import find_jobs
from bcadv.study.study import Study, build_study
from tests.report.jobs_on_disk import answers, write_job

TARGET = [0] * 12 + [1] * 12
DEFENDED = "noise σ=0.1, BN as trained"


def _study(folder: Path) -> Study:
    return build_study(*find_jobs([folder]))


def _right(*wrong: int) -> list[bool]:
    return [i not in wrong for i in range(len(TARGET))]


def _pair(
    folder: Path,
    undefended: Sequence[bool],
    defended: Sequence[bool],
    patient: Sequence[str] | None = None,
    seed: int = 0,
) -> None:
    for sigma, right in ((None, undefended), (0.1, defended)):
        frame = answers(
            {("as_trained", 0.0): _right(), ("as_trained", 1.0): right}, TARGET, patient
        )
        write_job(folder / f"{sigma}-{seed}", sigma=sigma, run_seed=seed, frame=frame)


def _gap(*gains: float) -> Gap:
    """Of patients with an image each that the arm gains (1), loses (-1) or neither (0)."""
    gain, n = np.array(gains), len(gains)
    independent = float(np.var(gain)) / n
    up, down = ((gain == sign) / n for sign in (1, -1))
    return paired_gap(up, down, np.full(n, 1 / n), independent=independent)


def _row(study: Study, seed: int | None = None, eps_px: float = 1.0) -> pd.Series:
    rows = study.comparisons
    of_seed = rows["seed"].isna() if seed is None else rows["seed"] == seed
    found = rows[of_seed & (rows["strength"] == eps_px)]
    assert len(found) == 1
    return found.iloc[0]


def test_images_that_one_model_alone_has_right_are_counted(tmp_path: Path) -> None:
    _pair(tmp_path, _right(0, 1, 2, 3, 4, 5, 6, 7), _right(7, 8))
    study = _study(tmp_path)
    for seed in (0, None):
        row = _row(study, seed)
        assert (row["arm"], row["reference"]) == (DEFENDED, "undefended")
        assert (row["n"], row["only_reference"], row["only_arm"]) == (24, 1, 7)
        assert row["n_patients"] == 24
        gap = _gap(*[1] * 7, -1, *[0] * 16)
        assert (row["p"], row["low"], row["high"]) == pytest.approx((gap.p, gap.low, gap.high))
        assert row["difference"] == pytest.approx(6 / 24)
    clean = _row(study, None, 0.0)
    assert (clean["difference"], clean["p"]) == (0, 1)
    # No image tells the models apart, yet the interval has a width.
    none = _gap(*[0] * 24)
    assert (clean["low"], clean["high"]) == pytest.approx((none.low, none.high))
    assert none.high > 0.1


def test_a_difference_that_one_patient_makes_is_not_certain(tmp_path: Path) -> None:
    # Of three patients with 8 images each, one makes the difference with all of its images.
    patient = [f"P{i // 8}" for i in range(24)]
    _pair(tmp_path / "a", _right(*range(8)), _right(), patient)
    clustered = _row(_study(tmp_path / "a"))
    _pair(tmp_path / "b", _right(*range(8)), _right())
    alone = _row(_study(tmp_path / "b"))
    assert clustered["difference"] == alone["difference"] == pytest.approx(1 / 3)
    assert clustered["low"] < 0 < alone["low"]
    assert alone["p"] < 0.05 < clustered["p"]
    assert clustered["n_patients"] == 3


def test_without_patients_the_test_is_mcnemars(tmp_path: Path) -> None:
    for sigma, right in ((None, _right(*range(7))), (0.1, _right(7))):
        tried = {("as_trained", 0.0): _right(), ("as_trained", 1.0): right}
        frame = answers(tried, TARGET).assign(patient=None)
        write_job(tmp_path / str(sigma), sigma=sigma, frame=frame)
    row = _row(_study(tmp_path), 0)
    assert row["p"] == pytest.approx(binomtest(1, 8).pvalue)
    gap = _gap(*[1] * 7, -1, *[0] * 16)
    assert (row["low"], row["high"]) == pytest.approx((gap.low, gap.high))
    assert pd.isna(row["n_patients"])


def test_several_seeds_are_tested_one_by_one(tmp_path: Path) -> None:
    _pair(tmp_path, _right(0, 1, 2, 3), _right(), seed=0)
    _pair(tmp_path, _right(0, 1), _right(2, 3, 4), seed=1)
    study = _study(tmp_path)
    assert _row(study, 0)["p"] == pytest.approx(_gap(*[1] * 4, *[0] * 20).p)
    assert _row(study, 1)["p"] == pytest.approx(_gap(1, 1, -1, -1, -1, *[0] * 19).p)
    row = _row(study)
    assert (row["n"], row["only_reference"], row["only_arm"]) == (48, 3, 6)
    assert row["difference"] == pytest.approx((4 / 24 - 1 / 24) / 2)
    # Of the same images both gain two; the others are gained or lost by half.
    gain = np.array([1, 1, 0, 0, -0.5, *[0] * 19])
    assert row["difference"] == pytest.approx(gain.mean())
    assert row["low"] < 0 < row["high"]
    single = _row(study, 0)
    assert row["high"] - row["low"] < 1.2 * (single["high"] - single["low"])
    assert 0.1 < row["p"] < 1


def test_seeds_with_other_images_are_not_paired(tmp_path: Path) -> None:
    _pair(tmp_path, _right(0), _right(1), seed=0)
    frame = answers({("as_trained", 0.0): _right()}, TARGET)
    write_job(tmp_path / "u1", run_seed=1, frame=frame)
    other = frame.assign(image_id=frame["image_id"] + "x")
    write_job(tmp_path / "d1", run_seed=1, sigma=0.1, frame=other)
    study = _study(tmp_path)
    assert set(study.comparisons["seed"].dropna()) == {0}
    assert _row(study)["n"] == 24
    [remark] = [r for r in study.remarks if (r.id, r.about) == ("some_seeds", DEFENDED)]
    assert remark.facts["absent"] == [1]


def test_the_same_images_of_other_classes_are_not_paired(tmp_path: Path) -> None:
    right = {("as_trained", 0.0): _right()}
    write_job(tmp_path / "u", frame=answers(right, TARGET))
    write_job(tmp_path / "d", sigma=0.1, frame=answers(right, [1, *TARGET[1:]]))
    study = _study(tmp_path)
    assert study.comparisons.empty
    assert {remark.id for remark in study.remarks} & {"not_paired", "some_seeds"}


@pytest.mark.parametrize("other", [{"source": "breakhis"}, {"content": "d"}])
def test_other_data_with_the_same_names_is_not_paired(
    tmp_path: Path, other: dict[str, str]
) -> None:
    right = {("as_trained", 0.0): _right()}
    for sigma, data in ((None, {"content": "c"}), (0.1, {"content": "c"} | other)):
        # What else differs makes them no twins, so that the same names and classes might do.
        shape = {"trainer.max_epochs": 12 if sigma else 400}
        frame = answers(right, TARGET)
        write_job(tmp_path / str(sigma), sigma=sigma, frame=frame, data=data, shape=shape)
    study = _study(tmp_path)
    assert study.comparisons.empty
    assert any(remark.about.startswith(DEFENDED) for remark in study.remarks)


def test_each_arm_meets_the_undefended_one_of_its_own_split(tmp_path: Path) -> None:
    for split in ("paper", "patient"):
        for sigma in (None, 0.1):
            write_job(
                tmp_path / f"{split}-{sigma}",
                sigma=sigma,
                n=20 if split == "paper" else 30,
                data={"split": split},
                fingerprint=f"{split}{sigma}",
            )
    study = _study(tmp_path)
    met = study.comparisons[["arm", "reference"]].drop_duplicates().to_numpy().tolist()
    assert sorted(met) == [
        [f"{DEFENDED}, split by image", "undefended, split by image"],
        [f"{DEFENDED}, split by patient", "undefended, split by patient"],
    ]


def test_what_differs_beside_the_noise_is_named(tmp_path: Path) -> None:
    write_job(tmp_path / "u", n=20)
    write_job(tmp_path / "d", n=20, sigma=0.1, shape={"trainer.max_epochs": 12})
    study = _study(tmp_path)
    assert len(study.comparisons)
    assert ["trainer.max_epochs"] in [
        remark.facts["options"] for remark in study.remarks if remark.id == "more_than_the_defence"
    ]


def test_an_objective_that_is_the_defence_is_no_other_difference(tmp_path: Path) -> None:
    trades = Defence(kind="objective", settings={"objective": "trades"}, label="TRADES β=6")
    plain = {"objective": "cross_entropy", "objective.options": {}}
    write_job(tmp_path / "u", n=20, shape=plain)
    write_job(
        tmp_path / "t",
        n=20,
        defence=trades,
        shape={"objective": "trades", "objective.options": {"beta": 6}},
    )
    study = _study(tmp_path)
    assert [arm.name for arm in study.arms] == ["undefended", "TRADES β=6, BN as trained"]
    assert len(study.comparisons)
    assert not study.remarks
    # One that is no defence has to be told apart.
    write_job(tmp_path / "f", n=20, shape=plain | {"objective": "focal"}, fingerprint="f")
    study = _study(tmp_path)
    assert {arm.name for arm in study.arms} == {
        "undefended, objective=cross_entropy",
        "undefended, objective=focal",
        "TRADES β=6, BN as trained",
    }


def test_without_an_undefended_model_nothing_is_compared(tmp_path: Path) -> None:
    write_job(tmp_path / "d", n=20, sigma=0.1, variants=("as_trained", "clean"))
    study = _study(tmp_path)
    assert study.reference is None
    assert study.comparisons.empty
    assert list(study.comparisons["p"]) == []
