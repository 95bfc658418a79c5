"""The patient recognition rate (Spanhol et al. 2016), with an interval.

The mean over patients of the share of a patient's images that are right: BreakHis' own metric. A
patient with many images counts no more than one with few.
"""

from __future__ import annotations

import numpy as np

from bcadv.metrics.clinical import Floats, Integers, Mask
from bcadv.metrics.clustered import share_interval
from bcadv.metrics.intervals import Interval
from bcadv.results.schema import Measure

RECOGNITION = "patient_recognition_rate"
KIND = "patient wilson"
"""How its interval was made."""


def recognition(right: Mask, patient: Integers) -> Measure:
    """Measures the patient recognition rate.

    Args:
        right: whether each image is called its class, shape (n,).
        patient: number of each image's patient, below 0 where it is unknown, shape (n,). Such
            images are left out: they cannot stand for a patient.

    Returns:
        The rate; ``n`` is the number of known patients.
    """
    known = patient >= 0
    if not known.any():
        return Measure(value=None, n=0, reason="no patient is known")
    numbers, place = np.unique(patient[known], return_inverse=True)
    shares = shares_right(right[known][:, None], place, len(numbers))[:, 0]
    value = float(shares.mean())
    low, high = recognition_interval(value, shares, np.ones(len(shares)))
    return Measure(value=value, n=len(shares), ci_low=low, ci_high=high, ci_kind=KIND)


def shares_right(right: Mask, patient: Integers, count: int) -> Floats:
    """The share of each patient's images that are right.

    Args:
        right: under each of m conditions, shape (n, m).
        patient: number of each image's patient, 0 to ``count`` - 1, shape (n,).
        count: of patients.

    Returns:
        Shape (count, m); nan for a patient without an image.
    """
    images = np.bincount(patient, minlength=count).astype(np.float64)
    images[images == 0] = np.nan
    hits = [np.bincount(patient, column, minlength=count) for column in right.T]
    shares: Floats = np.stack(hits, axis=1) / images[:, None]
    return shares


def recognition_interval(value: float, shares: Floats, weights: Floats) -> Interval:
    """95 % interval of a weighted mean over patients of shares in [0, 1].

    That of `clustered.share_interval`, where each patient counts as it is told to, not by the
    number of its images.

    Args:
        value: the weighted mean.
        shares: of each patient's images that are right, shape (patients,), not empty.
        weights: how much each patient counts, positive, shape (patients,).
    """
    weights = weights / weights.sum()
    return share_interval(value, weights * shares, weights)
