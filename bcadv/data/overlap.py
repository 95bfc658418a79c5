"""What two sets of images have in common: names, bytes, pixels, patients. Imports no torch."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bcadv.data.inspection import Broken
from bcadv.data.look import Header, headers
from bcadv.data.near import THRESHOLD, features, pairs
from bcadv.data.records import Record, image_files, parse_name
from bcadv.data.sources.choose import suffixes
from bcadv.data.sources.folder import compile_groups
from bcadv.errors import BcadvError
from bcadv.results.files import RESULTS, SPLIT

VERSION = 1
"""Of the JSON: raised whenever a field changes its meaning or goes."""

_EXAMPLES = 50


@dataclass(frozen=True)
class Side:
    """One of the two sets.

    Attributes:
        place: as the user named it.
        kind: what it is.
        images: that can be read.
        patients: known ones.
        unknown: images whose patient is unknown.
        broken: files that cannot be read, and are compared by name alone.
    """

    place: str
    kind: str
    images: int
    patients: int
    unknown: int
    broken: tuple[Broken, ...]


@dataclass(frozen=True)
class Pair:
    """An image of each set.

    Attributes:
        one: path of the first set's.
        other: of the second's.
        parts: of the split that each stands in, where its set has one.
        correlation: of their edges, see `bcadv.data.near`; ``None`` where pixels were not compared.
    """

    one: str
    other: str
    parts: tuple[str | None, str | None]
    correlation: float | None = None


@dataclass(frozen=True)
class Shared:
    """Images of the two sets that have something in common.

    Attributes:
        ones: how many images of the first set.
        others: how many of the second.
        by_part: part of the first set's split and of the second's -> pairs, as ``train, test``;
            empty where neither has one.
        examples: at most 50 pairs.
    """

    ones: int
    others: int
    by_part: Mapping[str, int]
    examples: tuple[Pair, ...]


@dataclass(frozen=True)
class Overlap:
    """What two sets of images have in common.

    Attributes:
        one: the first set.
        other: the second.
        names: file names without their ending.
        confirmed: images of the first set whose namesake is equal or nearly equal; ``None``
            where pixels were not compared.
        equal: equal bytes.
        near: nearly equal pixels, equal bytes left out; ``None``: not compared.
        threshold: correlation from which on two images are called nearly equal.
        patients: images of patients in both sets; ``None`` where a set names none.
        shared_patients: these patients.
    """

    one: Side
    other: Side
    names: Shared
    confirmed: int | None
    equal: Shared
    near: Shared | None
    threshold: float
    patients: Shared | None
    shared_patients: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"version": VERSION, **asdict(self)}


@dataclass(frozen=True)
class _Set:
    place: Path
    kind: str
    records: Sequence[Record]


def overlap(
    one: Path, other: Path, *, group_regex: str | None = None, near: bool = True
) -> Overlap:
    """Compares two sets of images, each a folder of images or of a finished job.

    Args:
        one: a folder with images anywhere below it, the folder of a finished job, or a CSV file
            with a column ``path``.
        other: likewise.
        group_regex: finds the patient as ``data.group_regex`` does; ``None``: as the job knew it,
            or in the names of BreakHis.
        near: also compare pixels, which decodes every image.

    Raises:
        BcadvError: no such folder, no images in it, one within the other, or a pattern that is
            none or fits nothing.
    """
    pattern = compile_groups(group_regex)
    sets = (_read(one, pattern), _read(other, pattern))
    _apart(sets)
    if pattern is not None and not any(r.patient for each in sets for r in each.records):
        example = sets[0].records[0].path.name
        raise BcadvError(
            f"group_regex={group_regex} matches no file of either set, for instance '{example}': "
            "correct it, or leave it out"
        )
    a, b = sets[0].records, sets[1].records
    found = headers([*a, *b])
    sides = (
        _side(sets[0], found[: len(a)]),
        _side(sets[1], found[len(a) :]),
    )
    contents = [
        (one.digest or str(record.path.absolute())) if isinstance(one, Header) else None
        for record, one in zip((*a, *b), found, strict=True)
    ]
    equal = _matches(contents[: len(a)], contents[len(a) :])
    alike: dict[tuple[int, int], float] = {}
    if near:
        same = set(equal)
        alike = {
            (i, j): value for i, j, value in pairs(features(a), features(b)) if (i, j) not in same
        }
    named = _matches([r.path.stem for r in a], [r.path.stem for r in b])
    whose = _matches([r.patient for r in a], [r.patient for r in b])
    known = all(any(r.patient for r in each.records) for each in sets)
    sure = {*equal, *alike}
    return Overlap(
        one=sides[0],
        other=sides[1],
        names=_shared(a, b, named),
        confirmed=len({i for i, j in named if (i, j) in sure}) if near else None,
        equal=_shared(a, b, equal),
        near=_shared(a, b, alike, alike) if near else None,
        threshold=THRESHOLD,
        patients=_shared(a, b, whose) if known else None,
        shared_patients=tuple(sorted({str(a[i].patient) for i, _ in whose})),
    )


def _read(place: Path, pattern: re.Pattern[str] | None) -> _Set:
    """The images of one side.

    Raises:
        BcadvError: there are none.
    """
    # Somebody's own split may lie beside images.
    if (place / SPLIT).is_file() and (place / RESULTS).is_file():
        return _Set(place, "finished job", _table(place / SPLIT, pattern))
    if place.is_file():
        return _Set(place, "table", _table(place, pattern))
    if not place.is_dir():
        raise BcadvError(
            f"{place} is no folder: give two folders of images, or of finished jobs (with "
            f"{RESULTS} and {SPLIT})"
        )
    below = next(place.rglob(RESULTS), None)
    if below is not None:
        raise BcadvError(
            f"{place} holds finished jobs, and their pictures are no images of a set: give the "
            f"folder of one, such as {below.parent}"
        )
    files = sorted(image_files(place, suffixes()))
    if not files:
        raise BcadvError(
            f"{place} holds no images: give a folder with some, or that of a finished job"
        )
    records = [
        Record(
            path=path,
            image_id=path.relative_to(place).as_posix(),
            label="",
            patient=_patient(path, path.relative_to(place).as_posix(), pattern),
        )
        for path in files
    ]
    return _Set(place, "folder", records)


def _table(file: Path, pattern: re.Pattern[str] | None) -> list[Record]:
    """The images that a table names in its column ``path``, relative to its own folder."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BcadvError(f"{file} cannot be read as a table ({error}): give a CSV file") from None
    if not rows or "path" not in rows[0]:
        raise BcadvError(
            f"{file} has no {'rows' if not rows else 'column path'}: give a CSV file that names "
            "the files of images in a column called path, or a folder"
        )
    records = []
    for row in rows:
        path = file.parent / (row["path"] or "")
        patient = _patient(path, row["path"] or "", pattern)
        records.append(
            Record(
                path=path,
                image_id=row.get("image_id") or path.stem,
                label=row.get("label") or "",
                patient=patient if pattern is not None else (row.get("patient") or patient),
                part=row.get("split") or None,
            )
        )
    [(path, most)] = Counter(record.path for record in records).most_common(1)
    if most > 1:
        raise BcadvError(
            f"{file} names {path} {most} times: images that lie in one file, or twice in the "
            "table, cannot be compared; give a table that names every file once"
        )
    gone = [record.path for record in records if not record.path.is_file()]
    if gone:
        raise BcadvError(
            f"{file} names {len(gone)} of {len(records)} files that are not there, the first is "
            f"{gone[0]}: compare where the images lie"
        )
    return records


