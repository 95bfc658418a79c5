"""At which strength of an attack each image is turned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from bcadv.results.schema import CLEAN, Condition

SHOWN = 3
"""Images on either side of a gallery."""


def ends(count: int) -> tuple[int, int]:
    """How many of the first and of the last to fall are shown of so many; none twice."""
    last = min(SHOWN, count // 2)
    return min(SHOWN, count - last), last


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
    strength = {condition.id: condition.strength for condition in conditions}
    clean = predictions[predictions["condition"] == CLEAN.id]
    right = clean.loc[clean["prediction"] == clean["target"], "index"]
    tried = predictions[
        predictions["condition"].isin(list(strength)) & predictions["index"].isin(right)
    ]
    tried = tried.assign(strength=tried["condition"].astype(str).map(strength))
    rows = []
    for number, part in tried.sort_values("strength").groupby("index"):
        wrong = part[part["prediction"] != part["target"]]
        shown = (wrong if len(wrong) else part.iloc[::-1]).iloc[0]
        rows.append(
            {
                "index": number,
                "flipped": len(wrong) > 0,
                "condition": shown["condition"],
                "rank": shown["strength"] if len(wrong) else math.inf,
                "left": shown[f"p_{shown['target']}"],
            }
        )
    columns = ["index", "flipped", "condition", "rank", "left"]
    table = pd.DataFrame(rows, columns=pd.Index(columns)).sort_values(["rank", "left", "index"])
    return table[columns[:3]].reset_index(drop=True)
