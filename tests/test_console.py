from __future__ import annotations

import io

import pytest
from rich.console import Console

from bcadv.console import label, say
from tests.outside import ACTING, NAMES


def _console(encoding: str = "utf-8", **options: bool) -> tuple[Console, io.BytesIO]:
    stream = io.BytesIO()
    file = io.TextIOWrapper(stream, encoding=encoding, write_through=True)
    return Console(file=file, width=40, _environ={}, **options), stream  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_is_printed_as_it_is(name: str) -> None:
    console, stream = _console()
    say(console, name)
    label(console, "NOTE", "bold yellow", name)
    assert stream.getvalue().decode() == f"{name}\nNOTE: {name}\n"


@pytest.mark.parametrize(("name", "escaped"), ACTING.values(), ids=ACTING)
def test_what_acts_on_a_terminal_is_printed_as_an_escape(name: str, escaped: str) -> None:
    console, stream = _console()
    say(console, name)
    label(console, "NOTE", "bold yellow", name)
    assert stream.getvalue().decode() == f"{escaped}\nNOTE: {escaped}\n"


def test_lines_are_kept_where_they_are_meant_and_long_ones_are_not_broken() -> None:
    console, stream = _console()
    say(console, f"a\n/{'x' * 60}", lines=True)
    label(console, "NOTE", "", "b\nc", lines=True)
    assert stream.getvalue().decode() == f"a\n/{'x' * 60}\nNOTE: b\nc\n"


def test_only_the_label_is_coloured() -> None:
    console, stream = _console(force_terminal=True)
    label(console, "NOTE", "bold yellow", "7 [red]images[/]")
    assert stream.getvalue().decode() == "\x1b[1;33mNOTE\x1b[0m: 7 [red]images[/]\n"


def test_a_terminal_that_knows_few_characters_gets_escapes() -> None:
    console, stream = _console("ascii")
    label(console, "NOTE", "", "café 肺")
    assert stream.getvalue() == b"NOTE: caf\\xe9 \\u80ba\n"
