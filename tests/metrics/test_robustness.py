from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_recall, binary_specificity

from bcadv.errors import BcadvError
from bcadv.metrics.calibration import calibration_intervals, gaps
from bcadv.metrics.clustered import rate_interval
from bcadv.metrics.intervals import wilson
from bcadv.metrics.ranking import auroc_interval, ranking
from bcadv.metrics.robustness import summarise
from bcadv.results.condition import CLEAN
from bcadv.results.schema import Row
from tests.metrics.tables import fgsm, predictions

RATES = {
    "accuracy",
    "robust_accuracy",
    "sensitivity",
    "specificity",
    "accuracy_positive",
    "attack_success",
    "flip_rate",
}
OTHERS = {"balanced_accuracy", "patient_recognition_rate", "auroc", "ece"}
BINARY = ["benign", "malignant"]


KNOWN = [CLEAN, *map(fgsm, (0, 1, 2, 4))]


def number(value: float | None) -> float:
    """A value that is there."""
    assert value is not None
    return value


def _by_key(rows: list[Row]) -> dict[tuple[str, str], Row]:
    return {(row.batchnorm, row.condition): row for row in rows}


@settings(max_examples=15)
@given(
    n=st.integers(1, 40),
    patients=st.integers(0, 15),
    n_classes=st.integers(2, 4),
    seed=st.integers(0, 10**6),
)
def test_every_row_holds_to_the_rules(n: int, patients: int, n_classes: int, seed: int) -> None:
    table = predictions(n=n, patients=patients, n_classes=n_classes, seed=seed)
    rows = summarise(table, KNOWN, [str(c) for c in range(n_classes)], [1], n_boot=50)
    json.dumps([row.model_dump() for row in rows], allow_nan=False)
    assert len(rows) == 4
    clean = number(rows[0].metrics["accuracy"].value)
    for row in rows:
        assert row.n == n
        metrics = row.metrics
        assert set(metrics) == RATES | OTHERS | ({"auroc_macro"} if n_classes > 2 else set())
        assert number(metrics["robust_accuracy"].value) <= min(
            clean, number(metrics["accuracy"].value)
        )
        for name, entry in metrics.items():
            if entry.value is None:
                assert entry.reason
                assert entry.ci_low is None
                continue
            assert 0 <= entry.value <= 1
            if entry.ci_low is not None:
                assert 0 <= entry.ci_low <= entry.value <= number(entry.ci_high) <= 1, name
            if name in RATES:
                assert entry.value == number(entry.k) / entry.n
                assert (entry.wilson_low is not None) == (patients > 0)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), patients=st.integers(0, 12))
def test_the_order_of_the_rows_does_not_matter(seed: int, patients: int) -> None:
    table = predictions(n=25, patients=patients, eps_px=(2,), seed=seed)
    shuffled = table.sample(frac=1, random_state=seed)
    rows = summarise(table, KNOWN, BINARY, [1], n_boot=30)
    assert rows == summarise(shuffled, KNOWN, BINARY, [1], n_boot=30)


def test_rates_agree_with_counting_and_with_torchmetrics() -> None:
    table = predictions(n=80, variants=("as_trained", "clean"))
    rows = _by_key(summarise(table, KNOWN, BINARY, [1], n_boot=20))
    righted = 0
    for (variant, name), row in rows.items():
        of_variant = table[table["batchnorm"] == variant]
        part = of_variant[of_variant["condition"] == name].set_index("image_id")
        clean = of_variant[of_variant["condition"] == CLEAN.id].set_index("image_id")
        target, prediction = (
            part["target"].to_numpy(copy=True),
            part["prediction"].to_numpy(copy=True),
        )
        before = clean.loc[part.index, "prediction"].to_numpy()
        right, was_right = prediction == target, before == target
        expected = {
            "accuracy": right.mean(),
            "robust_accuracy": (right & was_right).mean(),
            "attack_success": (~right)[was_right].mean(),
            "flip_rate": (prediction != before).mean(),
            "sensitivity": float(
                binary_recall(torch.from_numpy(prediction), torch.from_numpy(target))
            ),
            "specificity": float(
                binary_specificity(torch.from_numpy(prediction), torch.from_numpy(target))
            ),
        }
        expected["accuracy_positive"] = expected["sensitivity"]
        righted += int((right & ~was_right).sum())
        measured = {key: row.metrics[key].value for key in expected}
        assert measured == pytest.approx(expected)
    assert righted  # else robust accuracy might be plain accuracy unseen


