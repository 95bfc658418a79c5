"""One estimate from several seeds: their mean, with an interval from resampling patients.

Several models, one per seed, answer overlapping sets of test images. The estimate is the mean over
the seeds. Its interval resamples patients, each with all its images in the test sets of all seeds,
so that neither the images of a patient nor the repetitions of an image count as independent. The
models are taken as they are: what other seeds would have given is not part of the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import norm

from bcadv.metrics.clinical import CALIBRATION_BINS, Floats, Integers, Mask, share
from bcadv.metrics.intervals import LEVEL, Interval, cluster_bootstrap

N_BOOT = 1000

Small = NDArray[np.float32]


@dataclass(frozen=True)
class Clusters:
    """Patients of several test sets under common numbers, with resamples of them.

    Attributes:
        numbers: per seed, the number of each image's patient, (n,).
        count: of patients in all.
        weights: how often each patient occurs in each resample, (resamples, count).
    """

    numbers: tuple[Integers, ...]
    count: int
    weights: Small


def clusters(groups: Sequence[NDArray[np.object_]], n_boot: int = N_BOOT) -> Clusters:
    """Numbers the patients of several test sets and draws resamples.

    Args:
        groups: per seed, the patient of each image, (n,); the same name is the same patient.
        n_boot: number of resamples; the same patients get the same ones.
    """
    codes, names = pd.factorize(np.concatenate(list(groups)))
    ends = np.cumsum([len(group) for group in groups])
    return Clusters(
        tuple(np.split(codes.astype(np.int64), ends[:-1])),
        len(names),
        _resamples(len(names), n_boot),
    )


@lru_cache(maxsize=4)
def _resamples(count: int, n_boot: int) -> Small:
    """How often each of some patients is drawn; they depend on nothing but the numbers."""
    weights = cluster_bootstrap(np.arange(count), n_boot).astype(np.float32)
    weights.flags.writeable = False
    return weights


def resampled_sums(found: Clusters, seed: int, columns: NDArray[np.generic]) -> Floats:
    """Sums of image columns under every resample of patients.

    All columns at once is much quicker than one call each.

    Args:
        found: the patients.
        seed: position of the test set.
        columns: (n, m).

    Returns:
        Shape (resamples, m).
    """
    number = found.numbers[seed]
    member = csr_matrix(
        (np.ones(len(number), dtype=np.float32), (number, np.arange(len(number)))),
        shape=(found.count, len(number)),
    )
    of_patients = np.ascontiguousarray(member @ columns.astype(np.float32, order="C"))
    resampled: Floats = (found.weights @ of_patients).astype(np.float64)
    return resampled


def calibration_gaps(confidence: NDArray[np.float32], right: Mask) -> Small:
    """What the calibration error sums up; see `clinical.calibration_error`.

    The error is the sum over the bins of the absolute sums of gaps, over the number of images.

    Args:
        confidence: probability of the likeliest class, (n, m) for m conditions.
        right: whether the prediction is right, (n, m).

    Returns:
        Right minus confidence, in the bin of the confidence, else 0: (n, m, bins).
    """
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    # As float64, so that a value on an edge falls into the same bin as in the job itself.
    number = np.clip(np.digitize(confidence.astype(np.float64), edges) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.zeros((*confidence.shape, CALIBRATION_BINS), dtype=np.float32)
    np.put_along_axis(gaps, number[..., None], (right - confidence)[..., None], axis=2)
    return gaps


def percentiles(values: Floats, *, centre: Floats | None = None) -> Floats:
    """95 % percentile intervals of resampled values; nan where none is defined.

    Args:
        values: (resamples, m); nan is left out.
        centre: shift the ends so that the mean of the resamples lies here, (m,).

    Returns:
        Lower and upper ends, (2, m).
    """
    quantiles = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    undefined = np.isnan(values)
    ends = np.full((2, values.shape[1]), np.nan)
    whole = ~undefined.any(axis=0)
    ends[:, whole] = np.quantile(values[:, whole], quantiles, axis=0)
    for j in np.flatnonzero(~whole & ~undefined.all(axis=0)):
        ends[:, j] = np.quantile(values[~undefined[:, j], j], quantiles)
    if centre is not None:
        total = np.where(undefined, 0.0, values).sum(axis=0)
        ends += centre - share(total, (~undefined).sum(axis=0).astype(float))
    return ends


def auroc_influence(score: NDArray[np.floating], positive: Mask) -> tuple[float, Floats]:
    """AUROC, and how much each image moves it.

    The structural components of DeLong et al. 1988: for a positive image the share of negatives
    that it outscores (ties half), less the AUROC, over the number of positives; for a negative
    image likewise.

    Args:
        score: higher means more positive, (n,).
        positive: (n,); both kinds must occur.

    Returns:
        The AUROC and the influences, (n,), which sum to 0.
    """
    above, below = np.sort(score[~positive]), np.sort(score[positive])
    beaten = np.searchsorted(above, score[positive], side="left")
    beaten_or_tied = np.searchsorted(above, score[positive], side="right")
    lost = len(below) - np.searchsorted(below, score[~positive], side="right")
    lost_or_tied = len(below) - np.searchsorted(below, score[~positive], side="left")
    won_share = (beaten + beaten_or_tied) / 2 / len(above)
    lost_share = (lost + lost_or_tied) / 2 / len(below)
    value = float(won_share.mean())
    influence = np.empty(len(score))
    influence[positive] = (won_share - value) / len(below)
    influence[~positive] = (lost_share - value) / len(above)
    return value, influence


def auroc_interval(value: float, influence: Floats) -> Interval:
    """95 % interval of a mean AUROC from its influence per patient.

    The variance of Obuchowski 1997 for clustered data, on the logit scale, where an AUROC near 1
    has a skewed interval inside [0, 1]. No width where the influences are all 0, as at 1.

    Args:
        value: the mean AUROC.
        influence: of each patient on it, (patients,).
    """
    count = len(influence)
    if count < 2 or not 0 < value < 1:
        return value, value
    error = math.sqrt(count / (count - 1) * float(np.square(influence).sum()))
    logit = math.log(value / (1 - value))
    reach = float(norm.ppf((1 + LEVEL) / 2)) * error / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-(logit + sign * reach))) for sign in (-1, 1))
    return low, high
