"""Simulated test sets of patients, and the intervals of each measure on them.

Each measure is a function of patients and of random numbers that gives the truth, the interval of
bcadv and, where it is quick, that of a percentile bootstrap over patients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import norm

from bcadv.metrics.calibration import calibration_intervals, gaps
from bcadv.metrics.clinical import CALIBRATION_BINS, Floats, Integers, Mask
from bcadv.metrics.clustered import mean_of_parts, rate_interval
from bcadv.metrics.intervals import Interval
from bcadv.metrics.paired import paired_gap
from bcadv.metrics.patients import recognition
from bcadv.metrics.pooled import clusters, pooled_rate
from bcadv.metrics.ranking import auroc_interval, ranking
from tests.metrics.percentile import bootstrap, percentile_rate

Random: TypeAlias = np.random.Generator
N_BOOT = 300


@dataclass(frozen=True)
class Patients:
    """So many patients, each with a number of images between two."""

    count: int
    low: int
    high: int

    @property
    def name(self) -> str:
        """For the head of a column."""
        each = f"{self.low}–{self.high}" if self.high > self.low else f"{self.low}"
        return f"{self.count} × {each}"

    def draw(self, random: Random) -> Integers:
        """The patient of each image."""
        images = random.integers(self.low, self.high + 1, self.count)
        return np.repeat(np.arange(self.count), images)


@dataclass(frozen=True)
class Outcome:
    """One simulation: the truth, the interval, and that of the percentile bootstrap, if any."""

    truth: float
    ends: Interval
    before: Interval | None = None


Measured: TypeAlias = Callable[[Patients, Random], Outcome]


def own_rates(rate: float, alike: float, count: int, random: Random) -> Floats:
    """Rates of patients from a beta distribution; ``alike``: correlation of two of their images."""
    if alike == 0 or not 0 < rate < 1:
        return np.full(count, rate)
    scale = 1 / alike - 1
    return random.beta(rate * scale, (1 - rate) * scale, count)


def _hits(rate: float, alike: float, patient: Integers, count: int, random: Random) -> Mask:
    return random.random(len(patient)) < own_rates(rate, alike, count, random)[patient]


def share(rate: float, alike: float) -> Measured:
    """A share of all images, as accuracy is."""

    def simulate(of: Patients, random: Random) -> Outcome:
        patient = of.draw(random)
        hit = _hits(rate, alike, patient, of.count, random)
        sums = [
            np.bincount(patient, each, of.count).astype(np.float64)
            for each in (hit, np.ones(len(hit)))
        ]
        before = percentile_rate(sums[0], sums[1], N_BOOT, random)
        return Outcome(rate, rate_interval(hit, patient), before)

    return simulate


def one_sided(rate: float, alike: float, ill: float) -> Measured:
    """A share of the images of the ill alone, as sensitivity is; a patient is ill, or is not."""
    whole = share(rate, alike)

    def simulate(of: Patients, random: Random) -> Outcome:
        return whole(Patients(max(2, round(ill * of.count)), of.low, of.high), random)

    return simulate


def of_the_right(rate: float, alike: float) -> Measured:
    """A share of the images that were right when clean, as attack success is."""

    def simulate(of: Patients, random: Random) -> Outcome:
        patient = of.draw(random)
        kept = _hits(0.8, alike, patient, of.count, random)
        if not kept.any():
            return Outcome(rate, (0.0, 1.0))
        hit = _hits(rate, alike, patient, of.count, random)[kept]
        return Outcome(rate, rate_interval(hit, patient[kept]))

    return simulate


def recognised(rate: float, alike: float) -> Measured:
    """The patient recognition rate."""

    def simulate(of: Patients, random: Random) -> Outcome:
        patient = of.draw(random)
        hit = _hits(rate, alike, patient, of.count, random)
        found = recognition(hit, patient)
        assert found.ci_low is not None
        assert found.ci_high is not None
        images = np.bincount(patient, minlength=of.count)
        shares = np.bincount(patient, hit, of.count) / images
        before = bootstrap(lambda times: times @ shares / of.count, of.count, N_BOOT, random)
        return Outcome(rate, (found.ci_low, found.ci_high), before)

    return simulate


def balanced(rates: tuple[float, float], alike: float) -> Measured:
    """The mean of two recalls; each patient is of one class."""

    def simulate(of: Patients, random: Random) -> Outcome:
        patient = of.draw(random)
        values, ends, influences = [], [], []
        for side, rate in enumerate(rates):
            own = patient[patient % 2 == side]
            hit = _hits(rate, alike, own, of.count, random)
            values.append(float(hit.mean()))
            ends.append(rate_interval(hit, own))
            influences.append(np.bincount(own, (hit - hit.mean()) / len(hit), of.count))
        truth = float(np.mean(rates))
        return Outcome(truth, mean_of_parts(values, ends, np.array(influences)))

    return simulate


def ranked(value: float, alike: float, ill: float = 0.5) -> Measured:
    """An AUROC of normal scores; each patient is of one class."""
    distance = math.sqrt(2) * float(ndtri(value))

    def simulate(of: Patients, random: Random) -> Outcome:
        patient = of.draw(random)
        positive = (np.arange(of.count) < max(2, round(ill * of.count)))[patient]
        score = distance * positive + math.sqrt(1 - alike) * random.normal(size=len(patient))
        score += math.sqrt(alike) * random.normal(size=of.count)[patient]
        return Outcome(value, auroc_interval(ranking(score, positive, patient, of.count)))

    return simulate


def _latent(shared: float, like: Floats, random: Random) -> Floats:
    """Standard normal numbers that share so much of their variance with others."""
    return math.sqrt(shared) * like + math.sqrt(1 - shared) * random.normal(size=like.shape)


def compared(rates: tuple[float, float], alike: float, shared: float = 0.6) -> Measured:
    """The difference of the accuracies of two models on the same images."""

    def simulate(of: Patients, random: Random) -> Outcome:
        patient = of.draw(random)
        right = answers(rates, alike, shared, patient, of.count, random)
        n = len(patient)
        sums = [
            np.bincount(patient, each, of.count) / n
            for each in (right[0] & ~right[1], right[1] & ~right[0], np.ones(n))
        ]
        gap = paired_gap(*sums, independent=float(np.var(right[0].astype(float) - right[1])) / n)
        gain = sums[0] - sums[1]
        before = bootstrap(lambda w: (w @ gain) / (w @ sums[2]), of.count, N_BOOT, random)
        return Outcome(rates[0] - rates[1], (gap.low, gap.high), before)

    return simulate


def answers(
    rates: tuple[float, ...],
    alike: float,
    shared: float,
    patient: Integers,
    count: int,
    random: Random,
) -> list[Mask]:
    """Right and wrong of several models on the same images.

    Args:
        rates: accuracy of each.
        alike: correlation of a patient's images, of the normal number behind each answer.
        shared: share of the variance that the models have in common.
        patient: of each image.
        count: of patients.
        random: draws.
    """
    of_patients, of_images = random.normal(size=count), random.normal(size=len(patient))
    found = []
    for rate in rates:
        number = math.sqrt(alike) * _latent(shared, of_patients, random)[patient]
        number += math.sqrt(1 - alike) * _latent(shared, of_images, random)
        found.append(number < ndtri(rate))
    return found


def of_seeds(rate: float, alike: float, seeds: int = 3) -> Measured:
    """Mean accuracy of several models on the same images."""

    def simulate(of: Patients, random: Random) -> Outcome:
        patient = of.draw(random)
        right = answers((rate,) * seeds, alike, 0.6, patient, of.count, random)
        group = np.array([f"patient {p}" for p in patient], dtype=object)
        names = np.array([f"image {i}" for i in range(len(patient))], dtype=object)
        found = clusters([group] * seeds, [names] * seeds)
        everyone = dict.fromkeys(range(seeds), np.ones(len(patient), dtype=bool))
        return Outcome(rate, pooled_rate(found, dict(enumerate(right)), everyone))

    return simulate


def miscalibrated(temperature: float, alike: float) -> Measured:
    """The calibration error of a model whose logits are so many times too large."""

    def simulate(of: Patients, random: Random) -> Outcome:
        patient = of.draw(random)
        logit = 1.5 * _latent(alike, random.normal(size=of.count)[patient], random)
        confidence, right = _answered(logit, temperature, random)
        found = gaps(confidence[:, None], right[:, None], patient, of.count)
        [ends] = calibration_intervals([found], N_BOOT)
        truth = _true_error(temperature)
        centre = float(found.error(np.ones((1, of.count)))[0, 0]) / len(patient)

        def error(times: Floats) -> Floats:
            values = found.error(times)[:, 0] / (times @ found.images)
            shifted: Floats = values - values.mean() + centre
            return shifted

        return Outcome(truth, ends, bootstrap(error, of.count, N_BOOT, random))

    return simulate


def _answered(logit: Floats, temperature: float, random: Random) -> tuple[Floats, Mask]:
    true = random.random(len(logit)) < 1 / (1 + np.exp(-logit))
    said = 1 / (1 + np.exp(-temperature * logit))
    return np.maximum(said, 1 - said), (said > 0.5) == true


@lru_cache(maxsize=8)
def _true_error(temperature: float) -> float:
    """Of a model's bins, by the quantiles of a normal distribution."""
    if temperature == 1:
        return 0.0
    logit: NDArray[np.float64] = 1.5 * norm.ppf((np.arange(10**6) + 0.5) / 10**6)
    chance, said = (1 / (1 + np.exp(-scale * np.abs(logit))) for scale in (1, temperature))
    bins = np.minimum((said * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return float(np.abs(np.bincount(bins, chance - said)).sum() / len(logit))
