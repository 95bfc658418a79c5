from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bcadv.metrics.clustered import rate_interval
from bcadv.metrics.paired import paired_gap
from bcadv.metrics.pooled import Clusters, clusters, pooled_auroc, pooled_gap, pooled_rate
from bcadv.metrics.ranking import auroc_interval, ranking

N, COUNT = 120, 20
PATIENT = np.repeat(np.arange(COUNT), N // COUNT)
EVERYONE = np.ones(N, dtype=bool)


def _clusters(*images: NDArray[np.int64]) -> Clusters:
    """Test sets of so many images of `PATIENT`."""
    groups = [np.array([f"P{PATIENT[i]}" for i in each], dtype=object) for each in images]
    names = [np.array([f"image {i}" for i in each], dtype=object) for each in images]
    return clusters(groups, names)


def test_a_name_is_one_patient_and_one_image_in_all_seeds() -> None:
    found = clusters(
        [np.array(["a", "b", "b"], dtype=object), np.array(["b", "c"], dtype=object)],
        [np.array(["1", "2", "3"], dtype=object), np.array(["3", "4"], dtype=object)],
    )
    assert (found.count, found.n_images) == (3, 4)
    values = {0: np.array([1.0, 2.0, 3.0]), 1: np.array([10.0, 20.0])}
    assert found.of_patients(values).tolist() == [0.5, 7.5, 10]
    assert found.of_images(values).tolist() == [0.5, 1, 6.5, 10]


def test_the_same_answers_under_each_seed_are_those_of_one_seed() -> None:
    random = np.random.default_rng(0)
    every = np.arange(N)
    found = _clusters(every, every, every)
    hit, other = random.random((2, N)) < 0.7
    seeds = range(3)
    rate = pooled_rate(found, dict.fromkeys(seeds, hit), dict.fromkeys(seeds, EVERYONE))
    assert rate == pytest.approx(rate_interval(hit, PATIENT))
    gap = pooled_gap(found, dict.fromkeys(seeds, hit), dict.fromkeys(seeds, other))
    only = [np.bincount(PATIENT, a & ~b, COUNT) / N for a, b in ((hit, other), (other, hit))]
    variance = float(np.var(hit.astype(float) - other)) / N
    one = paired_gap(only[0], only[1], np.full(COUNT, 1 / COUNT), independent=variance)
    assert (gap.low, gap.high, gap.p) == pytest.approx((one.low, one.high, one.p))
    score, positive = random.normal(size=N), PATIENT % 2 == 0
    auroc = pooled_auroc(found, dict.fromkeys(seeds, score), dict.fromkeys(seeds, positive))
    alone = auroc_interval(ranking(score, positive, PATIENT, COUNT))
    assert auroc == pytest.approx(alone, abs=2e-3)


def test_seeds_with_other_patients_make_the_mean_surer() -> None:
    random = np.random.default_rng(1)
    hit = random.random(N) < 0.7
    half = np.arange(N // 2), np.arange(N // 2, N)
    apart = pooled_rate(
        _clusters(*half),
        {s: hit[images] for s, images in enumerate(half)},
        {s: EVERYONE[images] for s, images in enumerate(half)},
    )
    assert apart == pytest.approx(rate_interval(hit, PATIENT), abs=0.02)
    alone = rate_interval(hit[half[0]], PATIENT[half[0]])
    assert apart[1] - apart[0] < 0.8 * (alone[1] - alone[0])


def test_what_differs_between_seeds_alone_is_no_part_of_the_interval() -> None:
    """Each seed is as often right with every patient, one seed more often than the other."""
    place = np.arange(N) % (N // COUNT)
    right = {0: place < 5, 1: place < 2}
    every = np.arange(N)
    found = _clusters(every, every)
    low, high = pooled_rate(found, right, dict.fromkeys(right, EVERYONE))
    single = rate_interval(place < 4, PATIENT)
    assert (low + high) / 2 == pytest.approx(7 / 12, abs=0.02)
    assert high - low < 1.2 * (single[1] - single[0])
