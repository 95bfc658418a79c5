from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from bcadv.report.inline import inline_svg
from bcadv.report.style import new_figure, save


def _svg(folder: Path, image: np.ndarray | None = None) -> str:
    figure = new_figure(3, 2, "A < B & C", synthetic=False)
    axes = figure.subplots()
    if image is None:
        axes.plot([1, 2, 3], marker="o")
        axes.set_xlim(1, 2)
    else:
        axes.imshow(image, interpolation="none")
    return save(figure, folder, "figure")[1].read_text(encoding="utf-8")


def _pictures(svg: str) -> list[tuple[str, np.ndarray]]:
    found = re.findall(r"data:image/(\w+);base64,([^\"]+)", svg)
    return [
        (kind, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")))
        for kind, data in found
    ]


def test_neighbours_share_no_id_and_every_reference_is_kept(tmp_path: Path) -> None:
    svg = _svg(tmp_path)
    a, b = (inline_svg(svg, prefix=prefix, alt="alt") for prefix in ("a", "b"))
    ids = [re.findall(r'\bid="([^"]+)"', text) for text in (a, b)]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    for text, own in zip((a, b), ids, strict=True):
        referred = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)
        assert len(referred) > 2
        assert {x or y for x, y in referred} <= set(own)


def test_it_scales_can_be_selected_and_has_a_text_in_its_stead(tmp_path: Path) -> None:
    text = inline_svg(_svg(tmp_path), prefix="a", alt='say "<no>"')
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == 'say "<no>"'
    assert root.get("role") == "img"
    assert root.get("viewBox")
    assert root.get("width") is None
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "A < B & C" in words
    assert "<style" not in text
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
