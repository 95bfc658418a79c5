"""File name -> record: what a BreakHis file name says about an image, in pure Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """One image of a data set.

    Attributes:
        path: where the file lies.
        image_id: unique name of the image inside its source (for BreakHis the file name without
            ending); the join key of every result file.
        label: name of the class the image belongs to under the chosen target.
        patient: key of the group that must not stand on both sides of a patient-level split
            (for BreakHis the case number without letters); ``None`` where unknown.
        slide: full slide id with letters, e.g. ``14-21998AB``; ``None`` where unknown.
        subtype: e.g. ``DC``; ``None`` where unknown.
        magnification: 40, 100, 200 or 400; ``None`` where unknown.
        part: ``train`` or ``test`` where the source itself fixes it; else ``None``.
    """

    path: Path
    image_id: str
    label: str
    patient: str | None = None
    slide: str | None = None
    subtype: str | None = None
    magnification: int | None = None
    part: str | None = None
