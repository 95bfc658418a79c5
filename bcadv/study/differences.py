"""What a paired comparison shows: better, worse, or nothing that could not be chance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bcadv.metrics.paired import holm
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
        certain: whether the interval leaves 0 out, the p is below 0.05, and all seeds lie on the
            same side.
        p: of no difference, adjusted for the number of comparisons of the arm (Holm 1979).
        patients: number of known patients that both were tested on; ``None`` where none is known.
    """

    arm: str
    condition: Condition
    value: float
    low: float
    high: float
    certain: bool
    p: float
    patients: int | None = None

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
    found: dict[str, list[Difference]] = {}
    for arm, of_arm in comparisons.groupby("arm", sort=False):
        together = of_arm[of_arm["seed"].isna()]
        adjusted = holm(together["p"].to_numpy(np.float64))
        each = of_arm[of_arm["seed"].notna()].groupby("condition")["difference"]
        of: dict[Condition, Difference] = {}
        for (_, row), p in zip(together.iterrows(), adjusted.tolist(), strict=True):
            value, low, high = (float(row[name]) for name in ("difference", "low", "high"))
            agreed = bool((each.get_group(row["condition"]) * value > 0).all())
            certain = (low > 0 or high < 0) and p < ALPHA and agreed
            patients = None if pd.isna(row["n_patients"]) else int(row["n_patients"])
            condition = by_id[str(row["condition"])]
            of[condition] = Difference(str(arm), condition, value, low, high, certain, p, patients)
        found[str(arm)] = [of[condition] for condition in ordered(set(of))]
    return found
