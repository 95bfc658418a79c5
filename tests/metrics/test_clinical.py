from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_calibration_error,
)

from bcadv.metrics.clinical import (
    auroc,
    balanced_accuracy,
    calibration_error,
    macro_auroc,
    recalls,
)


def _multiclass(seed: int, n: int = 200, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = random.integers(0, k, n)
    logits = random.normal(size=(n, k))
    logits[np.arange(n), target] += 1
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), target


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 40),
    levels=st.integers(1, 6),  # few score levels: many ties
)
def test_auroc_agrees_with_scikit_learn_under_weights_and_ties(
    seed: int, n: int, levels: int
) -> None:
    random = np.random.default_rng(seed)
    score = random.integers(0, levels, n) / levels
    positive = random.random(n) < 0.5
    positive[:2] = [True, False]
    weights = random.integers(0, 3, (3, n)).astype(float)
    weights[:, :2] += 1
    values = auroc(score, positive, weights)
    for value, weight in zip(values, weights, strict=True):
        assert value == pytest.approx(roc_auc_score(positive, score, sample_weight=weight))


def test_auroc_agrees_with_torchmetrics() -> None:
    probability, target = _multiclass(1, k=2)
    value = auroc(probability[:, 1], target == 1, np.ones((1, len(target))))[0]
    reference = binary_auroc(torch.from_numpy(probability[:, 1]), torch.from_numpy(target))
    assert value == pytest.approx(float(reference), abs=1e-6)


def test_auroc_is_undefined_where_a_resample_lacks_a_side() -> None:
    weights = np.array([[1.0, 1, 0], [0, 0, 1], [1, 1, 1]])
    values = auroc(np.array([0.2, 0.9, 0.5]), np.array([True, True, False]), weights)
    assert np.isnan(values[:2]).all()
    assert values[2] == 0.5


def test_macro_auroc_agrees_with_torchmetrics() -> None:
    probability, target = _multiclass(2)
    value = macro_auroc(probability, target, np.ones((1, len(target))))[0]
    reference = multiclass_auroc(
        torch.from_numpy(probability), torch.from_numpy(target), num_classes=4, average="macro"
    )
    assert value == pytest.approx(float(reference), abs=1e-6)


@pytest.mark.parametrize("k", [2, 4])
def test_calibration_error_agrees_with_torchmetrics(k: int) -> None:
    probability, target = _multiclass(3, k=k)
    right = probability.argmax(axis=1) == target
    value = calibration_error(probability.max(axis=1), right, np.ones((1, len(target))))[0]
    reference = multiclass_calibration_error(
        torch.from_numpy(probability),
        torch.from_numpy(target),
        num_classes=k,
        n_bins=15,
        norm="l1",
    )
    assert value == pytest.approx(float(reference), abs=1e-6)


def test_calibration_error_of_a_sure_model_is_its_error_rate() -> None:
    right = np.array([True, True, True, False])
    assert calibration_error(np.ones(4), right, np.ones((1, 4)))[0] == 0.25


def test_balanced_accuracy_agrees_with_torchmetrics() -> None:
    probability, target = _multiclass(4)
    prediction = probability.argmax(axis=1)
    value = balanced_accuracy(target, prediction, np.ones((1, len(target))))[0]
    reference = multiclass_accuracy(
        torch.from_numpy(prediction), torch.from_numpy(target), num_classes=4, average="macro"
    )
    assert value == pytest.approx(float(reference), abs=1e-6)


def test_recalls_count_only_classes_that_occur() -> None:
    target, prediction = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 2])
    assert recalls(target, prediction, np.ones((1, 4))).tolist() == [[0.5, 1.0]]


@given(seed=st.integers(0, 10**6))
def test_whole_weights_mean_repeated_images(seed: int) -> None:
    random = np.random.default_rng(seed)
    probability, target = _multiclass(seed, n=30, k=3)
    weight = random.integers(0, 4, 30)
    weight[[np.argmax(target == c) for c in range(3)]] += 1  # no class vanishes
    repeated = np.repeat(np.arange(30), weight)
    prediction = probability.argmax(axis=1)

    def measure(rows: np.ndarray, weights: np.ndarray) -> list[float]:
        p, t, y = probability[rows], target[rows], prediction[rows]
        return [
            float(balanced_accuracy(t, y, weights)[0]),
            float(macro_auroc(p, t, weights)[0]),
            float(calibration_error(p.max(axis=1), y == t, weights)[0]),
        ]

    once = measure(np.arange(30), weight[None].astype(float))
    assert once == pytest.approx(measure(repeated, np.ones((1, len(repeated)))), nan_ok=True)
