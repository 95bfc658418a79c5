"""What speaks against the reading of a data set, or against its images, each with its remedy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bcadv.data.inspection import Alike, Doubt, Giveaway, Inspection, Pixels, Place
from bcadv.text import listed

if TYPE_CHECKING:
    from bcadv.config import DataConfig

FEW_PATIENTS = 10
"""A test part of fewer patients says nothing about the next one."""

_RANGE = 0.25
"""A share of the range below which images are suspected of having another white."""

_ASPECTS = 1.1
_ODD = 0.01
"""Share of images up to which a size is called odd."""


def no_split(why: str) -> Doubt:
    """The parts cannot be made."""
    return Doubt("no_split", f"A job would not begin: {why}", "", stops=True)


def too_small(crop: int, short: int, example: str) -> Doubt:
    """The smallest image has no room for what the network sees."""
    return Doubt(
        "crop",
        f"A job would not begin: data.crop={crop} is larger than the smallest image, which has "
        f"{short} pixels on its shorter side ({example}).",
        "Lower data.crop, set data.resize, or leave such images out.",
        stops=True,
    )


def doubts_of(seen: Inspection, config: DataConfig) -> tuple[Doubt, ...]:
    """Every doubt that an inspection gives rise to, the gravest kinds first.

    Args:
        seen: the inspection; its own doubts are not read.
        config: which images, and how they are split.
    """
    return (
        *_broken(seen, config),
        *_leaks(seen),
        *_classes(seen),
        *_given_away(seen),
        *_patients(seen, config),
        *(_pixels(seen.pixels) if seen.pixels is not None else ()),
        *_left_out(seen),
    )


def _broken(seen: Inspection, config: DataConfig) -> Iterator[Doubt]:
    if not seen.broken:
        return
    one = seen.broken[0]
    all_of_them = len(seen.broken) == seen.images
    remedy = "Replace them, or leave them out with data.on_bad_image=skip."
    if all_of_them:
        remedy = "Replace them: there is no other."
    elif config.on_bad_image == "skip":
        remedy = "They are left out, as data.on_bad_image says."
    yield Doubt(
        "broken",
        f"{_files(len(seen.broken))} cannot be read, for instance {one.path}: {one.why}.",
        remedy,
        stops=all_of_them or config.on_bad_image == "raise",
    )


def _leaks(seen: Inspection) -> Iterator[Doubt]:
    overlap = seen.overlap
    if overlap is not None and overlap.shared_patients:
        yield Doubt(
            "patients_in_two_parts",
            f"Patients who stand in training and in test: {len(overlap.shared_patients)}, for "
            f"instance {overlap.shared_patients[0]}.",
            "data.split=patient keeps every patient in one part.",
        )
    yield from _copies("duplicates", seen.duplicates, "byte-identical")
    yield from _copies("near", seen.near, "nearly equal in their pixels")


def _copies(name: str, found: Alike | None, how: str) -> Iterator[Doubt]:
    if found is None:
        return
    if found.across_parts:
        one = next(s for s in found.examples if len({place.part for place in s}) > 1)
        yield Doubt(
            f"{name}_across_parts",
            f"{_sets(found.across_parts)} of images that are {how}, in more than one part: "
            f"{_named(one)}.",
            "Keep one of each (data.exclude=[PATTERN] leaves files out), or put their patients "
            "together.",
        )
    if found.across_classes:
        other = [s for s in found.examples if len({place.label for place in s}) > 1]
        yield Doubt(
            f"{name}_across_classes",
            f"{_sets(found.across_classes)} of images that are {how}, under different classes"
            + (f": {_named(other[0])}." if other else "."),
            "One of the labels is wrong, or the image shows both: look, and leave out what is "
            "wrong.",
        )


def _sets(count: int) -> str:
    return f"There {'is 1 set' if count == 1 else f'are {count} sets'}"


def _named(places: tuple[Place, ...]) -> str:
    return listed([f"{p.image_id} ({p.part or 'no part'}, {p.label})" for p in places[:3]])


def _classes(seen: Inspection) -> Iterator[Doubt]:
    parts = {part for one in seen.classes for part, n in one.folders.items() if n}
    for one in seen.classes:
        having = [part for part in sorted(parts) if one.folders.get(part)]
        if len(parts) > 1 and len(having) == 1:
            yield Doubt(
                "class_in_one_part",
                f"By the folders, class {one.name} stands in {having[0]} alone.",
                "Rename or merge it with data.class_map={OLD: NEW}, leave it out with "
                "data.class_map={OLD: null}, or share the images out anew with "
                "data.split=patient.",
            )


def _given_away(seen: Inspection) -> Iterator[Doubt]:
    by_property: dict[str, list[Giveaway]] = defaultdict(list)
    for one in seen.giveaways:
        by_property[one.property].append(one)
    for name, found in by_property.items():
        said = [
            f"{one.inside} of {one.of} of {one.label} are {one.value}, {one.outside} of "
            f"{one.of_others} others"
            for one in found[:3]
        ]
        yield Doubt(
            f"giveaway_{name.replace(' ', '_')}",
            f"The {name} of the file tells the class: {'; '.join(said)}. A model learns that "
            "before it learns the disease.",
            "Find out why, and make all classes alike from the raw images on: saving them anew in "
            "one format does not take away what compression or scaling left.",
        )


def _patients(seen: Inspection, config: DataConfig) -> Iterator[Doubt]:
    if seen.patients.unknown and not seen.synthetic:
        alone = (
            " With data.split=patient each of them counts as a patient of its own."
            if seen.split == "patient"
            else ""
        )
        by = (
            "data.group_regex finds patients in names of files, data.layout=.../patient in folders."
            if hasattr(config, "group_regex")
            else "Name the patients, where anybody knows them."
        )
        yield Doubt(
            "patients_unknown",
            f"The patient is unknown for {seen.patients.unknown} of {seen.images} images, so "
            f"nobody can say whether one stands in two parts.{alone}",
            by,
        )
    test = next((part for part in seen.parts if part.name == "test"), None)
    if test is not None and not test.unknown and test.patients < FEW_PATIENTS:
        yield Doubt(
            "few_test_patients",
            f"The test part has {test.patients} patient{'' if test.patients == 1 else 's'}: what "
            "is measured on so few says little about the next one.",
            "+sweep=folds tests every patient once, and the report pools the folds."
            if seen.split == "patient_cv"
            else "data.split=patient_cv data.folds=5 +sweep=folds tests every patient once, and "
            "the report pools the folds.",
        )


def _pixels(found: Pixels) -> Iterator[Doubt]:
    for used in found.ranges:
        if used.images >= 3 and used.high - used.low < _RANGE * used.white:
            bits = max(1, int(used.high).bit_length())
            yield Doubt(
                "narrow_range",
                f"The {used.images} images that were looked at use the values {used.low:g} to "
                f"{used.high:g} of {used.white:g}: under a quarter of the range, so that a change "
                "of 1/255 is larger than it sounds.",
                f"Name the value that is white, such as data.white={2**bits - 1}.",
            )
    deep = sum(n for mode, n in found.modes.items() if mode.startswith("I;16"))
    total = sum(found.modes.values())
    if 0 < deep < total:
        yield Doubt(
            "mixed_depth",
            f"{deep} of {total} images have 16 bits and the others 8, so that white is another "
            "value in each kind.",
            "Bring them to one depth, or leave one kind out with data.exclude.",
        )
    if 0 < found.coloured < found.sampled:
        yield Doubt(
            "mixed_colour",
            f"Of {found.sampled} images that were looked at, {found.coloured} have colours and "
            "the others are grey.",
            "Look whether that goes with the class, the device or the place.",
        )
    yield from _sizes(found)


def _sizes(found: Pixels) -> Iterator[Doubt]:
    largest, common = found.largest, found.sizes[0] if found.sizes else None
    if largest is None or common is None:
        return
    total = sum(found.formats.values())
    if largest.width * largest.height > 2 * common.width * common.height and largest.images <= max(
        1, _ODD * total
    ):
        yield Doubt(
            "odd_size",
            f"{largest.example} has {largest.width} x {largest.height} pixels, the most common "
            f"size is {common.width} x {common.height}: it may be of another kind, and a crop "
            "shows little of it.",
            "data.resize brings all to one shorter side, data.exclude leaves a file out.",
        )
    small = found.smallest
    if small and min(common.width, common.height) > 4 * min(small.width, small.height):
        yield Doubt(
            "tiny_size",
            f"{small.example} has {small.width} x {small.height} pixels, the most common size is "
            f"{common.width} x {common.height}: enlarged it shows nothing that the others show.",
            "It may be a thumbnail or a failed export: data.exclude leaves a file out.",
        )
    aspects = [size.width / size.height for size in found.sizes]
    if max(aspects) / min(aspects) > _ASPECTS:
        yield Doubt(
            "aspects",
            f"Sizes differ in shape (there are {found.different_sizes}), and a square crop shows "
            "another share of each.",
            "Bring them to one shape if that matters; data.resize keeps shapes.",
        )


def _left_out(seen: Inspection) -> Iterator[Doubt]:
    skipped = [one for one in seen.left_out if not one.why.endswith("is no image")]
    count = sum(one.files for one in skipped)
    if count > seen.images:
        yield Doubt(
            "most_left_out",
            f"More files are left out ({count}) than taken ({seen.images}): {skipped[0].why}, for "
            f"instance {skipped[0].example}.",
            "If these are the images, say so with data.layout, data.include or data.exclude.",
        )


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
