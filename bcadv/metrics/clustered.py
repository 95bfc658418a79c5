"""Intervals from a few patients with several images each, in closed form.

Images of one patient resemble each other, so the variance of an estimate is summed over patients,
not over images (the sandwich estimate for clustered data, with the small-sample weights of Bell &
McCaffrey 2002, "CR2"), and its quantile is Student's, for as many patients as there are. A
percentile bootstrap over patients is too narrow where they are few. Three things keep the
intervals from a false certainty:

- Images of one patient are never taken to be *more* unlike each other than images of several: the
  variance is at least that of independent images.
- Where few patients bear the rarer answer (say, the wrong images), how alike their images are is
  not known either, and the variance is drawn towards that of patients who are wholly right or
  wholly wrong.
- The ends solve a score equation (Wilson 1927), or have images added (Bonett & Price 2012), so that
  no interval collapses where all is right, or nothing differs.

`python -m tests.metrics.coverage` simulates how often they hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from bcadv.metrics.clinical import Floats, Integers, Mask
from bcadv.metrics.intervals import LEVEL, Interval

PRIOR = 3.0
"""Weight of the largest variance that there can be, beside the squared number of patients who bear
the rarer answer. Less covers too little at rates of 0.95, more is wider for nothing."""

_BEYOND = 1e6
"""A quantile from here on says nothing, and its square may be no number."""


def effective(amounts: Floats) -> float:
    """How many patients count (Kish 1965): all where they have alike, few where few have most.

    Args:
        amounts: of each patient, not negative, shape (patients,).

    Returns:
        Squared sum over sum of squares: from 1 to the number of patients; 0 where all are 0.
    """
    squares = float(np.square(amounts).sum())
    return float(amounts.sum()) ** 2 / squares if squares > 0 else 0.0


def student(freedom: float, level: float = LEVEL) -> float:
    """Student's two-sided quantile; infinite where there is no freedom."""
    found = float(stdtrit(freedom, (1 + level) / 2)) if freedom > 0 else math.inf
    return found if found < _BEYOND else math.inf


def between(influence: Floats, weights: Floats) -> float:
    """Variance of an estimate by what each patient does to it.

    Args:
        influence: of each patient on the estimate, summing to 0, shape (patients,).
        weights: share of the estimate that rests on each, summing to 1; none is 1.
    """
    return float((np.square(influence) / (1 - weights)).sum())


def drawn(variance: float, largest: float, bearing: float) -> float:
    """The variance, drawn towards the largest where few patients bear the rarer answer.

    Args:
        variance: as found.
        largest: that of patients who are alike throughout.
        bearing: effective number of patients who bear the rarer answer.
    """
    pulled = (bearing**2 * variance + PRIOR * largest) / (bearing**2 + PRIOR)
    return max(variance, pulled)


def share_interval(
    value: float,
    hits: Floats,
    weights: Floats,
    *,
    influence: Floats | None = None,
    independent: float = 0.0,
    level: float = LEVEL,
) -> Interval:
    """Interval of a share of images, or of a mean over patients of such shares.

    Wilson's interval for the effective number of images, that whose binomial variance is the one
    found between patients (as Dean & Pagano 2015 do for clustered surveys).

    Args:
        value: the share, in [0, 1].
        hits: what each patient adds to it, summing to ``value``, shape (patients,).
        weights: the most that each could add, summing to 1.
        influence: of each patient on the share; ``None``: ``hits - value * weights``.
        independent: variance if images were independent, which the one found is at least.
        level: confidence level in (0, 1).
    """
    patients = effective(weights)
    quantile = student(patients - 1, level)
    if math.isinf(quantile):
        # A patient alone says nothing of how patients differ.
        return 0.0, 1.0
    binomial = value * (1 - value)
    units = patients
    if binomial > 0:
        moved = hits - value * weights if influence is None else influence
        largest = binomial / patients
        # That of the rarer answer is the smaller, or nearly; of both, no answer is preferred.
        bearing = min(effective(hits), effective(weights - hits))
        variance = max(between(moved, weights), independent)
        units = binomial / min(largest, drawn(variance, largest, bearing))
    spread = quantile**2 / units
    centre = (value + spread / 2) / (1 + spread)
    reach = math.sqrt(spread * (binomial + spread / 4)) / (1 + spread)
    return max(0.0, min(centre - reach, value)), min(1.0, max(centre + reach, value))


def rate_interval(hit: Mask, patient: Integers, level: float = LEVEL) -> Interval:
    """Interval of the share of images that are hit, of which there must be one.

    Args:
        hit: shape (n,).
        patient: number of each image's patient, shape (n,).
        level: confidence level in (0, 1).
    """
    place = np.unique(patient, return_inverse=True)[1]
    n, value = len(hit), float(hit.mean())
    return share_interval(
        value,
        np.bincount(place, hit) / n,
        np.bincount(place) / n,
        independent=value * (1 - value) / n,
        level=level,
    )


def mean_of_parts(
    values: Sequence[float], intervals: Sequence[Interval], influences: Floats
) -> Interval:
    """Interval of the mean of several estimates from their own intervals.

    The method of variance estimates recovery (Zou & Donner 2008): the distances of the ends stand
    for standard deviations, so that skewness and boundaries are kept.

    Args:
        values: k estimates.
        intervals: of each.
        influences: of each patient on each, (k, patients): how the estimates vary together.
    """
    norms = np.sqrt(np.square(influences).sum(axis=1))
    norms[norms == 0] = np.inf
    unit = influences / norms[:, None]
    together = np.clip(unit @ unit.T, -1, 1)
    np.fill_diagonal(together, 1)
    value = float(np.mean(values))
    reach = []
    for end in (0, 1):
        each = np.array([abs(v - ends[end]) for v, ends in zip(values, intervals, strict=True)])
        reach.append(math.sqrt(max(0.0, float(each @ together @ each))) / len(values))
    return max(0.0, value - reach[0]), min(1.0, value + reach[1])
