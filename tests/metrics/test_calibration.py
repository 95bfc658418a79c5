from __future__ import annotations

import numpy as np
import pytest

from bcadv.metrics import calibration, clinical
from bcadv.metrics.calibration import Gaps, calibration_intervals, gaps

PATIENT = np.repeat(np.arange(15), 4)


def _gaps(seed: int, temperature: float, n: int = 60, conditions: int = 1) -> Gaps:
    """Of a model whose logits are so many times too large."""
    random = np.random.default_rng(seed)
    logit = 1.5 * random.normal(size=(n, conditions))
    said = 1 / (1 + np.exp(-temperature * logit))
    right = (said > 0.5) == (random.random((n, conditions)) < 1 / (1 + np.exp(-logit)))
    return gaps(np.maximum(said, 1 - said), right, np.arange(n) // 4, n // 4)


def test_gaps_sum_up_to_the_calibration_error() -> None:
    random = np.random.default_rng(1)
    confidence = random.uniform(0.5, 1, (60, 2)).astype(np.float32)
    confidence[:3, 0] = [1, 0.6, 0.8]
    right = random.random((60, 2)) < 0.7
    found = gaps(confidence, right, PATIENT, 15)
    times = random.integers(0, 3, (5, 15)).astype(float)
    for j in range(2):
        expected = clinical.calibration_error(
            confidence[:, j].astype(np.float64), right[:, j], times[:, PATIENT]
        )
        assert found.error(times)[:, j] / (times @ found.images) == pytest.approx(expected)


def test_what_chance_adds_is_taken_off() -> None:
    """The error of a calibrated model is chance alone; of one that is not, most of it is real."""
    lows = []
    for temperature in (1.0, 6.0):
        found = _gaps(0, temperature, n=400)
        value = float(found.error(np.ones((1, 100)))[0, 0]) / 400
        [(low, high)] = calibration_intervals([found], 400)
        assert low <= value <= high
        # A plain resample is pushed upwards, away from the value.
        random = np.random.default_rng(0)
        times = random.multinomial(100, np.full(100, 0.01), size=400).astype(float)
        drawn = found.error(times)[:, 0] / (times @ found.images)
        assert drawn.mean() > value
        assert high < np.quantile(drawn, 0.975)
        lows.append(low)
    assert lows[0] == 0
    assert lows[1] > 0.05


def test_conditions_stand_for_themselves_and_draws_may_be_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = _gaps(1, 3.0, conditions=3)
    whole = calibration_intervals([found], 100)
    for j in range(3):
        [alone] = calibration_intervals([Gaps(found.sums[:, [j]], found.images)], 100)
        assert alone == pytest.approx(whole[j])
    assert calibration_intervals([found, found], 100)[0] == pytest.approx(whole[0])
    monkeypatch.setattr(calibration, "_CHUNK_BYTES", 8 * 15 * 7)
    assert calibration_intervals([found], 100)[1] == pytest.approx(whole[1])
    assert calibration_intervals([found], 100, seed=1)[1] != whole[1]


def test_one_patient_says_nothing() -> None:
    assert calibration_intervals([_gaps(0, 1.0, n=4)], 50) == [(0, 1)]
