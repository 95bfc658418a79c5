"""What needs no patients: Wilson's interval of a rate, and the exact paired test."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr
from scipy.stats import binomtest

LEVEL = 0.95
"""Confidence level of every interval in a result file."""

Interval: TypeAlias = tuple[float, float]


@lru_cache(maxsize=65536)
def wilson(k: int, n: int, level: float = LEVEL) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927).

    Args:
        k: number of successes, 0 to ``n``.
        n: number of trials; 0 gives ``(nan, nan)``.
        level: confidence level in (0, 1).
    """
    if n == 0:
        return math.nan, math.nan
    interval = binomtest(k, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> float:
    """Exact two-sided McNemar test of two models on the same images.

    Args:
        right_a: whether model A was right on each image, shape (n,).
        right_b: the same images under model B, shape (n,).

    Returns:
        The p-value, from the images on which exactly one model is right; 1 where there is none.
    """
    only_a = int(np.sum(right_a & ~right_b))
    only_b = int(np.sum(~right_a & right_b))
    # Under the null each such image is a fair coin, so both tails are alike.
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
