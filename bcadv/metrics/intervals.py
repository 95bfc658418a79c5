"""How sure we are: Wilson intervals, patient-clustered bootstrap, exact paired test.

Images of one patient resemble each other, so an interval that counts them as independent is too
narrow. Where patients are known they are resampled, not images (Field & Welsh 2007, "Bootstrapping
clustered data"). The bootstrap has a blind spot: where every image is right each resample is all
right too and the interval collapses to a point; with nearly all right, or with few patients, it
is too narrow.
`pick_interval` falls back on the wider of bootstrap and formula there, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import bdtr
from scipy.stats import binomtest, norm

LEVEL = 0.95
"""Confidence level of every interval in a result file."""

MIN_CLUSTERS = 10
"""Below this many resampled patients the bootstrap alone is not trusted."""

MIN_EVENTS = 5
"""Below this many images on the rarer side of a rate (say, wrong ones) it is not trusted either."""

Interval: TypeAlias = tuple[float, float]
Floats: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Floats], Floats]
"""Maps weights, shape (resamples, images), to values, shape (resamples,) or (resamples, m)."""

_CHUNK_BYTES = 8 * 2**20


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


def auroc_score_interval(
    value: float, n_positive: int, n_negative: int, level: float = LEVEL
) -> Interval:
    """Score interval of an AUROC, for independent images (Newcombe 2006, part 2, method 5).

    Unlike the Hanley-McNeil interval it does not collapse at an AUROC of 1.

    Args:
        value: the measured AUROC, 0 to 1.
        n_positive: number of positive images, at least 1.
        n_negative: number of negative images, at least 1.
        level: confidence level in (0, 1).
    """
    z = float(norm.ppf((1 + level) / 2))
    pairs = n_positive * n_negative
    mean_others = (n_positive + n_negative) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + mean_others * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return abs(theta - value) - z * math.sqrt(theta * (1 - theta) * spread / pairs)

    edge = 1e-12  # the excess is 0 at both ends of [0, 1]; the root wanted lies inside
    low = brentq(excess, 0.0, min(value, 1 - edge)) if value > edge else 0.0
    high = brentq(excess, max(value, edge), 1.0) if value < 1 - edge else 1.0
    return float(low), float(high)


def mean_interval(intervals: Sequence[Interval]) -> Interval:
    """Bounds the mean of several estimates, however they depend on each other.

    The standard deviation of a mean never exceeds the mean of the standard deviations, so the
    mean of the ends errs on the wide side.
    """
    low, high = np.mean(intervals, axis=0)
    return float(low), float(high)


class Resamples:
    """Whole groups resampled with replacement, drawn anew whenever they are looked at.

    All of them at once would take as many numbers as there are images times resamples.

    Args:
        groups: key of each image's group (its patient, or its own number), length n.
        n_boot: number of resamples.
        seed: same seed and groups, same resamples.
    """

    def __init__(
        self, groups: Sequence[Any] | NDArray[Any], n_boot: int = 2000, seed: int = 0
    ) -> None:
        names, self._code = np.unique(np.asarray(groups), return_inverse=True)
        self._groups, self.n_boot, self.seed = len(names), n_boot, seed

    @property
    def shape(self) -> tuple[int, int]:
        """Resamples, images."""
        return self.n_boot, len(self._code)

    def __len__(self) -> int:
        return self.n_boot

    def chunks(self, rows: int) -> Iterator[NDArray[np.uint16]]:
        """How often each image occurs in each resample, at most so many resamples at a time.

        Images of one group share their count; the counts of the groups sum to their number.
        """
        random = np.random.default_rng(self.seed)
        for start in range(0, self.n_boot, rows):
            weights = np.empty((min(rows, self.n_boot - start), len(self._code)), np.uint16)
            for row in weights:
                drawn = random.integers(0, self._groups, size=self._groups)
                row[:] = np.bincount(drawn, minlength=self._groups)[self._code]
            yield weights


def cluster_bootstrap(
    groups: Sequence[Any] | NDArray[Any], n_boot: int = 2000, seed: int = 0
) -> NDArray[np.uint16]:
    """The weights of `Resamples` all at once, shape (n_boot, n)."""
    [weights] = Resamples(groups, n_boot, seed).chunks(n_boot)
    return weights


def bootstrap_interval(
    statistic: Statistic,
    weights: NDArray[np.uint16] | Resamples,
    level: float = LEVEL,
    *,
    centre: float | None = None,
) -> tuple[Floats, Floats]:
    """Percentile bootstrap interval.

    Resamples in which the statistic is undefined (nan: say, no positive patient was drawn) are
    left out; where none is left the ends are nan.

    Args:
        statistic: maps weights, shape (b, n), to values, shape (b,) or (b, m).
        weights: of `Resamples`, shape (n_boot, n), drawn as they are needed or all at once.
        level: confidence level in (0, 1).
        centre: shift the percentiles so that the mean of the resamples lies here. For statistics
            that resampling itself pushes to one side, such as the calibration error.

    Returns:
        Lower and upper ends, shape () or (m,).
    """
    step = max(1, _CHUNK_BYTES // (8 * max(1, weights.shape[1])))
    if isinstance(weights, Resamples):
        chunks: Iterable[NDArray[np.uint16]] = weights.chunks(step)
    else:
        chunks = (weights[start : start + step] for start in range(0, len(weights), step))
    values = np.concatenate([statistic(chunk.astype(np.float64)) for chunk in chunks])
    columns = values.reshape(len(values), -1)
    ends = np.full((2, columns.shape[1]), np.nan)
    for j, column in enumerate(columns.T):
        defined = column[~np.isnan(column)]
        if len(defined):
            ends[:, j] = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
            if centre is not None:
                ends[:, j] += centre - defined.mean()
    low, high = ends.reshape(2, *values.shape[1:])
    return low, high


def pick_interval(
    value: float,
    bootstrap: Interval,
    formula: Interval | None,
    *,
    unit: str,
    formula_name: str,
    clusters: int,
    events: int | None = None,
) -> tuple[float, float, str]:
    """Takes the bootstrap interval unless it is degenerate; then the wider of the two.

    Degenerate means: no width, undefined in every resample, fewer than `MIN_CLUSTERS` units, or
    fewer than `MIN_EVENTS` events.
    A skewed bootstrap may miss the estimate itself; the interval is widened to contain it.

    Args:
        value: the estimate.
        bootstrap: the bootstrap interval; nan where undefined.
        formula: an interval for independent images; ``None`` where there is none.
        unit: what was resampled, ``patient`` or ``image``.
        formula_name: name of the formula in the returned kind.
        clusters: number of resampled units that bear on the estimate.
        events: for a rate, the number of images on its rarer side.

    Returns:
        Lower end, upper end and kind, e.g. ``patient bootstrap`` or
        ``wilson (wider than patient bootstrap)``.
    """
    width = bootstrap[1] - bootstrap[0]
    kind = f"{unit} bootstrap"
    chosen = bootstrap
    rare = events is not None and events < MIN_EVENTS
    if rare or clusters < MIN_CLUSTERS or not width > 0:
        if formula is None:
            kind = f"{kind} (degenerate: {clusters} {unit}s)"
        elif math.isnan(width) or formula[1] - formula[0] >= width:
            chosen, kind = formula, f"{formula_name} (wider than {kind})"
        else:
            kind = f"{kind} (wider than {formula_name})"
    low, high = chosen
    if math.isnan(low):
        return low, high, kind
    return max(0.0, min(low, value)), min(1.0, max(high, value)), kind


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


def paired_difference_interval(
    both: int, only_a: int, only_b: int, neither: int, level: float = LEVEL
) -> Interval:
    """Interval of the difference of two proportions on the same images (Newcombe 1998, method 10).

    Of independent images. Unlike a bootstrap it does not collapse where the two never differ.

    Args:
        both: number of images that A and B have right.
        only_a: that A alone has right.
        only_b: that B alone has right.
        neither: that neither has right; the four sum to at least 1.
        level: confidence level in (0, 1).

    Returns:
        Ends of the interval of A minus B, in [-1, 1].
    """
    n = both + only_a + only_b + neither
    a, b = both + only_a, both + only_b
    (low_a, high_a), (low_b, high_b) = wilson(a, n, level), wilson(b, n, level)
    product = a * (n - a) * b * (n - b)
    excess = both * neither - only_a * only_b
    # Newcombe corrects a positive correlation alone for continuity.
    corrected = max(excess - n / 2, 0.0) if excess > 0 else float(excess)
    correlation = corrected / math.sqrt(product) if product else 0.0

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    difference = (a - b) / n
    return (
        difference - reach(a / n - low_a, high_b - b / n),
        difference + reach(high_a - a / n, b / n - low_b),
    )
