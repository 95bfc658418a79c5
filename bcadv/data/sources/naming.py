"""What classes and findings are called, and what must be known of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from bcadv.data.records import NO_FINDING, Record
from bcadv.data.sources.layout import named
from bcadv.errors import BcadvError
from bcadv.text import listed, shown


@dataclass(frozen=True)
class Marks:
    """Findings of an image.

    Attributes:
        shown: those that it shows.
        unknown: those of which nobody knows.
    """

    shown: frozenset[str]
    unknown: frozenset[str] = frozenset()


def known(class_map: Mapping[str, object], names: Iterable[str], what: str) -> None:
    """Refuses names in a map of classes that the table does not have.

    Raises:
        BcadvError: there is one.
    """
    there = set(names)
    for name in class_map:
        if name not in there:
            raise BcadvError(
                f"data.class_map names '{shown(name)}', which is none of {what}: "
                f"{named(sorted(there), 20)}"
            )


def apart(names: Iterable[str]) -> None:
    """Refuses two classes that differ in capitals, spaces or leading zeros alone.

    Raises:
        BcadvError: there are two.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        plain = name.lstrip("0") if name.isdigit() else "".join(name.lower().split())
        alike[plain].append(name)
    for several in alike.values():
        if len(several) > 1:
            one, other = several[:2]
            raise BcadvError(
                f"there are the classes '{shown(one)}' and '{shown(other)}', which differ in "
                f"capitals, spaces or zeros alone: put them together with data.class_map="
                f"{{{shown(one)}: {shown(other)}}}"
            )


def renamed(
    class_map: Mapping[str, str | None], labels: Sequence[str]
) -> tuple[tuple[str, ...], Callable[[Marks], Marks]]:
    """Findings under their other names, and what gives an image's marks these.

    Of findings that are merged the image shows one if it shows any.

    Raises:
        BcadvError: a finding is called like what stands for none.
    """
    new = {label: class_map.get(label, label) for label in labels}
    names = tuple(sorted({name for name in new.values() if name is not None}))
    for name in names:
        if name == NO_FINDING or "|" in name:
            raise BcadvError(
                f"a finding cannot be called '{shown(name)}', as that stands for images without "
                f"any or with several: rename it with data.class_map={{{shown(name)}: OTHER}}"
            )

    def turn(names: Iterable[str]) -> frozenset[str]:
        return frozenset(name for name in map(new.get, names) if name is not None)

    @cache
    def rename(marks: Marks) -> Marks:
        shows = turn(marks.shown)
        return Marks(shows, turn(marks.unknown) - shows)

    return names, rename


def on_findings(
    records: Sequence[Record], findings: Sequence[str], classes: Sequence[str]
) -> list[str]:
    """What must be known of findings that few show, or of which nobody knows."""
    notes = []
    never = [name for name in findings if name not in classes]
    if never:
        notes.append(f"No image shows {named(never, 20)}, which is left out.")
    unknown = Counter(name for record in records for name in record.unknown)
    if unknown:
        said = listed([f"{n} times for '{shown(name)}'" for name, n in unknown.most_common()])
        notes.append(f"Whether an image shows it is unknown {said}.")
    people: dict[str, set[str]] = {name: set() for name in classes}
    for record in records:
        for name in record.findings or ():
            if len(people[name]) < 3:
                people[name].add(record.patient or f"image {record.image_id}")
    rare = [name for name in classes if len(people[name]) < 3]
    if rare:
        notes.append(
            f"Fewer than three patients show {named(rare, 20)}: with patients kept together these "
            "cannot stand in every part of a split."
        )
    return notes
