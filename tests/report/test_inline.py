from __future__ import annotations

import re
from xml.etree import ElementTree

from bcadv.report.inline import inline_svg
from bcadv.report.style import new_figure, svg_of


def _svg() -> str:
    figure = new_figure(3, 2, "A < B & C", synthetic=False)
    axes = figure.subplots()
    axes.plot([1, 2, 3], marker="o")
    axes.set_xlim(1, 2)
    return svg_of(figure, "figure")


def test_neighbours_share_no_id_and_every_reference_is_kept() -> None:
    svg = _svg()
    a, b = (inline_svg(svg, prefix=prefix, alt="alt") for prefix in ("a", "b"))
    ids = [re.findall(r'\bid="([^"]+)"', text) for text in (a, b)]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    for text, own in zip((a, b), ids, strict=True):
        referred = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)
        assert len(referred) > 2
        assert {x or y for x, y in referred} <= set(own)


def test_it_scales_can_be_selected_and_has_a_text_in_its_stead() -> None:
    text = inline_svg(_svg(), prefix="a", alt='say "<no>"')
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == 'say "<no>"'
    assert root.get("role") == "img"
    assert root.get("viewBox")
    assert root.get("width") is None
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "A < B & C" in words
    assert "<style" not in text
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
