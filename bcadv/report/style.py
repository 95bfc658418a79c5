"""How every figure looks: colours, the mark on made-up images, the files it is saved to.

Figures are made without pyplot, so drawing leaves no global state and needs no display.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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


def new_figure(width: float, height: float, title: str, *, synthetic: bool) -> Figure:
    """Makes an empty figure.

    Args:
        width: in inches.
        height: in inches.
        title: stands at the top left.
        synthetic: put the mark for made-up images at the top right.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    if synthetic:
        figure.text(
            0.99,
            1 - 0.07 / height,
            SYNTHETIC_MARK,
            ha="right",
            va="top",
            color="white",
            weight="bold",
            bbox={"facecolor": VERMILLION, "edgecolor": "none", "boxstyle": "square,pad=0.3"},
        )
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Saves PNG (150 dpi) and SVG; the same figure gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(paths[0], dpi=150)
        figure.savefig(paths[1], metadata={"Date": None})
    return paths
