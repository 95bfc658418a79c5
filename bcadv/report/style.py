"""How every figure looks: colours, the mark on made-up images, the files it is saved to.

Figures are made without pyplot, so drawing leaves no global state and needs no display.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_T = TypeVar("_T")

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
"""The palette of Okabe & Ito (2008), told apart by readers with any colour vision."""

RUST = "#A34700"
"""A vermillion dark enough to write in, or to write on in white."""

LINES: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o", "linestyle": "-"},
    {"color": VERMILLION, "marker": "s", "linestyle": "--"},
    {"color": GREEN, "marker": "^", "linestyle": "-."},
    {"color": PURPLE, "marker": "D", "linestyle": ":"},
    {"color": ORANGE, "marker": "v", "linestyle": "-"},
    {"color": SKY, "marker": "P", "linestyle": "--"},
    {"color": BLACK, "marker": "X", "linestyle": "-."},
)
"""One look per line, in this order; colour, marker and dashes each tell them apart."""

SYNTHETIC_MARK = "SYNTHETIC TISSUE"

PANEL = (4.7, 3.5)
"""Inches of a figure that stays legible as wide as a phone: its points are that screen's pixels."""


def short(text: str, width: int) -> str:
    """The text, cut where it would run into its neighbours."""
    return text if len(text) <= width else text[: width - 1] + "…"


def spread(values: Sequence[_T], count: int) -> list[_T]:
    """At most `count` of the values, evenly from the first to the last."""
    chosen = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    return [values[i] for i in chosen]


def new_figure(
    width: float, height: float, title: str, *, synthetic: bool, fontsize: float = 12
) -> Figure:
    """Makes an empty figure.

    Args:
        width: in inches.
        height: in inches.
        title: stands at the top left.
        synthetic: put the mark for made-up images at the top right.
        fontsize: of title and mark, in points.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=fontsize)
    if synthetic:
        figure.text(
            0.99,
            1 - 0.07 / height,
            SYNTHETIC_MARK,
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
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Saves PNG (150 dpi) and SVG; the same figure gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    # Photographs gain little from more compression, and it costs most of the time.
    figure.savefig(paths[0], dpi=150, pil_kwargs={"compress_level": 3})
    # One layout for both files: the second would move nothing and cost as much again.
    figure.set_layout_engine("none")
    paths[1].write_text(svg_of(figure, name), encoding="utf-8")
    return paths
