"""The AUROC of images of patients, with an interval in closed form; see `clustered`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from bcadv.metrics.clinical import Floats, Integers, Mask
from bcadv.metrics.clustered import between, drawn, effective, student
from bcadv.metrics.intervals import LEVEL, Interval

_EDGE = 1e-12


@dataclass(frozen=True)
class Ranking:
    """An AUROC by patients, or the mean of several.

    Attributes:
        value: the AUROC.
        influence: of each patient's positive and negative images on it, (2, patients).
        weights: share of the positive and of the negative images that each patient has, likewise.
        lost: what each patient's positive (negative) images lose to negative (positive) ones, as a
            part of 1 minus the AUROC, likewise.
        independent: variance if images were independent.
    """

    value: float
    influence: Floats
    weights: Floats
    lost: Floats
    independent: float


def ranking(score: NDArray[np.floating], positive: Mask, patient: Integers, count: int) -> Ranking:
    """Looks at an AUROC by patients (DeLong et al. 1988; Obuchowski 1997).

    Args:
        score: higher means more positive, shape (n,).
        positive: shape (n,); both kinds must occur.
        patient: number of each image's patient, 0 to ``count`` - 1, shape (n,).
        count: of patients.
    """
    value, influence = auroc_influence(score, positive)
    found = np.zeros((3, 2, count))
    independent = 0.0
    for side, chosen in enumerate((positive, ~positive)):
        n, number = int(chosen.sum()), patient[chosen]
        # An image's influence is what it wins, less the AUROC, over the number of its kind.
        lost = (1 - value) / n - influence[chosen]
        for row, amount in zip(found, (influence[chosen], np.full(n, 1 / n), lost), strict=True):
            row[side] = np.bincount(number, amount, count)
        independent += float(np.square(influence[chosen]).sum()) * n / max(1, n - 1)
    return Ranking(value, found[0], found[1], found[2], independent)


def mean_ranking(of: Sequence[Ranking], independent: float) -> Ranking:
    """The mean of several AUROCs of the same patients, say of several seeds.

    Args:
        of: at least one.
        independent: variance of the mean if images were independent.
    """
    return Ranking(
        float(np.mean([each.value for each in of])),
        np.mean([each.influence for each in of], axis=0),
        np.mean([each.weights for each in of], axis=0),
        np.mean([each.lost for each in of], axis=0),
        independent,
    )


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


def auroc_interval(of: Ranking, level: float = LEVEL) -> Interval:
    """Interval of an AUROC, or of a mean of several.

    A score interval (Newcombe 2006, part 2, method 5): the variance depends on the true AUROC as
    Hanley & McNeil 1982 have it, and is as large at the value found as it was found to be between
    patients (Obuchowski 1997). Unlike an interval of the logit it does not collapse at 1. Degrees
    of freedom are Satterthwaite's, for the patients with positive and with negative images.
    """
    patients = [effective(weights) for weights in of.weights]
    if min(patients) - 1 < _EDGE:
        return 0.0, 1.0
    curve = _hanley_mcneil(*patients)
    sides = [between(*side) for side in zip(of.influence, of.weights, strict=True)]
    if not sum(sides) > 0:
        sides = [1 / number for number in patients]
    parts = [side**2 / (number - 1) for side, number in zip(sides, patients, strict=True)]
    quantile = student(sum(sides) ** 2 / sum(parts), level)
    if math.isinf(quantile):
        return 0.0, 1.0
    scale, largest = 1.0, curve(of.value)
    if largest > 0:
        # Patients with images of both kinds move both sides at once.
        both = 2 * float((of.influence[0] * of.influence[1]).sum())
        outcomes = (*of.lost, *(of.weights - of.lost))
        bearing = min(effective(np.maximum(side, 0.0)) for side in outcomes)
        variance = max(sum(sides) + both, of.independent)
        scale = drawn(variance, largest, bearing) / largest
    return score_ends(of.value, lambda theta: scale * curve(theta), quantile)


def _hanley_mcneil(positive: float, negative: float) -> Callable[[float], float]:
    """Variance of an AUROC for so many units, as a function of the true one."""

    def variance(theta: float) -> float:
        spread = (1 - theta) / (2 - theta) + theta / (1 + theta)
        others = (positive + negative) / 2 - 1
        return theta * (1 - theta) * (1 + others * spread) / (positive * negative)

    return variance


def score_ends(value: float, variance: Callable[[float], float], quantile: float) -> Interval:
    """Ends of a score interval: the thetas whose distance to the value is the quantile's.

    Args:
        value: the estimate, in [0, 1].
        variance: of the estimate as a function of theta; 0 at 0 and at 1, positive between.
        quantile: how many standard deviations away the ends are.
    """

    def excess(theta: float) -> float:
        return abs(theta - value) - quantile * math.sqrt(max(0.0, variance(theta)))

    def end(limit: float) -> float:
        # The excess is 0 at 0 and at 1 themselves; the root wanted lies inside, if there is one.
        outermost, inside = abs(limit - _EDGE), min(max(value, _EDGE), 1 - _EDGE)
        if abs(value - limit) <= _EDGE or excess(outermost) <= 0:
            return limit
        return float(brentq(excess, min(inside, outermost), max(inside, outermost)))

    return end(0.0), end(1.0)
