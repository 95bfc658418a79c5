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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcadv.metrics.clinical import CALIBRATION_BINS, Floats, Integers, Mask
from bcadv.metrics.clustered import effective, student
from bcadv.metrics.intervals import LEVEL, Interval

N_BOOT = 1000

_CHUNK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Gaps:
    """What the calibration error of one test set sums up, by patients.

    Attributes:
        sums: of right minus confidence, of each patient under each condition in each bin,
            (patients, conditions, bins).
        images: of each patient, (patients,).
    """

    sums: Floats
    images: Floats

    def error(self, times: Floats) -> Floats:
        """The calibration error where patients occur so often, (b, patients) -> (b, conditions)."""
        count, conditions, bins = self.sums.shape
        drawn = (times @ self.sums.reshape(count, -1)).reshape(-1, conditions, bins)
        found: Floats = np.abs(drawn).sum(axis=2)
        return found


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
    return Gaps(np.stack(sums, axis=1), images)


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
    count, conditions = of[0].sums.shape[:2]
    patients = effective(np.sum([each.images / each.images.sum() for each in of], axis=0))
    quantile = student(patients - 1, level)
    if math.isinf(quantile):
        return [(0.0, 1.0)] * conditions
    # A resample varies less than a new sample does, the more so the fewer patients there are.
    wider = quantile / student(math.inf, level) * math.sqrt(patients / (patients - 1))
    once = np.ones((1, count))
    value = np.mean([each.error(once)[0] / each.images.sum() for each in of], axis=0)
    resampled, chance = [], []
    for times, signs in _draws(count, n_boot, seed):
        # A seed may have no image of the patients drawn, and then no error.
        drawn = [np.maximum(times @ each.images, 1)[:, None] for each in of]
        pairs = list(zip(of, drawn, strict=True))
        resampled.append(np.mean([each.error(times) / images for each, images in pairs], axis=0))
        chance.append(np.mean([each.error(signs) / each.images.sum() for each in of], axis=0))
    again, alone = np.concatenate(resampled), np.concatenate(chance)
    mean, tail = again.mean(axis=0), (1 - level) / 2
    added = mean - value
    lower, upper = wider * (np.quantile(again, [tail, 1 - tail], axis=0) - mean)
    low = value - (added + np.maximum(added, alone.mean(axis=0))) / 2 + lower
    low[value <= np.quantile(alone, 1 - tail, axis=0)] = 0
    ends = np.clip([np.minimum(low, value), np.maximum(value - added + upper, value)], 0, 1)
    return [(float(one), float(other)) for one, other in ends.T]


def _draws(count: int, n_boot: int, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """How often each patient is drawn, and its random sign, some resamples at a time."""
    # Two streams, so that nothing depends on how many are drawn at a time.
    which, turned = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    step = max(1, _CHUNK_BYTES // (8 * count))
    for start in range(0, n_boot, step):
        size = min(step, n_boot - start)
        times = which.multinomial(count, np.full(count, 1 / count), size=size)
        signs = 2 * turned.integers(0, 2, size=(size, count)) - 1
        yield times.astype(np.float64), signs.astype(np.float64)
