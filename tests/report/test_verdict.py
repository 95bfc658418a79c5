"""The verdict on studies that tempt it to say more than the numbers bear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bcadv.study.jobs import find_jobs
from bcadv.study.study import build_study
from bcadv.report.words import Words, words
from tests.report.jobs_on_disk import answers, write_job

N = 120
TARGET = [i % 2 for i in range(N)]
ALWAYS_MALIGNANT = [target == 1 for target in TARGET]
CLEAN, WEAK, STRONG = (("as_trained", eps_px) for eps_px in (0.0, 1.0, 4.0))
FALLS = {CLEAN: 0.95, WEAK: 0.6, STRONG: 0.1}
OVERLAP: dict[str, Any] = {"sentence": "None.", "patient_overlap": 0.0}


def frame(
    accuracy: Mapping[tuple[str, float], float | Sequence[bool]],
    patient: Sequence[str | None] | None = None,
) -> pd.DataFrame:
    """Of each condition this share of the images right, the same images first."""
    right = {
        key: [i < round(value * N) for i in range(N)] if isinstance(value, float) else value
        for key, value in accuracy.items()
    }
    return answers(right, TARGET, patient)


def write(folder: Path, sigma: float | None, predictions: pd.DataFrame, **job: Any) -> None:
    usual = {"synthetic": False, "data": {"overlap": OVERLAP}}
    write_job(folder, sigma=sigma, frame=predictions, **{**usual, **job})


def spoken(folder: Path) -> Words:
    return words(build_study(*find_jobs([folder])), 0.1)


def said(folder: Path) -> str:
    return spoken(folder).verdict


def test_of_many_models_those_that_name_one_class_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path / "u", None, frame(FALLS))
    named = frame(dict.fromkeys(FALLS, ALWAYS_MALIGNANT))
    for i in range(4):
        write(tmp_path / f"one{i}", 0.2 + i / 10, named)
    write(tmp_path / "all", 0.7, frame({**FALLS, STRONG: 0.2}))
    verdict = said(tmp_path)
    assert "Of 5 defended models" in verdict
    assert "4 lose clean accuracy and none gain some." in verdict
    assert "4 of them call most images one class" in verdict
    # +40 points of the others mean nothing.
    assert "The largest gain of the others: “noise σ=0.7, BN as trained”, +10.0 [" in verdict
    write(tmp_path / "none", 0.8, frame(FALLS))
    (tmp_path / "all" / "results.json").unlink()
    largest = "The largest gain, of one of these: “noise σ=0.2, BN as trained”, +40.0 ["
    assert largest in said(tmp_path)


def test_many_models_that_were_not_attacked_are_not_judged(tmp_path: Path) -> None:
    for i in range(6):
        write(tmp_path / str(i), i / 10 or None, frame({CLEAN: 0.95}))
    verdict = said(tmp_path)
    assert "Of 5 defended models" in verdict
    assert "Attacked alike" not in verdict


def test_a_gain_not_measured_on_clean_statistics_is_not_called_lost(tmp_path: Path) -> None:
    write(tmp_path / "u", None, frame(FALLS))
    again = {("clean", 0.0): 0.95, ("clean", 1.0): 0.9}
    write(tmp_path / "d", 0.1, frame({CLEAN: 0.95, WEAK: 0.9, STRONG: 0.5, **again}))
    assert "there is a gain still at FGSM 1/255; at FGSM 4/255 that was not measured." in said(
        tmp_path
    )


def test_patients_known_in_part_are_called_so(tmp_path: Path) -> None:
    half = [f"P{i // 30}" if i % 2 else None for i in range(N)]
    unknown = {**OVERLAP, "unknown_patients": {"train": 9, "test": N // 2}}
    write(tmp_path / "u", None, frame(FALLS, half), data={"overlap": unknown})
    verdict = said(tmp_path)
    assert "test images of 4 known patients, the patient of others being unknown)" in verdict
    assert "(120 images of 4 known patients, the patient of others" in verdict
    assert "too few for any number" not in verdict


def test_images_and_patients_of_a_small_test_set_are_those_of_one_job(tmp_path: Path) -> None:
    for seed in (0, 1):
        patient = [f"P{seed}-{i // 3}" for i in range(N)]
        write(tmp_path / str(seed), None, frame(FALLS, patient), run_seed=seed)
    assert "The test set is small (120 images of 40 patients)" in said(tmp_path)


def test_the_smallest_test_set_is_the_one_that_is_small(tmp_path: Path) -> None:
    whole = frame(FALLS)
    write(tmp_path / "all", None, whole)
    write(tmp_path / "part", 0.1, whole[whole["index"] < 30])
    assert "The test set is small (30 images of 30 patients)" in said(tmp_path)


@pytest.mark.parametrize("share", [0.0025, 0.9975])
def test_a_share_is_not_rounded_to_none_or_all(tmp_path: Path, share: float) -> None:
    overlap = {**OVERLAP, "patient_overlap": share}
    write(tmp_path / "u", None, frame(FALLS), data={"overlap": overlap})
    word = "less than 1 %" if share < 0.5 else "more than 99 %"
    assert f"Of the test images, {word} come from patients" in said(tmp_path)
    overlap["unknown_patients"] = {"train": 1, "test": 0}
    write(tmp_path / "more" / "u", None, frame(FALLS), data={"overlap": overlap})
    assert f"at least {word} come from" in said(tmp_path / "more")


def test_an_undefended_model_on_clean_statistics_alone_is_compared_with(tmp_path: Path) -> None:
    write(tmp_path / "u", None, frame({("clean", e): a for (_, e), a in FALLS.items()}))
    write(tmp_path / "d", 0.1, frame({CLEAN: 0.95, WEAK: 0.9, STRONG: 0.1}))
    verdict = said(tmp_path)
    assert "Without attack “undefended, BN on clean” is right on 95.0" in verdict
    assert "“noise σ=0.1, BN as trained”, compared on the same images" in verdict
    assert "it is better at FGSM 1/255 (+30.0" in verdict


def test_one_undefended_model_is_described_once(tmp_path: Path) -> None:
    again = {("clean", e): a for (_, e), a in FALLS.items()}
    write(tmp_path / "u", None, frame({**FALLS, **again}))
    verdict = said(tmp_path)
    assert "Without attack “undefended, BN as trained” is right on 95.0" in verdict
    assert verdict.count("Without attack “") == 1


def test_what_is_true_of_some_jobs_is_not_said_of_all(tmp_path: Path) -> None:
    write(tmp_path / "a", None, frame(FALLS))
    write(tmp_path / "b", None, frame(FALLS), shape={"model.weights": None}, fingerprint="b")
    write(tmp_path / "c", None, frame(FALLS), synthetic=True, fingerprint="c")
    found = spoken(tmp_path)
    assert "For some of the jobs: The paper's models were pre-trained" in " ".join(found.what)
    assert found.verdict.startswith("Some images are synthetic: numbers of them")
    assert build_study(*find_jobs([tmp_path])).warning.startswith("PARTLY SYNTHETIC")


def test_two_trainings_of_equal_settings_are_not_one_model(tmp_path: Path) -> None:
    write(tmp_path / "a", None, frame({CLEAN: 0.9, STRONG: 0.1}), weights="one", finished="2025-01")
    write(tmp_path / "b", None, frame({CLEAN: 0.6, WEAK: 0.3}), weights="two", finished="2025-02")
    study = build_study(*find_jobs([tmp_path]))
    assert [job.name for job in study.jobs] == ["b"]
    assert "trained anew" in study.left_out[0]
    assert set(study.measures["strength"]) == {0.0, 1.0}


def test_images_of_other_content_under_the_same_names_are_not_compared(tmp_path: Path) -> None:
    write(tmp_path / "u", None, frame(FALLS))
    write(tmp_path / "d", 0.1, frame(FALLS), shape={"data.content": "stain-normalised"})
    study = build_study(*find_jobs([tmp_path]))
    assert study.comparisons.empty
    assert any("is compared with “undefended” on no seed" in remark for remark in study.remarks)


def test_seeds_of_data_sets_of_other_sizes_are_remarked_on(tmp_path: Path) -> None:
    test = {"benign": 60, "malignant": 60}
    for seed, train in ((0, 80), (1, 8000)):
        counts = {"train": {"benign": train, "malignant": 80}, "test": test}
        data = {"overlap": OVERLAP, "counts": counts}
        write(tmp_path / str(seed), None, frame(FALLS), run_seed=seed, data=data)
    remarks = build_study(*find_jobs([tmp_path])).remarks
    assert any("have 280 to 8,200 images" in remark for remark in remarks)
