"""A contact sheet: a few images of each class and part, small, as a page can hold them."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from bcadv.data.contents import drawn
from bcadv.data.inspection import Strip, Thumbnail
from bcadv.data.look import of_each, picture
from bcadv.data.records import Record

_SIDE, _QUALITY = 112, 72
_PER_CELL, _IN_ALL = 6, 160
"""Images of a class in a part, and of the sheet: about 5 kB each."""


def contact_sheet(
    places: Sequence[tuple[Record, str | None]],
    classes: Sequence[str],
    *,
    seed: int,
    white: float | None = None,
) -> tuple[Strip, ...]:
    """Draws and shrinks some images of each class and part.

    Args:
        places: images, each with its part.
        classes: the order of the strips; those that have no image get none.
        seed: of the draw.
        white: as ``data.white``.
    """
    cells: dict[tuple[str, str | None], list[Record]] = defaultdict(list)
    for record, part in places:
        for label in record.strata:
            cells[label, part].append(record)
    order = {name: number for number, name in enumerate(("train", "val", "test", "unused", None))}
    names = sorted(
        (cell for cell in cells if cell[0] in classes),
        key=lambda cell: (classes.index(cell[0]), order.get(cell[1], len(order))),
    )[:_IN_ALL]
    each = max(1, min(_PER_CELL, _IN_ALL // max(1, len(names))))
    chosen = {name: drawn(cells[name], seed)[:each] for name in names}
    every = [record for records in chosen.values() for record in records]
    made = iter(of_each(partial(_thumbnail, white=white), every))
    return tuple(
        Strip(label, part, len(cells[label, part]), tuple(next(made) for _ in records))
        for (label, part), records in chosen.items()
    )


def _thumbnail(record: Record, white: float | None) -> Thumbnail:
    from PIL import Image

    from bcadv.pixels import BAD_IMAGE

    try:
        whole = picture(record.path, record.frame, white)
    except BAD_IMAGE:
        return Thumbnail(record.image_id, "", _SIDE, _SIDE)
    scale = _SIDE / max(whole.size)
    size = (max(1, round(scale * whole.width)), max(1, round(scale * whole.height)))
    stream = io.BytesIO()
    small = whole.resize(size, Image.Resampling.LANCZOS)
    small.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return Thumbnail(record.image_id, f"data:image/jpeg;base64,{text}", *size)
