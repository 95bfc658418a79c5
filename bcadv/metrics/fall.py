"""At which strength of an attack each image is turned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcadv.results.condition import CLEAN, Condition

SHOWN = 3
"""Images on either side of a gallery."""


def ends(count: int) -> tuple[int, int]:
    """How many of the first and of the last to fall are shown of so many; none twice."""
    last = min(SHOWN, count // 2)
    return min(SHOWN, count - last), last


class Fall:
    """Looks at one condition after the other; remembers a few numbers per image.

    Args:
        index: numbers of the images that are right when clean.
        conditions: of one attack, without strength 0.
    """

    def __init__(self, index: NDArray[np.int64], conditions: Sequence[Condition]) -> None:
        self.index = np.sort(index)
        self.conditions = sorted(conditions, key=lambda condition: condition.strength)
        n = len(self.index)
        # Number of the weakest condition that turns it; of the strongest tried where none does.
        self.turned_at = np.full(n, len(self.conditions))
        self.tried = np.full(n, -1)
        self.left = np.full((n, 2), np.nan)  # what the true class has: there, and at the strongest

    def see(
        self,
        condition: Condition,
        index: NDArray[np.int64],
        right: NDArray[np.bool_],
        true: NDArray[np.float64],
    ) -> None:
        """Looks at the answers under one condition.

        Args:
            condition: one of the attack's.
            index: numbers of the images.
            right: whether each is called its class.
            true: probability of each one's class.
        """
        number = self.conditions.index(condition)
        place = np.searchsorted(self.index, index)
        place[place == len(self.index)] = 0
        known = self.index[place] == index if len(self.index) else np.zeros(len(index), bool)
        place, right, true = place[known], right[known], true[known]
        first = ~right & (number < self.turned_at[place])
        self.turned_at[place[first]] = number
        self.left[place[first], 0] = true[first]
        last = number > self.tried[place]
        self.tried[place[last]] = number
        self.left[place[last], 1] = true[last]

    def order(self) -> pd.DataFrame:
        """The images, the first to fall first; see `order_of_fall`."""
        flipped = self.turned_at < len(self.conditions)
        shown = np.where(flipped, self.turned_at, self.tried)
        left = np.where(flipped, self.left[:, 0], self.left[:, 1])
        seen = self.tried >= 0
        order = np.lexsort((self.index, left, self.turned_at))
        order = order[seen[order]]
        names = np.array([condition.id for condition in self.conditions], dtype=object)
        return pd.DataFrame(
            {
                "index": self.index[order],
                "flipped": flipped[order],
                "condition": names[shown[order]] if len(order) else np.zeros(0, object),
            }
        )


def order_of_fall(predictions: pd.DataFrame, conditions: Sequence[Condition]) -> pd.DataFrame:
    """When each image that is right when clean is turned.

    Args:
        predictions: of one classifier under one choice of BatchNorm statistics.
        conditions: of one attack, without strength 0.

    Returns:
        A row per image, the first to fall first: ``index``, ``flipped``, and ``condition`` (id of
        the weakest that turns it; of the strongest tried where none does). Among images that fall
        together, the one whose true class is left with less probability is first.
    """
    clean = predictions[predictions["condition"] == CLEAN.id]
    right = clean["prediction"] == clean["target"]
    fall = Fall(clean.loc[right, "index"].to_numpy(np.int64), conditions)
    for condition in conditions:
        part = predictions[predictions["condition"] == condition.id]
        target = part["target"].to_numpy()
        columns = [name for name in part if str(name).startswith("p_")]
        probability = part[columns].to_numpy(np.float64)
        fall.see(
            condition,
            part["index"].to_numpy(np.int64),
            part["prediction"].to_numpy() == target,
            probability[np.arange(len(part)), target],
        )
    return fall.order()
