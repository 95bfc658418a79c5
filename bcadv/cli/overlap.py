"""``bcadv data overlap A B``: what two sets of images have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcadv.arguments import FILE, TEXT, TRUTH, Command, Option
from bcadv.errors import BcadvError
from bcadv.text import listed, shorten

if TYPE_CHECKING:
    from bcadv.data.overlap import Overlap, Side

COMMAND = Command(
    "bcadv data overlap",
    "Shows what two sets of images have in common: names of files, equal bytes, nearly equal "
    "pixels, patients. Each is a folder with images anywhere below it, the folder of a finished "
    "job, or a CSV file with a column path.",
    (
        Option("near", TRUTH, "Also compare pixels; decodes every image.", default=True),
        Option(
            "group_regex",
            TEXT,
            "Finds the patient as data.group_regex does. Left out: as the job knew it, or in names "
            "of BreakHis.",
        ),
        Option("json", FILE, "Also write all of it as JSON; - writes that alone, to the terminal."),
    ),
    (("bcadv data overlap outputs/defense/JOB new_images", "was the model trained on these?"),),
    others="The two sets.",
    places="A B",
)


def run(options: Mapping[str, Any], others: Sequence[str]) -> int:
    """Compares two sets; returns the exit status.

    Raises:
        BcadvError: not two sets, or one that cannot be read.
    """
    from rich.console import Console

    from bcadv.cli.data import TERMINAL, writable, write_json
    from bcadv.console import say
    from bcadv.data.overlap import overlap

    one, other = _two(others)
    writable(None, options["json"])
    found = overlap(one, other, group_regex=options["group_regex"], near=options["near"])
    write_json(options["json"], found.as_dict())
    if options["json"] != TERMINAL:
        console = Console()
        for line in _lines(found):
            say(console, line)
        if options["json"] is not None:
            say(console, f"JSON: {options['json']}")
    return 0


def _two(words: Sequence[str]) -> tuple[Path, Path]:
    strange = [word for word in words if "=" in word and not Path(word).exists()]
    if strange:
        raise BcadvError(
            f"{shorten(strange[0], 200)} is no option of bcadv data overlap: its --help lists them"
        )
    if len(words) != 2 or not all(words):
        given = listed([shorten(word, 200) or "an empty argument" for word in words]) or "none"
        raise BcadvError(
            f"bcadv data overlap compares two sets, given were {given}: write bcadv data overlap "
            "A B, each a folder"
        )
    return Path(words[0]), Path(words[1])


def _lines(found: Overlap) -> Iterator[str]:
    yield _side("A", found.one)
    yield _side("B", found.other)
    for name, side in (("A", found.one), ("B", found.other)):
        if side.broken:
            broken = side.broken[0]
            yield (
                f"{len(side.broken)} files of {name} cannot be read and were compared by name "
                f"alone, for instance {broken.path}: {broken.why}."
            )
    rows = [
        ("equal bytes", found.equal),
        ("nearly equal pixels", found.near),
        ("the same file name", found.names),
        ("a patient in both", found.patients),
    ]
    for words, shared in rows:
        if shared is None:
            continue
        line = f"{words}: {shared.ones} of A, {shared.others} of B"
        if shared is found.names and found.confirmed is not None and shared.ones:
            line += f"; {found.confirmed} of A have the pixels of their namesake too"
        if shared is found.patients and found.shared_patients:
            line += f" ({len(found.shared_patients)} patients)"
        if shared.by_part:
            pairs = [f"{n} {parts}" for parts, n in shared.by_part.items()]
            line += f"; pairs by part of A, B: {'; '.join(pairs)}"
        yield f"{line}."
        if shared.examples:
            pair = shared.examples[0]
            value = "" if pair.correlation is None else f" (correlation {pair.correlation:.3f})"
            one = _below(pair.one, found.one)
            yield f"  for instance {one} of A and {_below(pair.other, found.other)} of B{value}"
    if found.near is None:
        yield "Pixels were not compared: near=true does."
    else:
        yield (
            "Nearly equal: the edges of both, at 32 x 32, correlate by "
            f"{found.threshold:g} or more. Equal bytes are counted apart; images that are turned, "
            "mirrored or cut are not found."
        )
    if found.patients is None:
        yield "Patients were not compared: no name says them in one of the sets; group_regex=..."


def _below(path: str, side: Side) -> str:
    """A path as the side's own folder has it, if it lies there."""
    place = Path(side.place)
    return str(Path(path).relative_to(place)) if Path(path).is_relative_to(place) else path


def _side(name: str, side: Side) -> str:
    patients = f", {side.patients} patients" if side.patients else ""
    return f"{name}: {side.kind} {side.place}, {side.images} images{patients}."
