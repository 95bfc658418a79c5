from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from bcadv.metrics.intervals import mcnemar, wilson


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
