"""Text from outside (names of classes, files, experiments) made fit to be shown.

What acts on a terminal, a file or its neighbours becomes an escape that can be read; every other
character stays as it is, whatever its language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SCREENFUL = 2000
"""Characters of the longest message."""

_UNSHOWN = re.compile(
    "["
    r"\x00-\x1f\x7f-\x9f"  # control characters: colours, cursor, bell, lines
    r"\u2028\u2029"  # line and paragraph separators
    r"\u202a-\u202e\u2066-\u2069"  # turn the direction of all that follows
    r"\ud800-\udfff"  # bytes of a file name that are not UTF-8; cannot be encoded
    r"\ufffe\uffff"  # no characters, and forbidden in XML
    "]"
)


def shown(text: str, *, keep: str = "") -> str:
    r"""The text with an escape, such as ``\x1b``, for each character that acts.

    Args:
        text: from anywhere.
        keep: characters to leave alone, such as the ends of lines of a text of several.
    """
    return _UNSHOWN.sub(
        lambda found: (
            found[0] if found[0] in keep else found[0].encode("unicode_escape").decode("ascii")
        ),
        text,
    )


def brief(text: str, width: int) -> str:
    """The text, cut with an ellipsis where it is longer than ``width`` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def first_line(text: str) -> str:
    """The first line of a text, such as of an error's many; empty where there is none."""
    return (text.splitlines() or [""])[0]


def is_utf8(text: str) -> bool:
    """Whether a text from the system holds no bytes that are not UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def printable(text: str) -> str:
    """The text with what a terminal would act on, or cannot show, as escapes; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that was not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def shorten(text: str, most: int = SCREENFUL) -> str:
    """Cuts the middle out of what is longer than `most` characters, and says so."""
    if len(text) <= most:
        return text
    word = f" [... {len(text) - most} characters left out ...] "
    kept = max(most - len(word), 2)
    return text[: kept - kept // 2] + word + text[-(kept // 2) :]


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
