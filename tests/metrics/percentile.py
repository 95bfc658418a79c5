"""The percentile bootstrap over patients, which bcadv's intervals are held against."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bcadv.metrics.clinical import Floats
from bcadv.metrics.intervals import Interval, wilson


def bootstrap(
    statistic: Callable[[Floats], Floats],
    patients: int,
    n_boot: int,
    random: np.random.Generator,
) -> Interval:
    """95 % percentile interval (Field & Welsh 2007).

    Args:
        statistic: how often each patient occurs, (n_boot, patients) -> values, (n_boot,).
        patients: their number.
        n_boot: number of resamples.
        random: draws them.
    """
    times = random.multinomial(patients, np.full(patients, 1 / patients), size=n_boot)
    values = statistic(times.astype(np.float64))
    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def percentile_rate(
    hits: Floats, images: Floats, n_boot: int, random: np.random.Generator
) -> Interval:
    """Of a rate; with few patients or events the wider of it and of Wilson's for images.

    Args:
        hits: images of each patient that are counted, (patients,).
        images: of each patient, (patients,).
        n_boot: number of resamples.
        random: draws them.
    """
    ends = bootstrap(lambda times: (times @ hits) / (times @ images), len(hits), n_boot, random)
    k, n = int(hits.sum()), int(images.sum())
    if len(hits) < 10 or min(k, n - k) < 5:
        formula = wilson(k, n)
        return max(ends, formula, key=lambda of: of[1] - of[0])
    return ends
