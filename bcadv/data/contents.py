"""What the files of a data set hold: sizes, modes, ranges, copies, and what gives a class away."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bcadv.data.inspection import Alike, Giveaway, Pixels, Place, Range, Size
from bcadv.data.look import Header, of_each, values, why
from bcadv.data.records import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = 200
"""Images whose pixels are looked at."""

_LEAST = 10
"""Of each class, and so many a property has to be seen in before it tells classes apart."""

_MOST_PIXELS = 200_000_000
"""Of the sample in all; large images are fewer."""

_SIZES, _SETS = 20, 50
_INSIDE, _OUTSIDE = 0.95, 0.05
"""A value gives a class away that so large a share of its images has, and at most so large a share
of the others."""


def drawn(members: Iterable[Record], seed: int) -> list[Record]:
    """Images in a seeded order, whatever order they come in."""

    def lot(record: Record) -> bytes:
        return hashlib.blake2b(f"{seed}:look:{record.image_id}".encode(), digest_size=8).digest()

    return sorted(members, key=lot)


@dataclass(frozen=True)
class Sample:
    """What the pixels of some images are.

    Attributes:
        ranges: for each value of white.
        coloured: image id -> whether it has colours.
        broken: image id -> why it cannot be decoded, though its header can be read.
    """

    ranges: tuple[Range, ...]
    coloured: Mapping[str, bool]
    broken: Mapping[str, str]


def sampled(read: Sequence[tuple[Record, Header]], seed: int, white: float | None = None) -> Sample:
    """Looks at the pixels of some images of every class.

    Args:
        read: images with their headers.
        seed: of the draw.
        white: as ``data.white``.
    """
    chosen = _sample(read, seed)
    looked = list(zip(chosen, of_each(partial(_look, white=white), chosen), strict=True))
    good = [(record, one) for record, one in looked if not isinstance(one, str)]
    ranges = []
    for at in sorted({one.white for _, one in good}):
        rows = [one for _, one in good if one.white == at]
        low, high = min(one.low for one in rows), max(one.high for one in rows)
        ranges.append(Range(at, low, high, len(rows)))
    return Sample(
        ranges=tuple(ranges),
        coloured={record.image_id: one.coloured for record, one in good},
        broken={record.image_id: one for record, one in looked if isinstance(one, str)},
    )


def pixels_of(read: Sequence[tuple[Record, Header]], sample: Sample) -> Pixels:
    """What the files hold.

    Args:
        read: images with their headers.
        sample: of their pixels.
    """
    sizes: dict[tuple[int, int], list[Record]] = defaultdict(list)
    for record, header in read:
        sizes[header.width, header.height].append(record)
    every = [Size(w, h, len(rows), str(rows[0].path)) for (w, h), rows in sizes.items()]
    every.sort(key=lambda size: (-size.images, size.width, size.height))
    return Pixels(
        formats=_counted(header.format for _, header in read),
        modes=_counted(header.mode for _, header in read),
        sizes=tuple(every[:_SIZES]),
        different_sizes=len(every),
        smallest=min(
            every, key=lambda s: (min(s.width, s.height), s.width * s.height), default=None
        ),
        largest=max(every, key=lambda s: s.width * s.height, default=None),
        turned=sum(header.turned for _, header in read),
        ranges=sample.ranges,
        sampled=len(sample.coloured),
        coloured=sum(sample.coloured.values()),
    )


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _sample(read: Sequence[tuple[Record, Header]], seed: int) -> list[Record]:
    """Images of every class alike, fewer where they are large."""
    classes: dict[str, list[Record]] = defaultdict(list)
    area: dict[str, int] = {}
    for record, header in read:
        classes[record.label].append(record)
        area[record.image_id] = header.width * header.height
    each = max(_LEAST, SAMPLE // max(1, len(classes)))
    orders = [drawn(members, seed)[:each] for _, members in sorted(classes.items())]
    chosen, room = [], _MOST_PIXELS
    for place in range(each):
        for order in orders:
            if place < len(order) and (room > 0 or place < 2):
                chosen.append(order[place])
                room -= area[order[place].image_id]
    return chosen


@dataclass(frozen=True)
class _Look:
    white: float
    low: float
    high: float
    coloured: bool


def _look(record: Record, white: float | None) -> _Look | str:
    """What the pixels of an image are, or why it cannot be decoded."""
    from bcadv.pixels import BAD_IMAGE

    try:
        pixels, at = values(record.path, record.frame, white)
    except BAD_IMAGE as error:
        return why(error, record.path)
    return _Look(at, float(pixels.min()), float(pixels.max()), _has_colour(pixels, at))


def _has_colour(pixels: NDArray, white: float) -> bool:  # type: ignore[type-arg]
    """Whether channels differ in more than a few pixels and by more than a JPEG's rounding."""
    if pixels.ndim < 3:
        return False
    spread = pixels.max(-1).astype(float) - pixels.min(-1)
    return bool((spread > 0.05 * white).mean() > 0.01)


