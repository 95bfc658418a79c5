"""What a clinic asks of one set of predictions, as functions of image weights.

Every function maps weights of shape (b, n), one row per resample, to values of shape (b,), so that
one call serves the estimate (weights of one) and any resamples. Undefined is nan.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

CALIBRATION_BINS = 15
"""Equal-width confidence bins, as in Guo et al. 2017."""


def share(part: Floats, whole: Floats) -> Floats:
    """``part / whole``, and nan where ``whole`` is 0. Any shape."""
    quotient: Floats = np.full(np.shape(part), np.nan)
    return np.divide(part, whole, out=quotient, where=whole != 0)


def recalls(target: Integers, prediction: Integers, weights: Floats) -> Floats:
    """Recall of every class that occurs in ``target``, in ascending order of class.

    Args:
        target: class indices, shape (n,).
        prediction: class indices, shape (n,).
        weights: shape (b, n).

    Returns:
        Shape (b, number of classes that occur); nan where a resample lacks the class.
    """
    base = target[:, None] == np.unique(target)  # (n, classes)
    hit = base & (prediction == target)[:, None]
    return share(weights @ hit.astype(np.float64), weights @ base.astype(np.float64))


def balanced_accuracy(target: Integers, prediction: Integers, weights: Floats) -> Floats:
    """Mean recall over the classes that occur in ``target``; arguments as for `recalls`."""
    values: Floats = recalls(target, prediction, weights).mean(axis=1)
    return values


def auroc(score: Floats, positive: Mask, weights: Floats) -> Floats:
    """Area under the ROC curve: how often a positive image outscores a negative one, ties half.

    The weighted Mann-Whitney statistic (Hanley & McNeil 1982), by rank sums.

    Args:
        score: higher means more positive, shape (n,).
        positive: shape (n,).
        weights: shape (b, n).

    Returns:
        Shape (b,); nan where a resample lacks positive or negative images.
    """
    negative_order = np.flatnonzero(~positive)
    negative_order = negative_order[np.argsort(score[negative_order], kind="stable")]
    ranked = score[negative_order]
    beaten = np.zeros((len(weights), len(ranked) + 1))  # weight of the i lowest negatives
    np.cumsum(weights[:, negative_order], axis=1, out=beaten[:, 1:])
    below = np.searchsorted(ranked, score[positive], side="left")
    not_above = np.searchsorted(ranked, score[positive], side="right")
    weight = weights[:, positive]
    won = np.einsum("bp,bp->b", weight, beaten[:, below])
    won_or_tied = np.einsum("bp,bp->b", weight, beaten[:, not_above])
    return share((won + won_or_tied) / 2, weight.sum(axis=1) * beaten[:, -1])


def macro_auroc(probability: Floats, target: Integers, weights: Floats) -> Floats:
    """Mean one-versus-rest AUROC over the classes that occur in ``target``.

    Args:
        probability: shape (n, classes).
        target: class indices, shape (n,).
        weights: shape (b, n).
    """
    each = [auroc(probability[:, c], target == c, weights) for c in np.unique(target)]
    values: Floats = np.mean(each, axis=0)
    return values


def calibration_error(
    confidence: Floats, right: Mask, weights: Floats, bins: int = CALIBRATION_BINS
) -> Floats:
    """Expected calibration error of the top label (Guo et al. 2017, equation 3).

    Args:
        confidence: probability of the likeliest class, in [0, 1], shape (n,).
        right: whether the prediction is right, shape (n,).
        weights: shape (b, n).
        bins: number of equal-width bins; each holds its lower edge, the last one also 1.
    """
    edges = np.linspace(0, 1, bins + 1)
    number = np.clip(np.digitize(confidence, edges) - 1, 0, bins - 1)
    gap = np.zeros((len(confidence), bins))
    gap[np.arange(len(confidence)), number] = right - confidence
    return share(np.abs(weights @ gap).sum(axis=1), weights.sum(axis=1))
