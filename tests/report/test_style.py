from __future__ import annotations

import warnings
from xml.etree import ElementTree

import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from bcadv.errors import BcadvError
from bcadv.report.style import legend_entries, new_figure, not_drawn, short, svg_of
from tests.outside import ACTING, NAMES


def _everywhere(name: str) -> Figure:
    """A figure that has the name wherever a figure has text."""
    figure = new_figure(9, 7, name, synthetic=True)
    axes = figure.subplots()
    axes.plot([1, 2], [1, 2], label=f"line {name}")
    axes.set_title(f"title {name}")
    axes.set_xlabel(f"x {name}\nbelow")
    axes.set_xticks([1, 2], [f"tick {short(name, 99)}", "2"])
    axes.text(1, 1, f"text {name}")
    axes.annotate(f"note {name}", (1, 2))
    axes.inset_axes((0.5, 0.1, 0.2, 0.2)).set_title(f"inset {name}")
    figure.legend(*legend_entries(axes), loc="outside lower center")
    return figure


def _words(svg: str) -> list[str]:
    texts = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(text.itertext()) for text in texts]


PLACES = ("line ", "title ", "x ", "tick ", "text ", "note ", "inset ", "")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_stands_as_it_is_wherever_there_is_text(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = _words(svg_of(_everywhere(name), "it"))
    # Blanks at the end and in a row are the viewer's to collapse.
    assert {f"{place}{name}".strip() for place in PLACES} <= {word.strip() for word in words}
    assert "below" in words


@pytest.mark.parametrize(("name", "escaped"), ACTING.values(), ids=ACTING)
def test_what_acts_is_an_escape_in_a_figure(name: str, escaped: str) -> None:
    # The end of a line is a line in what the program itself composes of several.
    words = _words(svg_of(_everywhere(name), "it"))
    places = ("tick ", "") if "\n" in name else PLACES
    assert {f"{place}{escaped}" for place in places} <= {*words}


def test_a_setting_of_the_user_makes_no_formula_of_a_name() -> None:
    with rc_context({"text.usetex": True}):
        assert "title $x$" in _words(svg_of(_everywhere("$x$"), "it"))


def test_a_name_that_begins_with_an_underscore_is_in_the_legend() -> None:
    figure = new_figure(3, 2, "", synthetic=False)
    axes = figure.subplots()
    axes.plot([1, 2])
    axes.plot([2, 1], label="_name")
    handles, labels = legend_entries(axes)
    assert labels == ["_name"]
    figure.legend(handles, labels)
    assert "_name" in _words(svg_of(figure, "it"))


def test_short_text_is_one_line() -> None:
    assert short("a\nb" * 9, 10) == "a\\nba\\nba…"


def test_the_figure_that_failed_its_kind_of_error_and_its_reason_are_named() -> None:
    assert not_drawn("noise", KeyError("x\ny")) == (
        "This figure could not be drawn: noise (KeyError: 'x\\ny')."
    )
    assert not_drawn("noise", BcadvError("It is [so].")).endswith(": noise (It is [so].).")
    assert not_drawn("noise", MemoryError()).endswith("(MemoryError).")
    assert len(not_drawn("noise", ValueError("x" * 9999))) < 400


@pytest.mark.parametrize(
    "title", ["Accuracy", "Accuracy, PGD-20 inventing the disease, as jpeg(90)"]
)
def test_a_title_and_the_mark_for_made_up_images_do_not_meet(title: str) -> None:
    figure = new_figure(3.75, 2.3, title, synthetic=True)
    figure.draw_without_rendering()
    begin, end = (text.get_window_extent() for text in figure.texts)
    assert not begin.overlaps(end)
    assert begin.x1 < figure.bbox.x1
