"""The sections of the report in their order: a file for each, and its row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd

from bcadv.report.document import Block, Section, Text
from bcadv.report.draft import Draft
from bcadv.report.sections import (
    attacks,
    corruptions,
    data,
    defence,
    method,
    metrics,
    paper,
    patients,
    pictures,
    robustness,
    training,
)


class Row(NamedTuple):
    """A section of the report.

    Attributes:
        anchor: its name in links.
        title: its heading.
        blocks: makes what stands below.
        frames: makes the raw numbers, for CSV files.
    """

    anchor: str
    title: str
    blocks: Callable[[Draft], list[Block]]
    frames: Callable[[Draft], Mapping[str, pd.DataFrame]] = lambda draft: {}


SECTIONS = (
    Row(
        "robustness",
        "How accuracy falls",
        robustness.blocks,
        lambda draft: {"robustness": draft.study.measures},
    ),
    Row(
        "defence",
        "Whether the defence helps",
        defence.blocks,
        lambda draft: {"comparisons": draft.study.comparisons},
    ),
    Row("corruptions", "Common corruptions", corruptions.blocks, corruptions.frames),
    Row("patients", "What it means for patients", patients.blocks, patients.frames),
    Row("pictures", "Images before and after", pictures.blocks),
    Row("attacks", "Which attack is worth its time", attacks.blocks, attacks.frames),
    Row("metrics", "All other metrics", metrics.blocks),
    Row("data", "What was tested", data.blocks),
    Row("paper", "Beside Li & Liu 2023", paper.blocks, paper.frames),
    Row("training", "How the training went", training.blocks),
    Row("findings", "All findings", method.findings),
    Row("method", "How it was made", method.blocks),
)


def sections(draft: Draft) -> list[Section]:
    """Everything below the first screen; a section that fails costs a sentence."""
    made = []
    for row in SECTIONS:
        try:
            blocks = row.blocks(draft)
            frames = row.frames(draft)
        except Exception as error:
            blocks, frames = [Text(draft.album.fail(row.title, error), strong=True)], {}
        if blocks:
            made.append(Section(row.anchor, row.title, tuple(blocks), frames))
    return made