def alike(places: Sequence[tuple[Record, str | None]], digests: Sequence[str | None]) -> Alike:
    """Images that are byte-identical.

    Args:
        places: images, each with its part.
        digests: equal for equal images alone; ``None``: unlike every other one.
    """
    sets: dict[str, list[int]] = defaultdict(list)
    for i, digest in enumerate(digests):
        if digest is not None:
            sets[digest].append(i)
    return summed(places, [members for members in sets.values() if len(members) > 1])


def summed(places: Sequence[tuple[Record, str | None]], sets: Sequence[Sequence[int]]) -> Alike:
    """Sets of images that are the same, in numbers and examples.

    Args:
        places: images, each with its part.
        sets: of places in the former.
    """
    across_parts = [len({places[i][1] for i in members}) > 1 for members in sets]
    across_classes = [len({places[i][0].strata for i in members}) > 1 for members in sets]
    order = sorted(
        range(len(sets)),
        key=lambda k: (not across_parts[k], not across_classes[k], places[sets[k][0]][0].image_id),
    )
    return Alike(
        sets=len(sets),
        images=sum(map(len, sets)),
        across_parts=sum(across_parts),
        across_classes=sum(across_classes),
        examples=tuple(
            tuple(
                Place(places[i][0].image_id, places[i][1], places[i][0].label) for i in sets[k][:10]
            )
            for k in order[:_SETS]
        ),
    )


def giveaways(
    read: Sequence[tuple[Record, Header]], coloured: Mapping[str, bool]
) -> tuple[Giveaway, ...]:
    """Properties of files that tell a class from the others, 95 to 5 or better.

    A model would learn them instead of the disease. Classes of fewer than ten images, and values
    seen in fewer, prove nothing.

    Args:
        read: images with their headers.
        coloured: image id -> whether it has colours, of a sample.
    """
    properties: dict[str, list[tuple[Record, str]]] = {
        "format": [(r, h.format) for r, h in read],
        "mode": [(r, h.mode) for r, h in read],
        "size": [(r, f"{h.width} x {h.height}") for r, h in read],
        "orientation tag": [(r, "turned" if h.turned else "upright") for r, h in read],
        "colour": [
            (r, "coloured" if coloured[r.image_id] else "grey")
            for r, _ in read
            if r.image_id in coloured
        ],
    }
    found: list[Giveaway] = []
    for name, rows in properties.items():
        found += _telling(name, rows)
    if not any(one.property == "size" for one in found):
        found += _by_area(read)
    return tuple(found)


def _telling(name: str, rows: Sequence[tuple[Record, str]]) -> list[Giveaway]:
    """The value of a property that tells each class apart; of two classes, it is said once."""
    of_class = Counter(stratum for record, _ in rows for stratum in record.strata)
    having = Counter((stratum, value) for record, value in rows for stratum in record.strata)
    values = Counter(value for _, value in rows)
    found: list[Giveaway] = []
    for label, of in sorted(of_class.items()):
        others = len(rows) - of
        for value, total in values.most_common():
            inside = having[label, value]
            outside = total - inside
            if (
                min(of, others) >= _LEAST
                and inside >= _INSIDE * of
                and outside <= _OUTSIDE * others
            ):
                found.append(Giveaway(name, label, value, inside, of, outside, others))
    return found


def _by_area(read: Sequence[tuple[Record, Header]]) -> list[Giveaway]:
    """A number of pixels above which nearly all images are of one class and nearly no others."""
    areas = [(header.width * header.height, record) for record, header in read]
    of_class = Counter(stratum for _, record in areas for stratum in record.strata)
    for label, of in sorted(of_class.items()):
        inside = sorted(area for area, record in areas if label in record.strata)
        others = sorted(area for area, record in areas if label not in record.strata)
        if min(len(inside), len(others)) < _LEAST:
            continue
        # The smallest area that at least 95 % of the class have.
        least = inside[int((1 - _INSIDE) * of)]
        above = sum(area >= least for area in others)
        if above <= _OUTSIDE * len(others):
            value = f"at least {least} pixels"
            rows = sum(area >= least for area in inside)
            return [Giveaway("size", label, value, rows, of, above, len(others))]
    return []
