"""An SVG file made fit to stand inside a page among others."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

from PIL import Image

from bcadv.text import shown

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"
_PNG = "data:image/png;base64,"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_LOSSLESS_SIDE = 128
_JPEG_QUALITY = 85

ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)


def inline_svg(svg: str, *, prefix: str, alt: str) -> str:
    """Makes an SVG of matplotlib's into an element for an HTML page.

    It scales with the page, has a text in its stead, and shares no id with its neighbours.
    Photographs become JPEG where that is smaller; small pictures stay exact.

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
            elif name == _HREF and value.startswith(_PNG):
                element.set(name, _smaller(value))
            elif "url(#" in value:
                element.set(name, _REFERENCE.sub(rf"url(#{prefix}-\1)", value))
    return ElementTree.tostring(root, encoding="unicode")


def _smaller(uri: str) -> str:
    """A PNG's data URI, or that of a JPEG of it if it is a photograph that gains by it."""
    data = base64.b64decode(uri.removeprefix(_PNG))
    image = Image.open(io.BytesIO(data)).convert("RGB")
    if min(image.size) < _LOSSLESS_SIDE:
        return uri
    colors = image.getcolors(256)
    if colors is not None:  # an amplified sign has 27 colours, and needs no loss
        few = image.quantize(len(colors), dither=Image.Dither.NONE)
        same = few.convert("RGB").tobytes() == image.tobytes()
        return _uri("png", _encoded(few, "PNG", optimize=True)) if same else uri
    # 4:4:4, for noise in colour is what some of these pictures are about.
    jpeg = _encoded(image, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return _uri("jpeg", jpeg) if len(jpeg) < len(data) else uri


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
