"""Images whose pixels are nearly equal: copies in another size, format or brightness.

Each image is brought to 32 x 32 grey values, of which the mean of the 5 x 5 around each is taken
away: what remains are edges, not the shapes that all chest X-rays share. Two images are nearly
equal where these correlate by 0.93 or more, or by -0.93 or less, as an image and its negative do.

Where the threshold comes from: among the 17 million pairs of the 5,840 chest X-rays of Kermany et
al. (2018) the 34 pairs above it are byte-identical; the next ones below have 0.89 (perhaps one
child twice) and 0.85 (two children beside the same letter). Plain correlation above 0.93 would call
12,500 of these pairs equal. An image of BreakHis and the same at half its size have 0.999, the two
most alike of 422 have 0.65: one field, photographed again and moved. Of 100 images of each set
changed on purpose, JPEG of quality 10, noise of 25 grey levels, a gamma of 1.5 and a size of 64
pixels left 0.92 at the least and mostly 0.97; a gamma of 2.2 left 0.86 to 0.99 and a border of 1 %
cut off 0.83 to 0.95, so that these are found at times. Mirror images, turned ones and other crops
are not found, and nor are images without edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from bcadv.data.look import in_threads, shown, small
from bcadv.data.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bcadv.data.inspection import Alike

THRESHOLD = 0.93
"""Correlation from which on two images are called nearly equal."""

_SIDE, _WINDOW = 32, 5
_BLOCK = 1024
_FLAT = 0.5
"""Standard deviation in grey levels below which an image has no edges to compare."""


def near_equal(
    places: Sequence[tuple[Record, str | None]],
    digests: Sequence[str | None],
    white: float | None = None,
) -> Alike:
    """Sets of nearly equal images that are not byte-identical.

    Args:
        places: images, each with its part.
        digests: of their files; ``None``: unlike every other one.
        white: as ``data.white``.
    """
    from bcadv.data.contents import summed

    parent = list(range(len(places)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    found = features([record for record, _ in places], white)
    for i, j, _ in pairs(found, found):
        if i < j and (digests[i] is None or digests[i] != digests[j]):
            parent[root(j)] = root(i)
    sets: dict[int, list[int]] = {}
    for i in range(len(places)):
        sets.setdefault(root(i), []).append(i)
    return summed(places, [members for members in sets.values() if len(members) > 1])


def features(records: Sequence[Record], white: float | None = None) -> NDArray[np.float32]:
    """What two images are compared by, float32, shape (n, 1024).

    Each row has length 1, or 0 where the image cannot be decoded or has no edges.
    """
    import numpy as np

    if not records:
        return np.zeros((0, _SIDE**2), np.float32)
    look = partial(_small, side=_SIDE, white=white)
    empty = np.zeros((_SIDE, _SIDE), np.float32)
    grey = (
        one if one is not None else empty
        for one in shown(in_threads(look, records), "Comparing pixels", len(records))
    )
    # Block by block, so that memory holds little more than the result.
    blocks = iter(lambda: list(islice(grey, _BLOCK)), [])
    return np.concatenate([_edges(np.stack(block)) for block in blocks])


def _edges(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """What remains of images without their shapes, each row of length 1 or 0."""
    import numpy as np

    edges = (grey - _mean_around(grey)).reshape(len(grey), -1)
    edges -= edges.mean(1, keepdims=True)
    flat = edges.std(1, keepdims=True) < _FLAT
    length = np.linalg.norm(edges, axis=1, keepdims=True)
    return np.where(flat, 0, edges / np.where(flat, 1, length)).astype(np.float32)


def _small(record: Record, side: int, white: float | None) -> NDArray[np.float32] | None:
    return small(record.path, record.frame, side, white)


def _mean_around(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the window around each value, mirrored at the border; shape (n, side, side)."""
    import numpy as np

    border = _WINDOW // 2
    padded = np.pad(grey, ((0, 0), (border, border), (border, border)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_WINDOW, _WINDOW), axis=(1, 2))
    mean: NDArray[np.float32] = windows.mean((-2, -1))
    return mean


def pairs(one: NDArray[np.float32], other: NDArray[np.float32]) -> Iterator[tuple[int, int, float]]:
    """Every pair of nearly equal images: their places and their correlation.

    Args:
        one: of `features`.
        other: likewise; may be the same.
    """
    import numpy as np

    for start in range(0, len(one), _BLOCK):
        for begin in range(0, len(other), _BLOCK):
            product = one[start : start + _BLOCK] @ other[begin : begin + _BLOCK].T
            for i, j in np.argwhere(np.abs(product) >= THRESHOLD):
                yield start + int(i), begin + int(j), float(product[i, j])
