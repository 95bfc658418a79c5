"""What a report consists of, whatever it is written as."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bcadv.report.encoded import jpeg, picture
from bcadv.report.inline import inline_svg
from bcadv.report.style import not_drawn, svg_of

FIGURES = "figures"
_LONGEST_NAME = 100
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Text:
    """A paragraph; ``strong`` for what nobody may overlook."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of sentences.

    Attributes:
        items: the sentences.
        anchors: number of an item -> its name in links.
    """

    items: tuple[str, ...]
    anchors: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Code:
    """Something to type."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A figure or a strip of photographs.

    Attributes:
        name: of its files, without ending.
        alt: what it shows, for those who do not see it.
        caption: stands below.
        svg: for the page, see `inline_svg`; empty for photographs.
        uri: of photographs, for the page.
        failure: stands in its stead where it could not be drawn; then there are no files.
    """

    name: str
    alt: str
    caption: str
    svg: str = ""
    uri: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Pictures:
    """Figures that belong together."""

    pictures: tuple[Picture, ...]


class Cell(NamedTuple):
    """A cell of a table: a value, what stands small below it, such as its interval, and a sign.

    The sign says that a failed check makes the value suspect, see `bcadv.report.marks`.
    """

    value: str
    small: str = ""
    mark: str = ""

    @classmethod
    def of(cls, text: str) -> Cell:
        """A number with its interval, such as ``27.5 [19.4, 37.4]``, the interval small."""
        value, _, interval = text.partition(" ")
        return cls(value, interval)


@dataclass(frozen=True)
class Table:
    """A table of at most a few columns, so that it fits a phone and a sheet of paper.

    Attributes:
        title: what it shows.
        head: of every column, that of the rows' names first.
        rows: name -> cells.
        words: whether cells hold words rather than numbers.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    words: bool = False

    @property
    def marks(self) -> list[str]:
        """The signs of its cells."""
        return [cell.mark for _, cells in self.rows for cell in cells if cell.mark]


Block: TypeAlias = Text | Bullets | Code | Pictures | Table


@dataclass(frozen=True)
class Section:
    """A heading and what stands below.

    Attributes:
        anchor: name of the heading in links.
        title: the heading.
        blocks: from top to bottom.
        frames: raw numbers, name of the CSV file -> table; shares in [0, 1].
    """

    anchor: str
    title: str
    blocks: tuple[Block, ...]
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@dataclass
class Album:
    """Saves figures as it hands them on; one that fails costs a sentence.

    Attributes:
        folder: gets the files.
        names: of the figures so far.
        failures: a sentence for each figure that could not be drawn.
    """

    folder: Path
    names: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, draw: Callable[[], Figure], *, alt: str, caption: str = "") -> Picture:
        """Saves a figure as SVG and returns what the page needs of it.

        Args:
            name: of its files, without ending; cut, and numbered where it was given before.
            draw: makes the figure; whatever it raises is caught.
            alt: what it shows, for those who do not see it.
            caption: stands below.
        """

        def made(name: str) -> Picture:
            svg = svg_of(draw(), name)
            (self.folder / f"{name}.svg").write_text(svg, encoding="utf-8")
            return Picture(name, alt, caption, svg=inline_svg(svg, prefix=name, alt=alt))

        return self._kept(name, alt, made)

    def photographs(
        self, name: str, panels: Sequence[NDArray[np.float64]], *, alt: str, caption: str
    ) -> Picture:
        """Saves photographs side by side as PNG; the page has them as JPEG.

        Args:
            name: as in `add`.
            panels: each (3, H, W) in [0, 1].
            alt: what they show.
            caption: stands below.
        """

        def made(name: str) -> Picture:
            image = picture(np.concatenate(panels, axis=2))
            image.save(self.folder / f"{name}.png", compress_level=3)
            # 4:4:4, for noise in colour is what some of these pictures are about.
            return Picture(name, alt, caption, uri=jpeg(image, _JPEG_QUALITY, subsampling=0))

        return self._kept(name, alt, made)

    def fail(self, name: str, error: Exception) -> str:
        """Notes that a figure, or all of a section, could not be drawn; returns the sentence."""
        self.failures.append(not_drawn(name, error))
        return self.failures[-1]

    def _kept(self, name: str, alt: str, make: Callable[[str], Picture]) -> Picture:
        """What is made under the name, no longer than file systems take and unlike those before."""
        name = name[:_LONGEST_NAME]
        numbered = (f"{name}_{number}" for number in count(2))
        name = name if name not in self.names else next(n for n in numbered if n not in self.names)
        self.names.append(name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return make(name)
        except Exception as error:
            return Picture(name, alt, "", failure=self.fail(name, error))
