"""Gathers what a data set would be taken for, before anything is trained. Imports no torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bcadv.data.audit import Audit, audit
from bcadv.data.catalog import SOURCES
from bcadv.data.contact import contact_sheet
from bcadv.data.contents import alike, giveaways, pixels_of, sampled
from bcadv.data.doubts import doubts_of, no_split, too_small
from bcadv.data.inspection import (
    Broken,
    Class,
    Doubt,
    Folder,
    Inspection,
    LeftOut,
    Part,
    Patients,
    Size,
)
from bcadv.data.look import Header, headers
from bcadv.data.near import near_equal
from bcadv.data.parts import split
from bcadv.data.records import Record, Selection
from bcadv.errors import BcadvError
from bcadv.pixels import resized

if TYPE_CHECKING:
    from bcadv.config import DataConfig
    from bcadv.data.splits import Split

UNUSED = "unused"
"""The part of images that stand in none."""


def inspect(
    config: DataConfig, *, seed: int = 0, near: bool = False, sheet: bool = False
) -> Inspection:
    """Finds the images, reads the header of every file and the pixels of a sample.

    Args:
        config: which images, and how they are to be split.
        seed: of the split and of the sample.
        near: also look for images whose pixels are nearly equal, which decodes all of them.
        sheet: also make a contact sheet.

    Raises:
        BcadvError: there are no such images.
    """
    selection = config.find()
    pairs = list(zip(selection.records, headers(selection.records), strict=True))
    broken = {record.image_id: one for record, one in pairs if isinstance(one, str)}
    read = [(record, one) for record, one in pairs if isinstance(one, Header)]
    sample = sampled(read, seed, config.white)
    broken |= sample.broken
    read = [(record, one) for record, one in read if record.image_id not in broken]
    # As a job does: what it would leave out is not split.
    used = selection.records
    if config.on_bad_image == "skip":
        used = tuple(record for record, _ in read)
    more: list[Doubt] = []
    parts: Split | None = None
    try:
        parts = split(config, used, seed=seed) if used else None
    except BcadvError as error:
        more.append(no_split(str(error)))
    part_of = _part_of(used, parts)
    places = [(record, part_of.get(record.image_id)) for record, _ in read]
    digests = [one.digest for _, one in read]
    overlap = None if parts is None else audit(used, parts, _contents(used, read))
    pixels = pixels_of(read, sample)
    seen = seen_in(config, selection, used, parts, overlap, seed=seed)
    whole = replace(
        seen,
        pixels=pixels,
        broken=tuple(
            Broken(str(record.path), broken[record.image_id])
            for record in selection.records
            if record.image_id in broken
        ),
        duplicates=alike(places, digests),
        near=near_equal(places, digests, config.white) if near else None,
        giveaways=giveaways(read, sample.coloured),
        sheet=contact_sheet(
            places, [one.name for one in seen.classes], seed=seed, white=config.white
        )
        if sheet
        else (),
    )
    if pixels.smallest is not None:
        more += _crop(config, pixels.smallest)
    return whole.with_doubts((*more, *doubts_of(whole, config)))


def seen_in(
    config: DataConfig,
    selection: Selection,
    records: Sequence[Record],
    parts: Split | None,
    overlap: Audit | None,
    *,
    seed: int,
) -> Inspection:
    """What records alone say; opens no file.

    Args:
        config: which images, and how they were split.
        selection: that was found.
        records: of it, those that were split.
        parts: their split, as places in ``records``; ``None``: there is none.
        overlap: of the parts.
        seed: of the split.
    """
    part_of = _part_of(records, parts)
    found = Inspection(
        source=config.source,
        words=SOURCES[config.source].words,
        root=None if config.root is None else str(config.root),
        synthetic=SOURCES[config.source].synthetic,
        kind=selection.kind,
        images=len(selection.records),
        layout=selection.layout,
        folders=_folders(selection, config.root),
        left_out=tuple(LeftOut(*one) for one in selection.left_out),
        classes=_classes(selection, part_of),
        disease_by=selection.positive_by,
        patients=_patients(selection, config),
        split=config.split,
        fold=config.fold,
        seed=seed,
        parts=_parts(records, part_of) if parts is not None else (),
        overlap=overlap,
        notes=selection.notes,
    )
    return found.with_doubts(doubts_of(found, config))


def _part_of(records: Sequence[Record], parts: Split | None) -> dict[str, str]:
    """Image id -> its part of the split, or of the folders where there is no split."""
    if parts is None:
        return {record.image_id: record.part for record in records if record.part is not None}
    found = {record.image_id: UNUSED for record in records}
    for name, members in parts.by_part().items():
        found |= {records[i].image_id: name for i in members}
    return found


def _contents(records: Sequence[Record], read: Iterable[tuple[Record, Header]]) -> dict[str, str]:
    """Image id -> what is equal for equal files alone."""
    known = {record.image_id: header.digest for record, header in read if header.digest is not None}
    return {record.image_id: known.get(record.image_id, record.image_id) for record in records}


def _folders(selection: Selection, root: Path | None) -> tuple[Folder, ...]:
    """The folders that say part and class."""
    if selection.layout is None or root is None:
        return ()
    steps = selection.layout.split("/")
    counts: dict[tuple[str, str, str | None], int] = Counter()
    for record in (one for one in selection.records if one.path.is_relative_to(root)):
        for step, name in zip(steps, record.path.relative_to(root).parts[:-1], strict=False):
            if step == "part":
                counts[step, name, record.part] += 1
            elif step == "class":
                counts[step, name, record.label] += 1
    order = sorted(counts.items(), key=lambda one: (one[0][0] != "part", one[0][1]))
    return tuple(
        Folder("part" if role == "part" else "class", name, meaning, images)
        for (role, name, meaning), images in order
    )


def _classes(selection: Selection, part_of: Mapping[str, str]) -> tuple[Class, ...]:
    total: Counter[str] = Counter()
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    folders: dict[str, Counter[str]] = defaultdict(Counter)
    for record in selection.records:
        for name in record.strata:
            total[name] += 1
            if record.image_id in part_of:
                parts[name][part_of[record.image_id]] += 1
            if record.part is not None:
                folders[name][record.part] += 1
    disease = {selection.classes[number] for number in selection.positive}
    # Of findings also that there is none.
    names = (*selection.classes, *sorted(set(total) - set(selection.classes)))
    return tuple(
        Class(name, total[name], name in disease, dict(parts[name]), dict(folders[name]))
        for name in names
    )


def _parts(records: Sequence[Record], part_of: Mapping[str, str]) -> tuple[Part, ...]:
    rows: dict[str, list[Record]] = {"train": [], "val": [], "test": []}
    for record in records:
        rows.setdefault(part_of[record.image_id], []).append(record)
    return tuple(
        Part(
            name,
            len(members),
            len({record.patient for record in members} - {None}),
            sum(record.patient is None for record in members),
        )
        for name, members in rows.items()
    )


def _patients(selection: Selection, config: DataConfig) -> Patients:
    known = [(r.image_id, r.patient) for r in selection.records if r.patient is not None]
    by: str | None = "the source"
    if not known:
        by = None
    elif "patient" in (selection.layout or "").split("/"):
        by = "folders"
    elif getattr(config, "group_regex", None) is not None:
        by = "data.group_regex"
    examples: dict[str, str] = {}
    for label in selection.classes:
        # One image of each class shows how its name was read.
        one = next((r for r in selection.records if label in r.strata and r.patient), None)
        if one is not None and one.patient is not None and len(examples) < _EXAMPLES:
            examples[one.image_id] = one.patient
    return Patients(
        len({patient for _, patient in known}), len(selection.records) - len(known), by, examples
    )


_EXAMPLES = 8


def _crop(config: DataConfig, smallest: Size) -> list[Doubt]:
    """Whether the smallest image has room for the crop."""
    short = min(resized((smallest.width, smallest.height), config.resize))
    return [too_small(config.crop, short, smallest.example)] if short < config.crop else []
