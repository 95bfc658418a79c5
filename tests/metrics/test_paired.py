"""A rise is told from chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from bcadv.metrics.paired import rises


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (0, 5), (1, 0), (5, 0), (12, 3), (3, 12)])
def test_it_is_the_exact_one_sided_test(gained: int, lost: int) -> None:
    before = np.zeros(40, bool)
    before[:lost] = True
    after = np.zeros(40, bool)
    after[20 : 20 + gained] = True
    found = rises(before, after)
    assert (found.gained, found.lost) == (gained, lost)
    n = gained + lost
    expected = binomtest(gained, n, 0.5, alternative="greater").pvalue if n and gained else 1.0
    assert found.p == pytest.approx(expected)
    assert rises(before, after, comparisons=3).p == pytest.approx(min(1, 3 * expected))


def test_one_image_is_chance_and_ten_are_not() -> None:
    before = np.zeros(1000, bool)
    one, ten = before.copy(), before.copy()
    one[0], ten[:10] = True, True
    assert rises(before, one).p == 0.5
    assert rises(before, ten).p < 0.001