def _patient(path: Path, below: str, pattern: re.Pattern[str] | None) -> str | None:
    """The patient that the pattern finds, or that a name of BreakHis has."""
    if pattern is not None:
        found = pattern.search(below if "/" in pattern.pattern else path.name)
        if found is None:
            return None
        return found["patient"] if "patient" in pattern.groupindex else found[1]
    if not path.name.startswith("SOB_"):
        return None
    try:
        return parse_name(path.stem).patient
    except BcadvError:
        return None


def _apart(sets: Sequence[_Set]) -> None:
    """Refuses a folder within the other, of which every image would be found.

    Raises:
        BcadvError: it is.
    """
    one, other = (each.place.resolve() for each in sets)
    if one == other:
        raise BcadvError(f"{sets[0].place} and {sets[1].place} are one folder: give two")
    if all(each.kind == "folder" for each in sets):
        for inner, outer, names in ((other, one, (1, 0)), (one, other, (0, 1))):
            if inner.is_relative_to(outer):
                raise BcadvError(
                    f"{sets[names[0]].place} lies in {sets[names[1]].place}, so that all of its "
                    "images are in both: give two folders, neither of which holds the other"
                )


def _side(each: _Set, found: Sequence[Header | str]) -> Side:
    broken = tuple(
        Broken(str(record.path), one)
        for record, one in zip(each.records, found, strict=True)
        if isinstance(one, str)
    )
    patients = {record.patient for record in each.records} - {None}
    return Side(
        place=str(each.place),
        kind=each.kind,
        images=len(each.records) - len(broken),
        patients=len(patients),
        unknown=sum(record.patient is None for record in each.records),
        broken=broken,
    )


def _matches(one: Sequence[str | None], other: Sequence[str | None]) -> list[tuple[int, int]]:
    """Places of what is equal in both and is not ``None``."""
    places: dict[str, list[int]] = defaultdict(list)
    for j, value in enumerate(other):
        if value is not None:
            places[value].append(j)
    return [(i, j) for i, value in enumerate(one) if value is not None for j in places[value]]


def _shared(
    a: Sequence[Record],
    b: Sequence[Record],
    found: Iterable[tuple[int, int]],
    values: Mapping[tuple[int, int], float] | None = None,
) -> Shared:
    found = list(found)
    by_part: dict[str, int] = defaultdict(int)
    for i, j in found:
        if a[i].part is not None or b[j].part is not None:
            by_part[f"{a[i].part or 'all'}, {b[j].part or 'all'}"] += 1
    return Shared(
        ones=len({i for i, _ in found}),
        others=len({j for _, j in found}),
        by_part=dict(sorted(by_part.items())),
        examples=tuple(
            Pair(
                str(a[i].path),
                str(b[j].path),
                (a[i].part, b[j].part),
                None if values is None else round(values[i, j], 4),
            )
            for i, j in found[:_EXAMPLES]
        ),
    )
