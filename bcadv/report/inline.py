"""An SVG file made fit to stand inside a page among others."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bcadv.text import shown

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")

ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)


def inline_svg(svg: str, *, prefix: str, alt: str) -> str:
    """Makes an SVG of matplotlib's into an element for an HTML page.

    It scales with the page, has a text in its stead, and shares no id with its neighbours.

    Args:
        svg: contents of the file.
        prefix: unique in the page; goes before every id.
        alt: what the figure shows, for those who do not see it.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314  matplotlib wrote it
    for useless in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}defs"):
        for element in root.findall(useless):
            # The file's own style sheet would apply to the whole page.
            if useless.endswith("metadata") or element.find(f"{{{_SVG}}}style") is not None:
                root.remove(element)
    for fixed in ("width", "height", "version"):
        root.attrib.pop(fixed, None)
    root.set("style", "stroke-linejoin:round;stroke-linecap:butt")
    root.set("role", "img")
    root.set("aria-label", shown(alt))
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, f"{prefix}-{value}")
            elif name == _HREF and value.startswith("#"):
                element.set(name, f"#{prefix}-{value[1:]}")
            elif "url(#" in value:
                element.set(name, _REFERENCE.sub(rf"url(#{prefix}-\1)", value))
    return ElementTree.tostring(root, encoding="unicode")
