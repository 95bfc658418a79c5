"""What each attack achieved, what it cost, and how near it comes to the best of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcadv.results.condition import CLEAN, Condition
from bcadv.results.effort import Effort

Floats = NDArray[np.float64]


def efforts(
    frames: Iterable[tuple[str, str, pd.DataFrame]], conditions: Sequence[Condition]
) -> list[Effort]:
    """Looks at a predictions table one variant and condition at a time.

    Args:
        frames: (variant, id of the condition, rows), clean first; see
            `bcadv.evaluate.predictions.read_frames`.
        conditions: that the table is about.

    Returns:
        One per variant and attack.
    """
    known = {condition.id: condition for condition in conditions}
    made: list[Effort] = []
    variant, seen = "", dict[str, _Attack]()
    right: NDArray[np.bool_] = np.zeros(0, bool)
    for of, name, frame in frames:
        if of != variant:
            made += _scored(variant, seen, right)
            variant, seen = of, {}
        condition = known[name]
        wrong = (frame["prediction"] != frame["target"]).to_numpy(bool)
        if name == CLEAN.id:
            right = ~wrong
        elif condition.kind == "attack" and condition.strength > 0:
            attack = seen.setdefault(condition.series, _Attack(condition, len(frame)))
            attack.see(condition, frame, wrong)
    return [*made, *_scored(variant, seen, right)]


class _Attack:
    """A few numbers per image of one attack at all its strengths."""

    def __init__(self, first: Condition, n: int) -> None:
        self.first = first
        self.distance = np.full(n, np.inf)
        self.strengths: set[float] = set()
        self.cost: dict[str, float | None] = {}
        self.broken_by: dict[str, dict[str, int]] = {}

    def see(self, condition: Condition, frame: pd.DataFrame, wrong: NDArray[np.bool_]) -> None:
        size = frame["size"].to_numpy(np.float64)
        self.distance[wrong] = np.minimum(self.distance[wrong], size[wrong])
        self.strengths.add(condition.size)
        told = _column(frame, "distance")
        # That of a saved image is of the image before it was saved, which may be right.
        if told is not None and condition.acceptance == "float":
            self.distance = np.minimum(self.distance, told)
        for name in ("gradients", "queries"):
            counted = _column(frame, name)
            self.cost[name] = None if counted is None else float(counted.mean())
        if "broken_by" in frame and frame["broken_by"].notna().any():
            counts = Counter(frame["broken_by"].dropna())
            self.broken_by[condition.id] = dict(sorted(counts.items()))


def _column(frame: pd.DataFrame, name: str) -> Floats | None:
    """A column of numbers; ``None`` where it is not there, or empty."""
    if name not in frame or frame[name].isna().any() or not len(frame):
        return None
    return frame[name].to_numpy(np.float64)


def _scored(variant: str, seen: dict[str, _Attack], right: NDArray[np.bool_]) -> Iterable[Effort]:
    alike: dict[Any, list[_Attack]] = {}
    for attack in seen.values():
        alike.setdefault(_question(attack.first), []).append(attack)
    for name, attack in seen.items():
        rivals = alike[_question(attack.first)]
        strengths = np.array(sorted(set[float]().union(*(rival.strengths for rival in rivals))))
        distance = attack.distance[right]
        found = np.isfinite(distance)
        median = float(np.median(distance)) if len(distance) else np.inf
        yield Effort(
            batchnorm=variant,
            series=name,
            n=int(right.sum()),
            broken=int(found.sum()),
            median_distance=median if np.isfinite(median) else None,
            gradients=attack.cost.get("gradients"),
            queries=attack.cost.get("queries"),
            optimality=optimality(distance, [rival.distance[right] for rival in rivals], strengths)
            if len(rivals) > 1
            else None,
            against=len(rivals) - 1,
            broken_by=attack.broken_by,
        )


def _question(condition: Condition) -> tuple[object, ...]:
    """What attacks have to have in common to be compared."""
    return condition.norm, condition.goal, condition.wanted, condition.acceptance


def optimality(distance: Floats, rivals: Sequence[Floats], strengths: Floats) -> float | None:
    """Local optimality of an attack (Cinà et al., "AttackBench", AAAI 2025).

    One less the share of the area between clean accuracy and the best robustness curve that the
    attack's own curve leaves: both curves run over the strengths from 0 to where the best one
    reaches 0. An image that breaks at distance d adds min(d, end) to the area below the curve.

    The curves are those at the strengths tried: a distance counts as the next strength up, for an
    attack that is asked at a few strengths alone must not lose to one that measures in between.

    Args:
        distance: of the nearest adversarial image found of each image that is right when clean,
            inf where none was, shape (n,).
        rivals: the same of every attack, this one included.
        strengths: that were tried, rising; where the best leaves images standing at the last one,
            the curves end there.

    Returns:
        From 0 to 1; ``None`` where no attack breaks any image.
    """
    above = np.append(strengths, np.inf)

    def tried(at: Floats) -> Floats:
        """The smallest strength whose ball holds each; rounding does not put it out of it."""
        return above[np.searchsorted(strengths, at / (1 + 1e-4))]

    best, distance = tried(np.min(rivals, axis=0)), tried(distance)
    if not np.isfinite(best).any():
        return None
    end = float(min(best.max(), strengths[-1]))
    gained, most = (float((end - np.minimum(d, end)).sum()) for d in (distance, best))
    # Where the best breaks all images at one distance there is no area, only who did it too.
    return gained / most if most > 0 else float((distance <= end).mean())
