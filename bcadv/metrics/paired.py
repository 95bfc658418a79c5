"""Whether a model is right more often under one condition than under another, image by image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, stdtr

from bcadv.metrics.clinical import Floats
from bcadv.metrics.clustered import between, drawn, effective, student
from bcadv.metrics.intervals import LEVEL

_NONE = 1e-12
"""A variance below is that of rounding."""


@dataclass(frozen=True)
class Rise:
    """A one-sided comparison on the same images.

    Attributes:
        p: of so many more images right if nothing had changed, times the number of comparisons.
        gained: images right only after.
        lost: images right only before.
    """

    p: float
    gained: int
    lost: int


def rises(before: NDArray[np.bool_], after: NDArray[np.bool_], *, comparisons: int = 1) -> Rise:
    """Tests whether more images are right after than before (exact McNemar test, one-sided).

    One image of a thousand that turns right is no rise. Images are taken for independent; several
    of one patient make the test too quick to see a rise, which here is the safe side.

    Args:
        before: whether each image is right, shape (n,).
        after: the same images, later.
        comparisons: how many are made beside each other (Bonferroni).
    """
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    # At least so many of the images that changed, were each a fair coin.
    p = float(bdtrc(gained - 1, gained + lost, 0.5)) if gained else 1.0
    return Rise(min(1.0, comparisons * p), gained, lost)


@dataclass(frozen=True)
class Gap:
    """How much more often one model is right than another on the same images.

    Attributes:
        low: lower end of the interval of the difference.
        high: upper end.
        p: of a difference at least as large if there were none, two-sided; below 1 minus the level
            where the interval leaves 0 out, and only there.
    """

    low: float
    high: float
    p: float


def paired_gap(
    gained: Floats,
    lost: Floats,
    weights: Floats,
    *,
    influence: Floats | None = None,
    independent: float = 0.0,
    level: float = LEVEL,
) -> Gap:
    """Interval and test of the difference of two shares on the same images.

    Bonett & Price 2012 for the effective number of images: one image more is taken to be gained and
    one to be lost, so that the interval keeps a width where nothing differs.

    Args:
        gained: of each patient, the share of all images that A alone has right, (patients,).
        lost: that B alone has right, likewise.
        weights: share of all images that are of each patient, summing to 1.
        influence: of each patient on the difference; ``None``: what follows from the others.
        independent: variance if images were independent, which the one found is at least.
        level: confidence level in (0, 1).
    """
    up, down = float(gained.sum()), float(lost.sum())
    value = up - down
    patients = effective(weights)
    quantile = student(patients - 1, level)
    if math.isinf(quantile):
        return Gap(-1.0, 1.0, 1.0)
    units, of_images = patients, up + down - value**2
    if of_images > _NONE:
        moved = gained - lost - value * weights if influence is None else influence
        variance = max(between(moved, weights), independent)
        units = of_images / drawn(variance, of_images / patients, effective(gained + lost))
    more, less = ((units * share + 1) / (units + 2) for share in (up, down))
    centre = more - less
    error = math.sqrt((more + less - centre**2) / (units + 2))
    reach = quantile * error
    p = 2 * float(stdtr(patients - 1, -abs(centre) / error))
    low, high = max(-1.0, min(centre - reach, value)), min(1.0, max(centre + reach, value))
    return Gap(low, high, min(1.0, p))


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values adjusted for their number: that any below a level is wrong has at most its chance.

    Args:
        p: of any tests, however they depend on each other, shape (m,).

    Returns:
        As many, in the same order, at most 1 (Holm 1979).
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
