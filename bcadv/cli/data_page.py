"""An inspection of a data set, as one page that needs no other file."""

from __future__ import annotations

from bcadv.data import said
from bcadv.data.inspection import Inspection
from bcadv.report.templates import bare
from bcadv.text import shown

_MOST = 200
"""Folders and broken files that the page lists; the JSON has all."""


def html(seen: Inspection) -> str:
    """The page; everything from files is escaped."""
    template = bare().overlay(finalize=_shown).get_template("inspection.html.j2")
    columns, rows = said.columns(seen)
    images, classes = said.counted(seen.images, "image"), said.counted(len(seen.classes), "class")
    doubts = said.counted(len(seen.doubts), "doubt") if seen.doubts else "no doubts"
    found = [(seen.duplicates, "byte-identical"), (seen.near, "nearly equal")]
    known = [(one, how) for one, how in found if one is not None]
    overlap = [] if seen.overlap is None else [seen.overlap.sentence()]
    return template.render(
        title=f"{images} of {classes}, {doubts}",
        seen=seen,
        head=[line for line in said.head(seen) if not line.startswith("Left out")],
        notes=said.notes(seen),
        columns=columns,
        rows=rows,
        people=[said.disease(seen), said.patients(seen), *overlap],
        facts=[
            *(said.facts(seen.pixels) if seen.pixels is not None else ()),
            *(said.copies(one, how) for one, how in known),
        ],
        copies=known,
        most=_MOST,
    )


def _shown(value: object) -> object:
    """Texts without control characters; what is markup already as it is."""
    return shown(value, keep="\n\t") if type(value) is str else value
