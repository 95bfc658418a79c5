"""Images that may show several findings: shared out so that each part has its share of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from bcadv.data.records import Record

_TOLERANCE = 0.02
"""A finding's share of validation or test may be off by so much, and by half its largest group."""
_DRAWS = 4

_ANY = ""
"""Stands beside the findings of every image, so that parts have their share of all images too."""

Sizes = Mapping[str, Sequence[tuple[int, int]]]
"""Per group, (finding, images) of the findings it has."""


def several(records: Iterable[Record]) -> bool:
    """Whether images may show several findings."""
    return any(record.findings is not None for record in records)


def cooccurrence(records: Iterable[Record], classes: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """How many images show two findings together.

    Args:
        records: the images.
        classes: the L findings.

    Returns:
        L rows of L counts, in the order of ``classes``; the diagonal counts all that show one.
    """
    number = {name: c for c, name in enumerate(classes)}
    counts = [[0] * len(classes) for _ in classes]
    # There are many images and few combinations.
    for shown, n in Counter(record.findings or () for record in records).items():
        for one in shown:
            for other in shown:
                counts[number[one]][number[other]] += n
    return tuple(map(tuple, counts))


def assign(
    records: Sequence[Record],
    groups: Mapping[str, Sequence[int]],
    fractions: Sequence[float],
    lot: Callable[[str, int], bytes],
) -> list[list[int]]:
    """Assigns whole groups to parts, each finding as near to the fractions as groups allow.

    A group goes where the rarest of its findings is missing, else where its findings are needed
    most. A finding of fewer groups than there are parts is not looked at: it cannot stand in all.

    Args:
        records: the images.
        groups: images that must stay together, by name.
        fractions: share of each finding due to each part.
        lot: place of a group in a random order, by its name and the number of the draw.

    Returns:
        Images per part: of a few draws the first that is even enough, else the best.
    """
    counted = {
        key: Counter(name for i in members for name in (*records[i].strata, _ANY))
        for key, members in groups.items()
    }
    of_groups = Counter(name for count in counted.values() for name in count)
    kept = sorted(name for name, n in of_groups.items() if n >= len(fractions))
    number = {name: c for c, name in enumerate(kept)}
    sizes = {
        key: [(number[name], n) for name, n in sorted(count.items()) if name in number]
        for key, count in counted.items()
    }
    totals, largest = [0] * len(kept), [0] * len(kept)
    for size in sizes.values():
        for c, n in size:
            totals[c] += n
            largest[c] = max(largest[c], n)
    best: list[list[str]] = []
    best_cost = math.inf
    for draw in range(_DRAWS):
        order = sorted(groups, key=lambda key: lot(key, draw))
        placed, counts = _deal(order, sizes, totals, fractions)
        cost = max(
            (
                abs(counts[part][c] / totals[c] - fractions[part]) - 0.5 * largest[c] / totals[c]
                for part in range(1, len(fractions))
                for c in range(len(kept))
            ),
            default=0.0,
        )
        if cost < best_cost:
            best, best_cost = placed, cost
        if cost <= _TOLERANCE:
            break
    return [[i for key in part for i in groups[key]] for part in best]


def _deal(
    order: Sequence[str], sizes: Sizes, totals: Sequence[int], fractions: Sequence[float]
) -> tuple[list[list[str]], list[list[int]]]:
    """Deals groups out in the given order.

    Returns:
        The groups, and the images of each finding, per part.
    """
    parts = range(len(fractions))
    placed: list[list[str]] = [[] for _ in parts]
    counts = [[0] * len(totals) for _ in parts]
    due = [[fraction * total for total in totals] for fraction in fractions]
    backwards = tuple(reversed(parts))
    for key in order:
        size = sizes[key]
        into, least = 0, math.inf
        rarest = min((c for c, _ in size), key=totals.__getitem__, default=None)
        for part in backwards:
            have, goal = counts[part], due[part]
            if rarest is not None and not have[rarest]:
                into = part
                break
            # The change in squared distance from the goals, each finding relative to its total,
            # each part to its own.
            change = sum(s * (s + 2 * (have[c] - goal[c])) / totals[c] ** 2 for c, s in size)
            if change / fractions[part] < least:
                into, least = part, change / fractions[part]
        placed[into].append(key)
        for c, s in size:
            counts[into][c] += s
    return placed, counts
