"""An inspection of a data set in words: sentences and a table, for whoever prints them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from bcadv.data.inspection import Alike, Inspection, Pixels
from bcadv.text import listed

_DISEASE_BY = {
    "user": "as data.positive says",
    "source": "as this source is known",
    "order": "only because its name comes last in the alphabet",
}
"""Who chose the class that counts as the disease."""


def head(seen: Inspection) -> Iterator[str]:
    """Where the images lie and what their folders were taken for."""
    yield from _folders(seen)
    for gone in seen.left_out:
        yield f"Left out, {gone.why}: {counted(gone.files, 'file')}, for instance {gone.example}."


def _folders(seen: Inspection) -> Iterator[str]:
    root = "" if seen.root is None else f", in {seen.root}"
    yield f"{seen.words} (data={seen.source}){root}: {counted(seen.images, 'image')}."
    if seen.layout is not None:
        yield f"Folders: {seen.layout}."
    meant: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in seen.folders:
        meant[one.role, str(one.meaning)].append(one.name)
    for (role, meaning), names in meant.items():
        if names != [meaning]:
            yield f"  {listed(sorted(set(names)))}: {role} {meaning}"


def notes(seen: Inspection) -> list[str]:
    """What the source has to say, but for what stands among the files that are left out."""
    return [
        note
        for note in seen.notes
        if not any(gone.why in note and gone.example in note for gone in seen.left_out)
    ]


def columns(seen: Inspection) -> tuple[list[str], list[list[str]]]:
    """The table of images per class and part: its head and its rows, as texts."""
    parts = [part.name for part in seen.parts]
    folders = sorted({part for one in seen.classes for part in one.folders})
    by_split = bool(parts)
    names = parts if by_split else folders
    # A split that shares the folders' parts out anew leaves these to be seen as well.
    also = folders if by_split and seen.split != "parts" else []
    top = ["class", "images", *names, *(f"{name} (folder)" for name in also)]
    rows = [
        [
            f"{one.name} (disease)" if one.disease else one.name,
            str(one.images),
            *(str((one.parts if by_split else one.folders).get(name, 0)) for name in names),
            *(str(one.folders.get(name, 0)) for name in also),
        ]
        for one in seen.classes
    ]
    if by_split:
        blank = ["" for _ in also]
        images = [str(part.images) for part in seen.parts]
        rows.append(["all", str(seen.images), *images, *blank])
        if seen.patients.known:
            known = [str(part.patients) for part in seen.parts]
            rows.append(["patients", str(seen.patients.known), *known, *blank])
    return top, rows


def disease(seen: Inspection) -> str:
    """Which classes count as the disease, and who said so."""
    names = [one.name for one in seen.classes if one.disease]
    if seen.kind == "multilabel" and seen.disease_by != "user":
        return "Several findings per image; each counts as a disease."
    if not names:
        return "No class counts as the disease."
    return f"Disease: {listed(names)}, {_DISEASE_BY[seen.disease_by]}."


def patients(seen: Inspection) -> str:
    """How many patients are known, what names them, and how one name was read."""
    who = seen.patients
    if not who.known:
        return "Patients: unknown."
    more = f"; unknown for {counted(who.unknown, 'image')}" if who.unknown else ""
    one = next(iter(who.examples.items()), None)
    shown = f"; for instance {one[1]} of {one[0]}" if one else ""
    return f"Patients: {who.known}, named by {who.named_by}{shown}{more}."


def facts(pixels: Pixels) -> Iterator[str]:
    """What the files hold, a clause each."""
    if not pixels.formats:
        yield "none can be read"
        return
    yield listed([f"{n} {name}" for name, n in pixels.formats.items()])
    yield "mode " + listed([f"{name} ({n})" for name, n in pixels.modes.items()])
    if pixels.different_sizes == 1:
        size = pixels.sizes[0]
        yield f"all {size.width} x {size.height}"
    elif pixels.smallest is not None and pixels.largest is not None:
        common = pixels.sizes[0]
        yield (
            f"{pixels.different_sizes} sizes from {pixels.smallest.width} x "
            f"{pixels.smallest.height} to {pixels.largest.width} x {pixels.largest.height}, most "
            f"often {common.width} x {common.height} ({common.images})"
        )
    if pixels.turned:
        yield f"{pixels.turned} turned by an orientation tag"
    for used in pixels.ranges:
        yield (
            f"values {used.low:g} to {used.high:g} of 0 to {used.white:g} in a sample of "
            f"{used.images}"
        )
    if pixels.sampled and pixels.coloured in (0, pixels.sampled):
        yield f"{'all of them coloured' if pixels.coloured else 'none of them coloured'}"
    elif pixels.sampled:
        yield f"{pixels.coloured} of {pixels.sampled} coloured"


def copies(found: Alike, how: str) -> str:
    """How many images are the same."""
    if not found.sets:
        return f"No two images are {how}."
    across = f", {found.across_parts} of them across parts" if found.across_parts else ""
    labels = f", {found.across_classes} across classes" if found.across_classes else ""
    return (
        f"{found.images} images are {how} to another one ({counted(found.sets, 'set')}{across}"
        f"{labels}), for instance {listed([p.image_id for p in found.examples[0][:2]])}."
    )


def counted(count: int, what: str) -> str:
    """``1 image``, ``2 images``."""
    more = "es" if what.endswith("s") else "s"
    return f"{count} {what}{'' if count == 1 else more}"


def compact(seen: Inspection, sizes: Sequence[tuple[int, int]] = ()) -> list[str]:
    """The same in a dozen lines, for the start of a job.

    Args:
        seen: the inspection.
        sizes: different widths and heights of the decoded images.
    """
    lines = list(_folders(seen))
    lines += [f"Left out, {one.why}: {counted(one.files, 'file')}." for one in seen.left_out]
    for part in seen.parts:
        counts = ", ".join(f"{one.parts.get(part.name, 0)} {one.name}" for one in seen.classes)
        of = f", of {counted(part.patients, 'patient')}" if part.patients else ""
        lines.append(f"{part.name:>5}: {counts}{of}")
    lines += [disease(seen), patients(seen)]
    if sizes:
        low, high = min(sizes, key=min), max(sizes, key=lambda one: one[0] * one[1])
        upto = "" if low == high else f" to {high[0]} x {high[1]}"
        lines.append(f"Images: {low[0]} x {low[1]}{upto} pixels.")
    if seen.overlap is not None:
        lines.append(seen.overlap.sentence())
    return lines
