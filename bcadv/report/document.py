"""What a report consists of, whatever it is written as."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeAlias

from matplotlib.figure import Figure

from bcadv.report.inline import inline_svg
from bcadv.report.style import not_drawn, save, svg_of
from bcadv.report.tabular import Table

FIGURES = "figures"
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Paragraph:
    """Text; ``strong`` for what nobody may overlook."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """Something to type."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A figure that was saved.

    Attributes:
        name: of its files, without ending.
        svg: for the page, see `inline_svg`.
        alt: what it shows, for those who do not see it.
        caption: stands below.
        failure: stands in its stead where it could not be drawn; then there are no files.
    """

    name: str
    svg: str
    alt: str
    caption: str
    failure: str = ""


@dataclass(frozen=True)
class Pictures:
    """Figures that belong together."""

    pictures: tuple[Picture, ...]


Block: TypeAlias = Paragraph | Bullets | Command | Pictures | Table


@dataclass(frozen=True)
class Section:
    """A heading and what stands below.

    Attributes:
        anchor: name of the heading in links.
        title: the heading.
        blocks: from top to bottom.
    """

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A report."""

    title: str
    warning: str
    sections: tuple[Section, ...]


@dataclass
class Album:
    """Saves figures as it hands them on; one that fails costs a sentence.

    Attributes:
        folder: gets the files; ``None``: the page alone has the figures.
        names: of the figures so far.
        failures: a sentence for each figure that could not be drawn.
    """

    folder: Path | None
    names: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(
        self, name: str, draw: Figure | Callable[[], Figure], *, alt: str, caption: str = ""
    ) -> Picture:
        """Saves a figure as PNG and SVG and returns what the page needs of it.

        Args:
            name: of its files, without ending; cut, and numbered where it was given before.
            draw: the figure, or what makes it; whatever it raises is caught.
            alt: what it shows, for those who do not see it.
            caption: stands below.
        """
        name = self._unused(name)
        self.names.append(name)
        try:
            figure = draw() if callable(draw) else draw
            if self.folder is None:
                svg = svg_of(figure, name)
            else:
                svg = save(figure, self.folder, name)[1].read_text(encoding="utf-8")
            return Picture(name, inline_svg(svg, prefix=name, alt=alt), alt, caption)
        except Exception as error:
            return Picture(name, "", alt, "", self.fail(name, error))

    def fail(self, name: str, error: Exception) -> str:
        """Notes that a figure, or all of a section, could not be drawn; returns the sentence."""
        self.failures.append(not_drawn(name, error))
        return self.failures[-1]

    def _unused(self, name: str) -> str:
        """The name, no longer than file systems take, and unlike those before."""
        name = name[:_LONGEST_NAME]
        numbered = (f"{name}_{number}" for number in count(2))
        return name if name not in self.names else next(n for n in numbered if n not in self.names)


def section(anchor: str, title: str, blocks: Sequence[Block]) -> list[Section]:
    """The section, or none where there is nothing to stand in it."""
    return [Section(anchor, title, tuple(blocks))] if blocks else []
