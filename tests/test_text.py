from __future__ import annotations

import pytest

from bcadv.text import SCREENFUL, brief, printable, shorten, shown
from tests.outside import ACTING, NAMES


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_text_stays_as_it_is(name: str) -> None:
    assert shown(name) == name


@pytest.mark.parametrize(("name", "escaped"), ACTING.values(), ids=ACTING)
def test_what_acts_is_shown_as_an_escape(name: str, escaped: str) -> None:
    assert shown(name) == escaped
    assert shown(name).encode() == escaped.encode()


def test_what_is_to_be_kept_is_kept() -> None:
    assert shown("a\n\x1b\tb", keep="\n\t") == "a\n\\x1b\tb"


@pytest.mark.parametrize(("text", "cut"), [("abcd", "abcd"), ("abcde", "abc…"), ("", "")])
def test_long_text_is_cut(text: str, cut: str) -> None:
    assert brief(text, 4) == cut


def test_what_a_terminal_would_act_on_is_shown_as_text() -> None:
    assert printable("a\x1b[31mb\tc\x00\udce4 肺炎 é\nd") == "a\\x1b[31mb\\tc\\x00\\xe4 肺炎 é\nd"


def test_a_long_text_loses_its_middle_and_says_so() -> None:
    text = "begin" + "x" * 100_000 + "end"
    short = shorten(text)
    assert len(short) <= SCREENFUL
    assert short.startswith("begin")
    assert short.endswith("end")
    assert "98008 characters left out" in short
    assert shorten("short") == "short"
    assert shorten("x" * SCREENFUL) == "x" * SCREENFUL
