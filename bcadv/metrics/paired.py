"""stand-in"""
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
@dataclass(frozen=True)
class Rise:
    p: float; gained: int; lost: int
def rises(before: NDArray[np.bool_], after: NDArray[np.bool_], *, comparisons: int = 1) -> Rise:
    gained = int((after & ~before).sum()); lost = int((before & ~after).sum())
    p = binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue if gained + lost else 1.0
    return Rise(min(1.0, p * comparisons), gained, lost)
