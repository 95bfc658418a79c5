from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bcadv.report.document import Album
from bcadv.report.style import new_figure
from tests.outside import ACTING, NAMES


def _figure() -> Figure:
    return new_figure(2, 1, "title", synthetic=False)


def _fails() -> Figure:
    raise ZeroDivisionError("by <zero>")


def test_a_figure_that_fails_leaves_a_sentence_and_the_next_is_drawn(tmp_path: Path) -> None:
    album = Album(tmp_path)
    failed = album.add("a", _fails, alt="A")
    drawn = album.add("b", _figure, alt="B", caption="C")
    sentence = "This figure could not be drawn: a (ZeroDivisionError: by <zero>)."
    assert (failed.failure, failed.svg, failed.caption) == (sentence, "", "")
    assert album.failures == [sentence]
    assert not drawn.failure
    assert drawn.svg
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.svg"]


def test_a_figure_that_fails_in_drawing_or_saving_is_no_exception(tmp_path: Path) -> None:
    figure = _figure()
    figure.subplots().plot([1, 2])
    figure.axes[0].xaxis.set_major_formatter(lambda *_: str(1 // 0))
    (tmp_path / "file").touch()
    inside, nowhere = Album(tmp_path / "new"), Album(tmp_path / "file")
    assert "ZeroDivisionError" in inside.add("a", lambda: figure, alt="").failure
    assert "a (FileExistsError" in nowhere.add("a", _figure, alt="").failure


def test_equal_and_long_names_are_made_unique(tmp_path: Path) -> None:
    album = Album(tmp_path)
    names = [
        album.add(name, _figure, alt="").name for name in ("a", "a", "a_2", "a", *["x" * 300] * 2)
    ]
    assert names[:4] == ["a", "a_2", "a_2_2", "a_3"]
    assert len({*names}) == 6
    assert len({path.stem for path in tmp_path.iterdir()}) == 6


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_what_stands_in_a_figures_stead_is_text(name: str, tmp_path: Path) -> None:
    svg = Album(tmp_path).add("a", _figure, alt=name).svg
    assert ElementTree.fromstring(svg).get("aria-label") == name


@pytest.mark.parametrize(("name", "escaped"), ACTING.values(), ids=ACTING)
def test_what_acts_is_an_escape_there_too(name: str, escaped: str, tmp_path: Path) -> None:
    svg = Album(tmp_path).add("a", _figure, alt=name).svg
    assert ElementTree.fromstring(svg).get("aria-label") == escaped


def test_photographs_stand_side_by_side_and_the_file_is_exact(tmp_path: Path) -> None:
    left, right = np.full((3, 2, 2), 0.2), np.full((3, 2, 2), 1.2)
    picture = Album(tmp_path).photographs("a", [left, right], alt="A", caption="C")
    assert picture.uri.startswith("data:image/jpeg;base64,")
    with Image.open(tmp_path / "a.png") as image:
        found = np.asarray(image)
    assert found.shape == (2, 4, 3)
    assert (found[:, :2] == 51).all()
    assert (found[:, 2:] == 255).all()


def test_photographs_of_unequal_size_cost_a_sentence(tmp_path: Path) -> None:
    album = Album(tmp_path)
    panels = [np.zeros((3, 2, 2)), np.zeros((3, 4, 4))]
    assert "a (ValueError" in album.photographs("a", panels, alt="", caption="").failure
    assert len(album.failures) == 1
