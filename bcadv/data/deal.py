"""Dealing out whole groups of images, the patients, to the parts of a split: seeded, and even."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal

from bcadv.data import findings
from bcadv.data.records import Record
from bcadv.errors import BcadvError

# A grouped draw is good enough when no class's share of validation or test is off by more than
# this (and by what rounding to whole images costs). Stopping there, rather than at the best of all
# draws, is what lets different seeds give different splits of a few large patients.
_TOLERANCE = 0.02

# Draws of the grouped search: many where there are few groups and luck decides, few where there
# are thousands and every draw comes out even.
_MAX_DRAWS = 500
_MIN_DRAWS = 25
_PLACEMENTS = 50_000


def lot(seed: int, key: str, draw: int = 0) -> bytes:
    """A place in a seeded random order."""
    return hashlib.blake2b(f"{seed}:{draw}:{key}".encode(), digest_size=8).digest()


def group_of(record: Record) -> str:
    """The key of what must stay together; an image without a known patient stands alone."""
    return f"image {record.image_id}" if record.patient is None else f"patient {record.patient}"


def by(
    records: Sequence[Record], members: Iterable[int], key: Callable[[Record], str]
) -> dict[str, list[int]]:
    """Numbers of records, put together by what a function says of each."""
    grouped: dict[str, list[int]] = defaultdict(list)
    for i in members:
        grouped[key(records[i])].append(i)
    return dict(grouped)


def carve(
    records: Sequence[Record], members: Sequence[int], seed: int, val_fraction: float = 0.1
) -> list[list[int]]:
    """Divides training images into training and validation, by patient.

    Args:
        records: all images.
        members: numbers of those to divide.
        seed: of the draw.
        val_fraction: share of each class's images that becomes validation.

    Raises:
        BcadvError: a class has a single patient, or the share is none.
    """
    if not 0 < val_fraction < 1:
        raise BcadvError(f"val_fraction={val_fraction} must lie between 0 and 1")
    return assign(records, members, (1 - val_fraction, val_fraction), seed)


def assign(
    records: Sequence[Record],
    members: Iterable[int],
    fractions: Sequence[float],
    seed: int,
    *,
    parts: Literal["parts", "folds"] = "parts",
) -> list[list[int]]:
    """Assigns whole groups to parts, each class as near to the fractions as groups allow.

    Args:
        records: all images.
        members: numbers of those to assign.
        fractions: share of each class's images due to each part.
        seed: of the draws.
        parts: what to call them; folds are to be alike, of parts the first takes the rest.

    Returns:
        Numbers per part.

    Raises:
        BcadvError: there are too few groups of a class.
    """
    groups = by(records, members, group_of)
    if findings.several(records):
        return findings.assign(records, groups, fractions, partial(lot, seed))
    totals = Counter(records[i].label for group in groups.values() for i in group)
    labels = sorted(totals)
    sizes = {
        key: sorted(Counter(labels.index(records[i].label) for i in group).items())
        for key, group in groups.items()
    }
    patients = Counter(c for size in sizes.values() for c, _ in size)
    remedy = "data.split=paper" if parts == "parts" else "fewer data.folds"
    for c, label in enumerate(labels):
        n_groups = patients[c]
        if n_groups < len(fractions):
            raise BcadvError(
                f"class '{label}' has {n_groups} patient(s), too few to stand in "
                f"{len(fractions)} {parts} with no patient in two: choose {remedy}, or classes "
                "with more patients"
            )
    ceiling = _TOLERANCE + 0.5 / min(totals.values(), default=1)
    draws = min(_MAX_DRAWS, max(_MIN_DRAWS, _PLACEMENTS // max(1, len(groups))))
    best: list[list[str]] | None = None
    best_cost = math.inf
    for draw in range(draws):
        order = sorted(groups, key=lambda key: lot(seed, key, draw))
        place = _place if parts == "parts" else _deal
        placed, cost = place(order, sizes, [totals[label] for label in labels], fractions)
        if cost < best_cost:
            best, best_cost = placed, cost
        if best_cost <= ceiling:
            break
    if best is None:
        raise BcadvError(
            f"none of {draws} draws put every class into each of {len(fractions)} {parts} with no "
            f"patient in two: choose {remedy}, or classes with more patients"
        )
    return [[i for key in part for i in groups[key]] for part in best]


def _place(
    order: Sequence[str],
    sizes: Mapping[str, Sequence[tuple[int, int]]],
    totals: Sequence[int],
    fractions: Sequence[float],
) -> tuple[list[list[str]], float]:
    """Deals groups out in the given order; the first part takes what the others do not.

    Args:
        order: the groups.
        sizes: per group, (class, images) of the classes it has.
        totals: images per class.
        fractions: share of every class due to each part.

    Returns:
        The groups per part, and the largest distance of a class's share of a part, the first part
        aside, from the fraction asked for: infinite where any part lacks a class.
    """
    placed: list[list[str]] = [[] for _ in fractions]
    counts = [[0] * len(totals) for _ in fractions]
    due = [[fraction * total for total in totals] for fraction in fractions]
    for key in order:
        size = sizes[key]
        into = 0
        for part in range(len(fractions) - 1, 0, -1):
            have, goal = counts[part], due[part]
            # The change in squared distance from the goals, each class relative to its total.
            change = sum(s * (s + 2 * (have[c] - goal[c])) / totals[c] ** 2 for c, s in size)
            if change < 0 or any(not have[c] for c, _ in size):
                into = part
                break
        placed[into].append(key)
        for c, s in size:
            counts[into][c] += s
    if not all(map(all, counts)):
        return placed, math.inf
    return placed, max(
        abs(have - goal) / total
        for part in range(1, len(fractions))
        for have, goal, total in zip(counts[part], due[part], totals, strict=True)
    )


def _deal(
    order: Sequence[str],
    sizes: Mapping[str, Sequence[tuple[int, int]]],
    totals: Sequence[int],
    fractions: Sequence[float],
) -> tuple[list[list[str]], float]:
    """Deals groups out to parts that are to be alike: each goes where its classes are rarest.

    So every part has every class as long as there are patients enough, however unequal they are.
    Arguments and results are those of `_place`, with no part aside.
    """
    placed: list[list[str]] = [[] for _ in fractions]
    counts = [[0] * len(totals) for _ in fractions]
    for key in order:
        size = sizes[key]

        # As in `_place`, of parts that are due the same.
        change = [sum(s * (s + 2 * have[c]) / totals[c] ** 2 for c, s in size) for have in counts]
        into = change.index(min(change))
        placed[into].append(key)
        for c, s in size:
            counts[into][c] += s
    if not all(map(all, counts)):
        return placed, math.inf
    return placed, max(
        abs(have / total - fraction)
        for part, fraction in zip(counts, fractions, strict=True)
        for have, total in zip(part, totals, strict=True)
    )
