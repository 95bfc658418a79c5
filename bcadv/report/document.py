"""What a report consists of, whatever it is written as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from matplotlib.figure import Figure

from bcadv.report.inline import inline_svg
from bcadv.report.style import save, svg_of
from bcadv.report.tabular import Table

FIGURES = "figures"


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
    """

    name: str
    svg: str
    alt: str
    caption: str


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
    """Saves figures as it hands them on.

    Attributes:
        folder: gets the files; ``None``: the page alone has the figures.
        names: of the figures so far.
    """

    folder: Path | None
    names: list[str] = field(default_factory=list)

    def add(self, name: str, figure: Figure, *, alt: str, caption: str = "") -> Picture:
        """Saves a figure as PNG and SVG and returns what the page needs of it."""
        if name in self.names:
            raise ValueError(f"two figures would be called {name!r}")
        self.names.append(name)
        if self.folder is None:
            svg = svg_of(figure, name)
        else:
            svg = save(figure, self.folder, name)[1].read_text(encoding="utf-8")
        return Picture(name, inline_svg(svg, prefix=name, alt=alt), alt, caption)


def section(anchor: str, title: str, blocks: Sequence[Block]) -> list[Section]:
    """The section, or none where there is nothing to stand in it."""
    return [Section(anchor, title, tuple(blocks))] if blocks else []
