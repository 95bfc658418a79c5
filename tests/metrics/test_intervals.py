from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from bcadv.metrics.intervals import (
    MIN_CLUSTERS,
    auroc_score_interval,
    bootstrap_interval,
    cluster_bootstrap,
    mcnemar,
    mean_interval,
    paired_difference_interval,
    pick_interval,
    wilson,
)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(10, 91, 0.061, 0.191), (25, 91, 0.194, 0.374)]
)
def test_wilson_gives_the_intervals_of_the_papers_table_3(
    k: int, n: int, low: float, high: float
) -> None:
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-4)


@given(n=st.integers(1, 5000), share=st.floats(0, 1), level=st.floats(0.5, 0.999))
def test_wilson_solves_the_score_equation(n: int, share: float, level: float) -> None:
    k = round(share * n)
    z = norm.ppf((1 + level) / 2)
    for end in wilson(k, n, level):
        assert abs(k / n - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n), abs=1e-7)


def test_wilson_of_nothing_is_undefined() -> None:
    assert all(math.isnan(end) for end in wilson(0, 0))


@given(
    value=st.floats(0, 1),
    n_positive=st.integers(1, 300),
    n_negative=st.integers(1, 300),
)
def test_auroc_interval_solves_the_score_equation_with_the_hanley_mcneil_variance(
    value: float, n_positive: int, n_negative: int
) -> None:
    low, high = auroc_score_interval(value, n_positive, n_negative)
    assert 0 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1
    others = (n_positive + n_negative) / 2 - 1
    for end in (low, high):
        q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)
        variance = end * (1 - end) + others * (q1 - end**2) + others * (q2 - end**2)
        distance = 1.959964 * math.sqrt(max(0.0, variance) / (n_positive * n_negative))
        assert abs(value - end) == pytest.approx(distance, abs=1e-5)


def test_auroc_interval_keeps_its_width_at_one() -> None:
    low, high = auroc_score_interval(1.0, 20, 20)
    assert low < 0.95
    assert high == 1


def test_mean_interval_averages_the_ends() -> None:
    assert mean_interval([(0.2, 0.4), (0.4, 0.8)]) == pytest.approx((0.3, 0.6))


@given(groups=st.lists(st.integers(0, 5), min_size=1, max_size=30), seed=st.integers(0, 99))
def test_cluster_bootstrap_keeps_patients_whole(groups: list[int], seed: int) -> None:
    weights = cluster_bootstrap(groups, n_boot=20, seed=seed)
    assert weights.shape == (20, len(groups))
    code = np.array(groups)
    names, first = np.unique(code, return_index=True)
    for name, i in zip(names, first, strict=True):
        assert (weights[:, code == name] == weights[:, [i]]).all()
    assert (weights[:, first].sum(axis=1) == len(names)).all()


def test_cluster_bootstrap_repeats_with_its_seed_only() -> None:
    groups = np.arange(30)
    assert (cluster_bootstrap(groups, 5, seed=1) == cluster_bootstrap(groups, 5, seed=1)).all()
    assert (cluster_bootstrap(groups, 5, seed=1) != cluster_bootstrap(groups, 5, seed=2)).any()


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = (weights @ values) / weights.sum(axis=1)
    return result


def test_bootstrap_of_a_mean_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = bootstrap_interval(
        lambda w: _mean(values, w), cluster_bootstrap(np.arange(400), 4000)
    )
    half = 1.96 * values.std() / math.sqrt(400)
    assert float(low) == pytest.approx(values.mean() - half, abs=0.03)
    assert float(high) == pytest.approx(values.mean() + half, abs=0.03)


def test_bootstrap_over_patients_is_wider_by_the_design_effect() -> None:
    patient_means = np.random.default_rng(0).normal(0, 1, 50)
    values = np.repeat(patient_means, 9)  # nine identical images of each patient
    patient = np.repeat(np.arange(50), 9)
    of_patients = bootstrap_interval(lambda w: _mean(values, w), cluster_bootstrap(patient))
    of_images = bootstrap_interval(lambda w: _mean(values, w), cluster_bootstrap(np.arange(450)))
    ratio = (of_patients[1] - of_patients[0]) / (of_images[1] - of_images[0])
    assert float(ratio) == pytest.approx(3, rel=0.1)


def test_bootstrap_leaves_out_undefined_resamples_and_shifts_to_a_centre() -> None:
    weights = cluster_bootstrap(np.arange(12), 500)

    def sometimes(w: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(w[:, 0] == 0, np.nan, w[:, 1])

    low, high = bootstrap_interval(sometimes, weights)
    assert 0 <= float(low) <= float(high)
    shifted = bootstrap_interval(sometimes, weights, centre=100.0)
    assert float(shifted[1] - shifted[0]) == pytest.approx(float(high - low))
    assert float(shifted[0]) < 100 < float(shifted[1])
    never = bootstrap_interval(lambda w: np.full(len(w), np.nan), weights)
    assert math.isnan(float(never[0]))


def test_bootstrap_does_not_depend_on_how_resamples_are_cut_into_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(0).normal(size=40)
    weights = cluster_bootstrap(np.arange(40), 100)
    whole = bootstrap_interval(lambda w: _mean(values, w), weights)
    monkeypatch.setattr("bcadv.metrics.intervals._CHUNK_BYTES", 7 * 40 * 8)
    assert bootstrap_interval(lambda w: _mean(values, w), weights) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("bootstrap", "clusters", "ends", "kind"),
    [
        ((0.85, 0.95), 40, (0.85, 0.95), "patient bootstrap"),
        ((0.90, 0.90), 40, (0.80, 0.96), "wilson (wider than patient bootstrap)"),
        ((math.nan, math.nan), 40, (0.80, 0.96), "wilson (wider than patient bootstrap)"),
        ((0.85, 0.95), 9, (0.80, 0.96), "wilson (wider than patient bootstrap)"),
        ((0.50, 0.95), 9, (0.50, 0.95), "patient bootstrap (wider than wilson)"),
        ((0.91, 0.95), 40, (0.90, 0.95), "patient bootstrap"),
    ],
)
def test_degenerate_bootstrap_gives_way_to_the_wider_interval(
    bootstrap: tuple[float, float], clusters: int, ends: tuple[float, float], kind: str
) -> None:
    low, high, named = pick_interval(
        0.9, bootstrap, (0.80, 0.96), unit="patient", formula_name="wilson", clusters=clusters
    )
    assert (low, high) == ends
    assert named == kind


