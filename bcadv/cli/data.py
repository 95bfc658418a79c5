"""``bcadv data``: what a job would take its images for, before anything is trained."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcadv.arguments import FOLDER, TRUTH, Command, Option
from bcadv.data.sources.download import OPTIONS
from bcadv.errors import BcadvError
from bcadv.text import shown

if TYPE_CHECKING:
    from bcadv.config import Config
    from bcadv.data.records import Record, Selection
    from bcadv.data.splits import Split

_BY = {
    "user": "as data.positive says",
    "source": "as this source is known",
    "order": "only because its name comes last in the alphabet",
}
"""Who chose the class that counts as the disease."""

COMMAND = Command(
    "bcadv data",
    "Shows what a job of the same options would take its images for: their classes, the disease, "
    "their patients, the parts of the split, and what these have in common. Decodes and trains "
    "nothing. With download=, fetches BreakHis instead.",
    (
        Option(
            "duplicates", TRUTH, "Also look for byte-identical files in two parts.", default=False
        ),
        Option("download", FOLDER, "Fetch BreakHis (4 GB) into this folder, or go on fetching it."),
        *OPTIONS,
    ),
    (
        ("bcadv data data=folder data.root=chest_xray", "your own images"),
        ("bcadv data data=breakhis data.split=patient", "BreakHis, no patient on two sides"),
        ("bcadv data download=data/breakhis", "BreakHis is fetched"),
    ),
    others="Any option of bcadv run: its --help lists them under data.",
)


def run(options: Mapping[str, Any], others: Sequence[str]) -> int:
    """Shows the data, or fetches BreakHis; returns the exit status.

    Raises:
        BcadvError: options that do not go together or cannot be used, or no such images.
    """
    from rich.console import Console

    from bcadv.console import label, say
    from bcadv.data.sources.download import fetch

    if options["download"] is not None:
        unused = [*others, *(["duplicates=true"] if options["duplicates"] else [])]
        if unused:
            raise BcadvError(f"{unused[0]} cannot be used with download=: leave one of them out.")
        return fetch(options["download"], options)
    for option in OPTIONS:
        if options[option.name] != option.default:
            raise BcadvError(f"{option.name}= is about fetching BreakHis: add download=DIR to it.")
    config = _config(others)
    console = Console()
    for kind, text in _lines(config, duplicates=options["duplicates"]):
        if kind:
            label(console, kind, "bold yellow", text)
        else:
            say(console, text)
    return 0


def _config(overrides: Sequence[str]) -> Config:
    """The configuration of a job.

    Raises:
        BcadvError: there is none of these options.
    """
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from bcadv.config import validate
    from bcadv.explain import explain, owners
    from bcadv.overrides import read, with_plus
    from bcadv.run import compose_job, conf_dir, every_option, settings

    given = with_plus(overrides)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        read(given, conf_dir(), every_option)
        try:
            return validate(settings(compose_job(given)))
        except (HydraException, OmegaConfBaseException) as error:
            said = explain(error, every_option(), owners(conf_dir()))
            raise BcadvError(said) from None


def _lines(config: Config, *, duplicates: bool) -> Iterator[tuple[str, str]]:
    """What is to be said; each with the word that stands before it, or none."""
    from bcadv.data.audit import audit
    from bcadv.data.catalog import SOURCES
    from bcadv.data.parts import split

    row = SOURCES[config.data.source]
    selection = config.data.find()
    if row.synthetic:
        yield "SYNTHETIC", "these images are painted by a program and say nothing about patients."
    found = _count(len(selection.records), "image")
    yield "", f"{row.words} (data={row.name}), in {config.data.root}: {found}."
    if selection.layout is not None:
        yield "", f"Folders: {selection.layout}."
    by_name = hasattr(config.data, "group_regex")
    for line in (*_classes(selection), *_patients(selection, by_name=by_name)):
        yield "", line
    yield from (("NOTE", note) for note in selection.notes)
    parts = split(config.data, selection.records, seed=config.seed)
    yield "", f"Split: data.split={config.data.split}, seed={config.seed}."
    yield from (("", line) for line in _parts(selection, parts))
    contents = _digests(selection.records) if duplicates else None
    overlap = audit(selection.records, parts, contents)
    yield "", overlap.sentence()
    if overlap.duplicates == ():
        yield "", "No two parts have byte-identical files."
    yield "", "No image was decoded: whether each can be read shows when a job begins."


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _classes(selection: Selection) -> Iterator[str]:
    yield "Classes:"
    for number, name in enumerate(selection.classes):
        disease = f", counts as the disease, {_BY[selection.positive_by]}"
        yield (
            f"  {shown(name)}: {_count(selection.found.get(name, 0), 'image')}"
            f"{disease if number in selection.positive else ''}"
        )
    if not selection.positive:
        yield "  None of them counts as the disease."


def _patients(selection: Selection, *, by_name: bool) -> Iterator[str]:
    known = {record.patient for record in selection.records} - {None}
    unknown = sum(record.patient is None for record in selection.records)
    if known:
        more = f"; unknown for {_count(unknown, 'image')}" if unknown else ""
        yield f"Patients: {len(known)}{more}."
    else:
        hint = "; data.group_regex=... finds them in the names of files" if by_name else ""
        yield f"Patients: unknown{hint}."
    for label in selection.classes:
        # One image of each class shows how its name was read.
        one = next(record for record in selection.records if record.label == label)
        said = [f"class {one.label}"]
        said += [] if one.patient is None else [f"patient {one.patient}"]
        said += [] if one.part is None else [f"part {one.part}"]
        yield f"  for instance {shown(one.image_id)}: {shown(', '.join(said))}"


def _parts(selection: Selection, parts: Split) -> Iterator[str]:
    used = 0
    for name, members in parts.by_part().items():
        rows = [selection.records[i] for i in members]
        used += len(rows)
        counts = Counter(record.label for record in rows)
        classes = ", ".join(f"{counts[label]} {shown(label)}" for label in selection.classes)
        patients = len({record.patient for record in rows} - {None})
        of = f", of {_count(patients, 'patient')}" if patients else ""
        yield f"  {name:>5}: {_count(len(rows), 'image')} ({classes}){of}"
    if used < len(selection.records):
        yield f"  in no part: {_count(len(selection.records) - used, 'image')}"


def _digests(records: Sequence[Record]) -> dict[str, str]:
    """Content of each file by image id."""
    return {record.image_id: _digest(record.path) for record in records}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BcadvError(f"{path} cannot be read: {error.strerror}.") from error
