"""Which images fall first, against a few that are ordered by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bcadv.metrics.fall import ends, order_of_fall
from bcadv.results.condition import CLEAN, Condition
from tests.metrics.tables import fgsm

WEAK, STRONG = fgsm(1), fgsm(4)
TRUE = {
    # image: probability of its class when clean, under the weak attack, under the strong one
    10: (0.9, 0.8, 0.6),  # holds out, with more left
    11: (0.9, 0.7, 0.55),  # holds out, with less left
    12: (0.9, 0.6, 0.2),  # falls at the strong one
    13: (0.9, 0.4, 0.1),  # falls at the weak one, with more left of it there
    14: (0.9, 0.3, 0.3),  # falls at the weak one, with less left of it there
    15: (0.1, 0.1, 0.1),  # wrong when clean
}
ORDER = [
    (14, True, WEAK.id),
    (13, True, WEAK.id),
    (12, True, STRONG.id),
    (11, False, STRONG.id),
    (10, False, STRONG.id),
]


def table(of: dict[int, tuple[float, float, float]]) -> pd.DataFrame:
    rows = [
        {
            "index": image,
            "condition": condition.id,
            "target": image % 2,
            "prediction": image % 2 if true > 0.5 else 1 - image % 2,
            f"p_{image % 2}": true,
            f"p_{1 - image % 2}": 1 - true,
        }
        for image, each in of.items()
        for condition, true in zip((CLEAN, WEAK, STRONG), each, strict=True)
    ]
    return pd.DataFrame(rows)[["index", "condition", "target", "prediction", "p_0", "p_1"]]


@pytest.mark.parametrize("conditions", [(WEAK, STRONG), (STRONG, WEAK)])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_images_fall_in_the_order_of_strength_then_of_what_is_left(
    conditions: tuple[Condition, ...], seed: int | None
) -> None:
    rows = table(TRUE)
    if seed is not None:  # the order of the rows says nothing
        rows = rows.iloc[np.random.default_rng(seed).permutation(len(rows))]
    found = order_of_fall(rows, conditions)
    assert list(found.itertuples(index=False, name=None)) == ORDER


def test_one_strength_orders_them_too() -> None:
    assert list(order_of_fall(table(TRUE), (STRONG,))["index"]) == [13, 12, 14, 11, 10]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, (0, 0)), (1, (1, 0)), (2, (1, 1)), (5, (3, 2)), (6, (3, 3)), (9, (3, 3))],
)
def test_both_ends_are_shown_and_none_twice(count: int, shown: tuple[int, int]) -> None:
    assert ends(count) == shown


def test_without_an_image_that_was_right_nothing_falls() -> None:
    assert order_of_fall(table({15: TRUE[15]}), (WEAK, STRONG)).empty
