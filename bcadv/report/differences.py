"""What a paired comparison shows: better, worse, or nothing that could not be chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from bcadv.report.answers import CLEAN

ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """Accuracy of an arm minus that of the undefended one, all seeds together.

    Attributes:
        arm: name of the arm.
        eps_px: of the attack; 0 without attack.
        value: in [-1, 1].
        low: lower end of its 95 % interval.
        high: upper end.
        certain: whether the interval leaves 0 out and, of one seed, McNemar's p is below 0.05; of
            several seeds, all of them lie on the same side.
    """

    arm: str
    eps_px: float
    value: float
    low: float
    high: float
    certain: bool

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
    comparisons: pd.DataFrame, attack: tuple[str, str] | None
) -> dict[str, list[Difference]]:
    """The differences of each arm, clean and under one attack, in the order of epsilon.

    Args:
        comparisons: of the study.
        attack: perturbation and norm.
    """
    found: dict[str, list[Difference]] = {}
    chosen = comparisons[
        (comparisons["perturbation"] == CLEAN[0])
        | (
            (comparisons["perturbation"] == (attack or CLEAN)[0])
            & (comparisons["norm"] == (attack or CLEAN)[1])
        )
    ]
    for key, rows in chosen.groupby(["arm", "eps_px"], sort=True):
        arm, eps_px = str(key[0]), float(str(key[1]))
        together = rows[rows["seed"].isna()].iloc[0]
        each = rows[rows["seed"].notna()]
        value, low, high = (float(together[name]) for name in ("difference", "low", "high"))
        p = float(together["p"])
        signs = each["difference"] * value > 0
        agreed = bool(signs.all()) if math.isnan(p) else p < ALPHA
        certain = (low > 0 or high < 0) and agreed
        found.setdefault(arm, []).append(Difference(arm, eps_px, value, low, high, certain))
    return found