def test_a_rate_with_one_event_is_no_surer_than_of_independent_images() -> None:
    table = predictions(n=120, patients=40, eps_px=())
    table["prediction"] = table["target"].where(table["index"] > 0, 1 - table["target"])
    entry = summarise(table, KNOWN, BINARY, [1], n_boot=200)[0].metrics["accuracy"]
    assert (entry.k, entry.n) == (119, 120)
    assert (entry.wilson_low, entry.wilson_high) == wilson(119, 120)
    assert number(entry.ci_low) < number(entry.wilson_low)
    assert entry.ci_kind == "patient wilson"


def test_several_classes_collapse_into_positive_and_negative() -> None:
    table = predictions(n=4, patients=0, n_classes=4, eps_px=())
    table["target"] = [0, 1, 2, 3]
    table["prediction"] = [1, 1, 3, 0]  # positives 2 and 3: one stays positive, none is exact
    metrics = summarise(table, KNOWN, list("abcd"), [2, 3], n_boot=20)[0].metrics
    assert metrics["sensitivity"].value == 0.5
    assert metrics["specificity"].value == 1
    assert metrics["accuracy_positive"].value == 0
    assert metrics["balanced_accuracy"].value == 0.25


@pytest.mark.parametrize(("positive", "said"), [([], "no class"), ([0, 1, 2], "every class")])
def test_where_no_answer_could_be_wrong_there_is_no_rate(positive: list[int], said: str) -> None:
    table = predictions(n=30, patients=0, n_classes=3, eps_px=())
    metrics = summarise(table, KNOWN, list("abc"), positive, n_boot=20)[0].metrics
    for name in ("sensitivity", "specificity"):
        assert (metrics[name].value, metrics[name].n) == (None, 0)
        assert metrics[name].reason == f"{said} counts as positive"
    assert metrics["accuracy"].value is not None


def test_patients_give_intervals_of_their_own_beside_wilsons_of_images() -> None:
    table = predictions(n=200, patients=40)
    known = summarise(table, KNOWN, BINARY, [1], n_boot=200)[-1]
    unknown = summarise(predictions(n=200, patients=0), KNOWN, BINARY, [1], n_boot=200)[-1]
    assert known.n_patients == 39  # one of 40 got no image
    last = table[table["condition"] == known.condition].reset_index()
    patient = last["patient"].str[1:].to_numpy(dtype=np.int64)
    positive = (last["target"] == 1).to_numpy()
    right = (last["prediction"] == last["target"]).to_numpy()
    score = last["p_1"].to_numpy()
    expected = {
        "accuracy": ("patient wilson", rate_interval(right, patient)),
        "specificity": ("patient wilson", rate_interval(right[~positive], patient[~positive])),
        "auroc": ("patient score", auroc_interval(ranking(score, positive, patient, 40))),
    }
    for name, (kind, ends) in expected.items():
        found = known.metrics[name]
        assert found.ci_kind == kind
        assert (found.ci_low, found.ci_high) == pytest.approx(ends, abs=1e-9)
    entry = known.metrics["accuracy"]
    # patients differ in how hard their images are, so counting images as independent is too sure
    width = number(entry.wilson_high) - number(entry.wilson_low)
    assert number(entry.ci_high) - number(entry.ci_low) > width
    assert unknown.n_patients is None
    alone = unknown.metrics["accuracy"]
    assert (alone.ci_low, alone.ci_high) == wilson(number(alone.k), 200)
    kinds = {name: entry.ci_kind for name, entry in unknown.metrics.items()}
    assert (kinds["accuracy"], kinds["balanced_accuracy"]) == ("wilson", "mean of wilson")
    assert (kinds["auroc"], kinds["ece"]) == ("score", "image bootstrap")


def test_a_perfect_model_does_not_get_an_interval_without_width() -> None:
    table = predictions(n=60, patients=30, eps_px=())
    table["prediction"] = table["target"]
    table["p_1"] = 0.1 + 0.8 * table["target"]
    table["p_0"] = 1 - table["p_1"]
    metrics = summarise(table, KNOWN, BINARY, [1], n_boot=100)[0].metrics
    kinds = {
        "accuracy": "patient wilson",
        "balanced_accuracy": "mean of patient wilson",
        "auroc": "patient score",
    }
    for name, kind in kinds.items():
        assert metrics[name].value == 1
        assert number(metrics[name].ci_low) < 0.97
        assert metrics[name].ci_kind == kind


def test_undefined_metrics_say_why() -> None:
    table = predictions(n=12, patients=0)
    table = table[table["target"] == 0]
    table["prediction"] = 1
    metrics = summarise(table, KNOWN, BINARY, [1], n_boot=20)[-1].metrics
    assert metrics["sensitivity"].reason == "no positive images"
    assert metrics["auroc"].reason == "no positive images"
    assert metrics["attack_success"].reason == "no image was right when clean"
    assert metrics["attack_success"].value is None
    assert metrics["specificity"].value == 0


