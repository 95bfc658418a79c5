"""An interval of the expected calibration error, which chance alone pushes upwards.

The error sums up absolute gaps between confidence and share right, so that with few images it is
above 0 even where the model is calibrated: of 60 images by a tenth. How much of a measured value is
chance is estimated twice. Resampling patients adds chance once more (Efron & Tibshirani 1993,
section 10.3), too little of it where the gaps are small. Turning the gaps of patients at random
leaves nothing but chance (a wild bootstrap by clusters; Cameron, Gelbach & Miller 2008), more of it
than in a model with large gaps. The upper end takes the first off, the lower end the mean of the
two; it is 0 where chance alone may well have given the value. The interval holds the value itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bcadv.metrics.clinical import CALIBRATION_BINS, Floats, Integers, Mask
from bcadv.metrics.clustered import effective, student
from bcadv.metrics.intervals import LEVEL, Interval

N_BOOT = 1000


@dataclass(frozen=True)
class Gaps:
    """What the calibration error of one test set sums up, by patients.

    Attributes:
        sums: of right minus confidence, per condition, patient and bin, (conditions, patients, bins).
        images: of each patient, (patients,).
    """

    sums: Floats
    images: Floats


def gaps(confidence: NDArray[np.floating], right: Mask, patient: Integers, count: int) -> Gaps:
    """Sums up gaps by patients; bins are those of `clinical.calibration_error`.

    Args:
        confidence: probability of the likeliest class, (n, m) for m conditions.
        right: whether the prediction is right, (n, m).
        patient: number of each image's patient, 0 to ``count`` - 1, (n,).
        count: of patients.
    """
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    # As float64, so that a value on an edge falls into the same bin as in the job itself.
    exact = confidence.astype(np.float64)
    number = np.clip(np.digitize(exact, edges) - 1, 0, CALIBRATION_BINS - 1)
    cell = patient[:, None] * CALIBRATION_BINS + number
    size = count * CALIBRATION_BINS
    sums = [
        np.bincount(place, gap, size).reshape(count, CALIBRATION_BINS)
        for place, gap in zip(cell.T, (right - exact).T, strict=True)
    ]
    images = np.bincount(patient, minlength=count).astype(np.float64)
    return Gaps(np.array(sums), images)


def calibration_intervals(
    of: Sequence[Gaps], n_boot: int = N_BOOT, seed: int = 0, level: float = LEVEL
) -> list[Interval]:
    """Interval of the calibration error under each condition, or of its mean over several seeds.

    Args:
        of: of each seed, with the same patients and conditions.
        n_boot: number of resamples of patients.
        seed: same seed and patients, same resamples.
        level: confidence level in (0, 1).
    """
    count = len(of[0].images)
    patients = effective(np.sum([each.images / each.images.sum() for each in of], axis=0))
    quantile = student(patients - 1, level)
    if math.isinf(quantile):
        return [(0.0, 1.0)] * len(of[0].sums)
    times, signs = _resamples(count, n_boot, seed)
    # A resample varies less than a new sample does, the more so the fewer patients there are.
    wider = quantile / student(math.inf, level) * math.sqrt(patients / (patients - 1))
    tails = ((1 - level) / 2, (1 + level) / 2)
    ends = []
    for j in range(len(of[0].sums)):
        value, resampled, chance = np.zeros(1), np.zeros(n_boot), np.zeros(n_boot)
        for each in of:
            images = each.images.sum()
            drawn = np.maximum(times @ each.images, 1)  # a seed may have none of those drawn
            value += np.abs(each.sums[j].sum(axis=0)).sum() / images / len(of)
            resampled += np.abs(times @ each.sums[j]).sum(axis=1) / drawn / len(of)
            chance += np.abs(signs @ each.sums[j]).sum(axis=1) / images / len(of)
        measured, mean = float(value[0]), float(resampled.mean())
        added = mean - measured
        lower, upper = (wider * (float(end) - mean) for end in np.quantile(resampled, tails))
        low = measured - (added + max(added, float(chance.mean()))) / 2 + lower
        high = measured - added + upper
        if measured <= np.quantile(chance, tails[1]):
            low = 0.0
        ends.append((max(0.0, min(low, measured)), min(1.0, max(high, measured))))
    return ends


@lru_cache(maxsize=4)
def _resamples(count: int, n_boot: int, seed: int) -> tuple[Floats, Floats]:
    """How often each patient is drawn, and its random sign, both (n_boot, count)."""
    random = np.random.default_rng(seed)
    times = random.multinomial(count, np.full(count, 1 / count), size=n_boot).astype(np.float64)
    signs = random.choice([-1.0, 1.0], size=(n_boot, count))
    for array in (times, signs):
        array.flags.writeable = False
    return times, signs
