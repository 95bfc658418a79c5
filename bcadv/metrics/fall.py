"""At which strength of an attack each image is turned."""

from __future__ import annotations

import math

import pandas as pd

CLEAN = "none"
"""Name of the perturbation that does nothing."""


SHOWN = 3
"""Images on either side of a gallery."""


def ends(count: int) -> tuple[int, int]:
    """How many of the first and of the last to fall are shown of so many; none twice."""
    last = min(SHOWN, count // 2)
    return min(SHOWN, count - last), last


def order_of_fall(predictions: pd.DataFrame, attack: str) -> pd.DataFrame:
    """When each image that is right when clean is turned.

    Args:
        predictions: of one classifier under one choice of BatchNorm statistics.
        attack: name of the perturbation.

    Returns:
        A row per image, the first to fall first: ``index``, ``flipped``, and ``eps_px`` (grey
        levels at which its class first changed; the largest tried where it never did). Among
        images that fall together, the one whose true class is left with less probability is first.
    """
    clean = predictions[predictions["perturbation"] == CLEAN]
    right = clean.loc[clean["prediction"] == clean["target"], "index"]
    tried = predictions[
        (predictions["perturbation"] == attack)
        & (predictions["eps_px"] > 0)
        & predictions["index"].isin(right)
    ]
    rows = []
    for number, part in tried.sort_values("eps_px").groupby("index"):
        wrong = part[part["prediction"] != part["target"]]
        shown = (wrong if len(wrong) else part.iloc[::-1]).iloc[0]
        rows.append(
            {
                "index": number,
                "flipped": len(wrong) > 0,
                "eps_px": shown["eps_px"],
                "rank": shown["eps_px"] if len(wrong) else math.inf,
                "left": shown[f"p_{shown['target']}"],
            }
        )
    columns = ["index", "flipped", "eps_px", "rank", "left"]
    table = pd.DataFrame(rows, columns=pd.Index(columns)).sort_values(["rank", "left", "index"])
    return table[columns[:3]].reset_index(drop=True)