def test_a_probability_that_is_not_finite_undefines_what_rests_on_it() -> None:
    table = predictions(n=12)
    table.loc[0, "p_0"] = np.nan
    metrics = summarise(table, KNOWN, BINARY, [1], n_boot=20)[0].metrics
    for name in ("auroc", "ece"):
        assert metrics[name].reason == "some probabilities are not finite"
    assert metrics["accuracy"].value is not None


def test_a_perturbation_may_cover_some_of_the_images() -> None:
    table = predictions(n=20, eps_px=(1,))
    table = table[(table["condition"] == CLEAN.id) | (table["index"] < 5)]
    clean, attacked = summarise(table, KNOWN, BINARY, [1], n_boot=20)
    assert (clean.n, attacked.n) == (20, 5)


def test_clean_stands_first_and_nothing_gives_nothing() -> None:
    table = predictions(n=5, variants=("noisy", "clean"))
    names = [(row.batchnorm, row.condition) for row in summarise(table, KNOWN, BINARY, [1])]
    assert names == [
        (variant, name)
        for variant in ("clean", "noisy")
        for name in ("clean", *(fgsm(eps).id for eps in (0, 1, 4)))
    ]
    assert summarise(table.iloc[:0], KNOWN, BINARY, [1]) == []


def _drop_column(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="p_1")


def _drop_clean(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["condition"] != CLEAN.id) | (table["index"] > 0)]


def _double(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.iloc[:1]])


def _odd_class(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(target=7)


def _no_condition(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(condition=None)


def _strange_condition(table: pd.DataFrame) -> pd.DataFrame:
    return table.replace({"condition": {fgsm(4).id: "bim_linf_4"}})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop_column, "lacks the column.*p_1"),
        (_drop_clean, "'image-0000' has predictions under 'fgsm_linf_0' but none when clean"),
        (_double, "'image-0000' occurs twice under 'clean'"),
        (_odd_class, "target holds class 7"),
        (_no_condition, "'condition' .* empty cells"),
        (_strange_condition, "'bim_linf_4', which is none of the conditions"),
    ],
)
def test_mistakes_are_named(spoil: Any, message: str) -> None:
    with pytest.raises(BcadvError, match=message):
        summarise(spoil(predictions(n=3)), KNOWN, BINARY, [1])


def test_two_thousand_images_and_resamples_take_about_a_second_a_row() -> None:
    table = predictions(n=2000, patients=80, eps_px=())
    start = time.process_time()
    summarise(table, KNOWN, BINARY, [1], n_boot=2000)
    assert time.process_time() - start < 5


def test_patients_that_do_not_bear_on_a_rate_do_not_make_it_sure() -> None:
    """Five of all patients have positive images."""
    table = predictions(n=200, patients=40, eps_px=())
    ill = sorted(table.loc[table["target"] == 1, "patient"].unique())[:5]
    table = table[(table["target"] == 0) | table["patient"].isin(ill)].reset_index(drop=True)
    missed = table.index[table["target"] == 1][::3]
    table.loc[missed, "prediction"] = 0
    metrics = summarise(table, KNOWN, BINARY, [1], n_boot=200)[0].metrics
    low, high = (
        number(end) for end in (metrics["sensitivity"].ci_low, metrics["sensitivity"].ci_high)
    )
    assert high - low > 0.4
    low, high = (number(end) for end in (metrics["auroc"].ci_low, metrics["auroc"].ci_high))
    assert high - low > 0.15


def test_the_calibration_error_has_its_own_interval() -> None:
    table = predictions(n=60, patients=0, eps_px=())
    entry = summarise(table, KNOWN, BINARY, [1], n_boot=200)[0].metrics["ece"]
    confidence = table[["p_0", "p_1"]].max(axis=1).to_numpy()
    right = (table["prediction"] == table["target"]).to_numpy()
    found = gaps(confidence[:, None], right[:, None], np.arange(60), 60)
    [ends] = calibration_intervals([found], 200)
    assert (entry.ci_low, entry.ci_high) == pytest.approx(ends)
    assert 0 < number(entry.value) < number(entry.ci_high)


def test_clean_answers_under_other_statistics_do_not_count() -> None:
    table = predictions(n=12, patients=0, eps_px=(1,))
    clean = table[table["condition"] == CLEAN.id]
    pieces = [("as_trained", CLEAN.id, clean), ("clean", fgsm(1).id, table.drop(clean.index))]
    with pytest.raises(BcadvError, match="none when clean"):
        summarise(pieces, KNOWN, BINARY, [1], n_boot=20)
