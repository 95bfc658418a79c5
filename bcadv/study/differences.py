"""What a paired comparison shows: better, worse, or nothing that could not be chance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from bcadv.results.condition import Condition, ordered

ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """Accuracy of an arm minus that of the undefended one, all seeds together.

    Attributes:
        arm: name of the arm.
        condition: that both were measured under.
        value: in [-1, 1].
        low: lower end of its 95 % interval.
        high: upper end.
        certain: whether the interval leaves 0 out and, of one seed, McNemar's p is below 0.05; of
            several seeds, all of them lie on the same side.
        p: of McNemar's exact test, seed by seed.
    """

    arm: str
    condition: Condition
    value: float
    low: float
    high: float
    certain: bool
    p: tuple[float, ...]

    @property
    def attacked(self) -> bool:
        """Whether both were attacked; noise is no attack."""
        return self.condition.kind == "attack"

    @property
    def better(self) -> bool:
        return self.certain and self.value > 0

    @property
    def worse(self) -> bool:
        return self.certain and self.value < 0

    @property
    def text(self) -> str:
        """In percentage points with its interval."""
        return points(self.value, self.low, self.high)


def points(value: float, low: float, high: float) -> str:
    """A difference in percentage points, e.g. ``+4.7 [−2.9, +12.5]``."""
    return f"{_signed(value)} [{_signed(low)}, {_signed(high)}]"


def _signed(share: float) -> str:
    text = f"{100 * share:+.1f}".replace("-", "−")
    return text[1:] if text in {"+0.0", "−0.0"} else text


def differences(
    comparisons: pd.DataFrame, known: Iterable[Condition]
) -> dict[str, list[Difference]]:
    """The differences of each arm, clean and under everything tried, in the order of conditions.

    Args:
        comparisons: of the study.
        known: its conditions.
    """
    by_id = {condition.id: condition for condition in known}
    found: dict[str, dict[Condition, Difference]] = {}
    for key, rows in comparisons.groupby(["arm", "condition"], sort=False):
        arm, condition = str(key[0]), by_id[str(key[1])]
        together = rows[rows["seed"].isna()].iloc[0]
        each = rows[rows["seed"].notna()].sort_values("seed")
        value, low, high = (float(together[name]) for name in ("difference", "low", "high"))
        p = tuple(float(of_seed) for of_seed in each["p"])
        agreed = bool((each["difference"] * value > 0).all()) if len(p) > 1 else p[0] < ALPHA
        certain = (low > 0 or high < 0) and agreed
        row = Difference(arm, condition, value, low, high, certain, p)
        found.setdefault(arm, {})[condition] = row
    return {arm: [of[c] for c in ordered(set(of))] for arm, of in found.items()}