def test_a_rate_with_few_events_is_degenerate_too() -> None:
    kinds = [
        pick_interval(
            0.9,
            (0.85, 0.95),
            (0.80, 0.96),
            unit="patient",
            formula_name="wilson",
            clusters=40,
            events=events,
        )[2]
        for events in (4, 5)
    ]
    assert kinds == ["wilson (wider than patient bootstrap)", "patient bootstrap"]


def test_mcnemar_is_the_sign_test_on_the_images_where_one_model_is_right() -> None:
    a = np.array([True] * 10 + [False] * 1 + [True] * 50)
    b = np.array([False] * 10 + [True] * 1 + [True] * 50)
    expected = 2 * (math.comb(11, 0) + math.comb(11, 1)) / 2**11
    assert mcnemar(a, b) == pytest.approx(expected)
    assert mcnemar(b, a) == pytest.approx(expected)
    assert mcnemar(a, a) == 1


@given(only_a=st.integers(0, 60), only_b=st.integers(0, 60), other=st.integers(0, 20))
def test_mcnemar_is_the_exact_sign_test(only_a: int, only_b: int, other: int) -> None:
    right_a = np.array([True] * only_a + [False] * only_b + [True] * other, dtype=bool)
    right_b = np.array([False] * only_a + [True] * only_b + [True] * other, dtype=bool)
    count = only_a + only_b
    expected = binomtest(only_a, count).pvalue if count else 1.0
    assert mcnemar(right_a, right_b) == pytest.approx(expected, rel=1e-9)


def _newcombe(both: int, only_a: int, only_b: int, neither: int) -> tuple[float, float]:
    """Method 10 written out a second time, in the paper's letters and from the quadratic."""
    n, z = both + only_a + only_b + neither, 1.959963984540054

    def score(k: int) -> tuple[float, float]:
        root = z * math.sqrt(z**2 + 4 * k * (1 - k / n))
        return (2 * k + z**2 - root) / (2 * n + 2 * z**2), (2 * k + z**2 + root) / (
            2 * n + 2 * z**2
        )

    p1, p2 = (both + only_a) / n, (both + only_b) / n
    (l1, u1), (l2, u2) = score(both + only_a), score(both + only_b)
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    q = float(both * neither - only_a * only_b)
    q = q - n / 2 if q > n / 2 else (0 if q >= 0 else q)
    phi = 0 if margins == 0 else q / math.sqrt(margins)
    d = math.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    e = math.sqrt((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2)
    return p1 - p2 - d, p1 - p2 + e


@given(st.tuples(*[st.integers(0, 80)] * 4).filter(any))
def test_paired_difference_is_newcombes_method_10(cells: tuple[int, int, int, int]) -> None:
    low, high = paired_difference_interval(*cells)
    assert (low, high) == pytest.approx(_newcombe(*cells), abs=1e-9)
    both, only_a, only_b, neither = cells
    mirrored = paired_difference_interval(both, only_b, only_a, neither)
    assert mirrored == pytest.approx((-high, -low))
    assert -1 <= low <= (only_a - only_b) / sum(cells) <= high <= 1


def test_paired_difference_covers_the_truth() -> None:
    n, probability = 15, (0.6, 0.25, 0.05, 0.1)  # both, A alone, B alone, neither
    covered = 0.0
    for both in range(n + 1):
        for only_a in range(n + 1 - both):
            for only_b in range(n + 1 - both - only_a):
                cells = (both, only_a, only_b, n - both - only_a - only_b)
                low, high = paired_difference_interval(*cells)
                ways = math.factorial(n) / math.prod(math.factorial(c) for c in cells)
                chance = ways * math.prod(p**c for p, c in zip(probability, cells, strict=True))
                covered += chance * (low <= 0.2 <= high)
    assert 0.93 < covered < 0.99


def test_a_bootstrap_is_trusted_from_so_many_units_on_and_stays_below_one() -> None:
    named = [
        pick_interval(
            0.9, (0.5, 1.2), (0.4, 1.0), unit="patient", formula_name="wilson", clusters=count
        )
        for count in (MIN_CLUSTERS - 1, MIN_CLUSTERS)
    ]
    assert named[0][2] == "patient bootstrap (wider than wilson)"
    assert named[1] == (0.5, 1.0, "patient bootstrap")
