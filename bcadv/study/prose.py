"""Small helps for sentences and for choices of what to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")


def plural(count: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def spread(values: Sequence[_T], count: int) -> list[_T]:
    """At most `count` of the values, evenly from the first to the last."""
    chosen = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    return [values[i] for i in chosen]
