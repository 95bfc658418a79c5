"""How every figure looks: colours, the mark on made-up images, the files it is saved to.

Figures are made without pyplot, so drawing leaves no global state and needs no display.
"""

from __future__ import annotations

import io
import logging
import textwrap
import warnings
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from bcadv.errors import BcadvError
from bcadv.report.fonts import fallback_families, lacking
from bcadv.text import brief, shown

log = logging.getLogger(__name__)

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
"""Of the palette of Okabe & Ito (2008), told apart by readers with any colour vision."""

RUST = "#A34700"
"""A vermillion dark enough to write in, or to write on in white."""

LINES: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o", "linestyle": "-"},
    {"color": VERMILLION, "marker": "s", "linestyle": "--"},
    {"color": GREEN, "marker": "^", "linestyle": "-."},
    {"color": PURPLE, "marker": "D", "linestyle": ":"},
)
"""One look per line, in this order; colour, marker and dashes each tell them apart."""

_LONGEST_REASON = 300


class _LiteralFigure(Figure):
    """A figure that draws its texts as they are: a name with dollar signs is no formula.

    It is done when drawing, for only then are all texts there, those of the ticks included.
    """

    def draw(self, renderer: RendererBase) -> None:
        literal: dict[Any, Any] = {"text.parse_math": False, "text.usetex": False}
        with rc_context(literal), warnings.catch_warnings():
            # `fallback_families` says it once, and in plain words.
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            for axes in self.axes:  # makes the labels that are still to come
                axes.get_xticklabels()
                axes.get_yticklabels()
            texts = [text for text in self.findobj(Text) if isinstance(text, Text)]
            for text in texts:
                text.set_parse_math(False)
                text.set_usetex(False)
                text.set_text(shown(text.get_text(), keep="\n"))
            foreign = {text: lacking(text.get_text()) for text in texts}
            more = fallback_families(set().union(*foreign.values()))
            for text in (text for text in texts if foreign[text]):
                own = [family for family in text.get_fontfamily() if family not in more]
                text.set_fontfamily([*own, *more])
            super().draw(renderer)


def short(text: str, width: int) -> str:
    """The text in one line, cut where it would run into its neighbours."""
    return brief(shown(text), width)


def legend_entries(axes: Axes) -> tuple[list[Line2D], list[str]]:
    """The lines that were given a name, and their names, one that begins with ``_`` included."""
    named = [line for line in axes.lines if not str(line.get_label()).startswith("_child")]
    return named, [str(line.get_label()) for line in named]


def not_drawn(name: str, error: Exception) -> str:
    """A sentence on a figure that an error, whichever it was, prevented."""
    log.debug("%s", name, exc_info=error)
    reason = " ".join(str(error).split())
    if not isinstance(error, BcadvError):
        reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return f"This figure could not be drawn: {name} ({short(reason, _LONGEST_REASON)})."


_LETTER, _MARK = 0.0078, 0.2
"""Width of a letter of a title and of the whole mark for made-up images, in inches for each point
of their type."""


def new_figure(
    width: float, height: float, title: str, *, synthetic: bool, fontsize: float = 10
) -> Figure:
    """Makes an empty figure.

    Args:
        width: in inches.
        height: in inches.
        title: stands at the top left, in as many lines as it takes beside the mark.
        synthetic: put the mark for made-up images at the top right.
        fontsize: of title and mark, in points.
    """
    figure = _LiteralFigure(figsize=(width, height), layout="constrained")
    mark = _MARK * (fontsize - 3) if synthetic else 0.0
    room = max(1, int((width - mark) / (_LETTER * fontsize)))
    title = textwrap.fill(shown(title), room, break_long_words=False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=fontsize)
    if synthetic:
        figure.text(
            0.99,
            1 - 0.07 / height,
            "SYNTHETIC TISSUE",
            ha="right",
            va="top",
            color="white",
            weight="bold",
            fontsize=fontsize - 3,
            bbox={"facecolor": RUST, "edgecolor": "none", "boxstyle": "square,pad=0.3"},
        )
    return figure


def svg_of(figure: Figure, name: str) -> str:
    """The figure as SVG; the same figure and name give the same text.

    What is written in it is text: it can be searched, selected and read aloud.
    """
    stream = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        # `savefig` draws twice, the first time for the layout alone, which drawing makes as well.
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return stream.getvalue()
