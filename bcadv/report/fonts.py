"""Fonts for the characters that matplotlib's own font lacks, such as Chinese class names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties, fontManager

PREFERRED = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Droid Sans Fallback",
    "Arial Unicode MS",
)
"""Families with Chinese, Japanese and Korean characters, of Linux, macOS and Windows."""

_PLACEHOLDERS = "Last Resort"
"""Comes with matplotlib and has a frame for every character there is."""
_MOST_NAMED = 20

log = logging.getLogger(__name__)
_told: set[str] = set()


def lacking(text: str) -> set[str]:
    """The characters that matplotlib's own font cannot draw."""
    return {c for c in {*text} if ord(c) not in _own() and c.isprintable()}


def fallback_families(missing: set[str]) -> list[str]:
    """The families of this machine that have these characters, as few as need be.

    What none has is said once, with the remedy.
    """
    missing = {*missing}
    found: list[str] = []
    for family in _families() if missing else ():
        gained = {c for c in missing if ord(c) in _covered(family)}
        if gained:
            found.append(family)
            missing -= gained
        if not missing:
            break
    _say_missing(missing)
    return found


def _families() -> Iterator[str]:
    """The families of this machine, those that are made for it first."""
    _add_new_fonts()
    there = {entry.name for entry in fontManager.ttflist}
    yield from (name for name in PREFERRED if name in there)
    yield from sorted(name for name in there - {*PREFERRED} if _PLACEHOLDERS not in name)


@cache
def _add_new_fonts() -> None:
    """Makes fonts known that were installed after matplotlib wrote its list of fonts."""
    known = {entry.fname for entry in fontManager.ttflist}
    for path in sorted({*font_manager.findSystemFonts()} - known):
        try:
            fontManager.addfont(path)
        except (OSError, RuntimeError, ValueError) as error:
            log.debug("the font %s cannot be used: %s", path, error)


@cache
def _own() -> frozenset[int]:
    """Code points of the font that figures are written in."""
    return _code_points(str(fontManager.findfont(FontProperties())))


@cache
def _covered(family: str) -> frozenset[int]:
    """Code points of a family's upright font."""
    fonts = [entry for entry in fontManager.ttflist if entry.name == family]
    upright = sorted(fonts, key=lambda entry: (entry.style != "normal", entry.fname))
    return _code_points(upright[0].fname)


def _code_points(path: str) -> frozenset[int]:
    """What a font can draw; nothing where it is damaged."""
    try:
        font = font_manager.get_font(path)
        # Fonts made of bitmaps, as those of coloured emoji, cannot be drawn at any size.
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError) as error:
        log.debug("the font %s cannot be used: %s", path, error)
        return frozenset()


def _say_missing(characters: set[str]) -> None:
    new = sorted(characters - _told)
    if not new:
        return
    _told.update(new)
    more = f" and {len(new) - _MOST_NAMED} more" if len(new) > _MOST_NAMED else ""
    log.warning(
        "No font of this machine has %s%s: figures show boxes in their stead. Install one that "
        "has, for Chinese, Japanese and Korean Noto Sans CJK (Debian, Ubuntu: fonts-noto-cjk), "
        "and draw the figures again: python -m bcadv.report.",
        " ".join(new[:_MOST_NAMED]),
        more,
    )
