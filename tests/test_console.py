from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.table import Table

from bcadv.badge import worn
from bcadv.console import Bare, Lines, label, say, terminal, warnings_logged
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


@pytest.fixture
def speaking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    """This process's own console, of 60 columns and without a past."""
    monkeypatch.setenv("COLUMNS", "60")
    terminal.cache_clear()
    yield terminal()
    terminal.cache_clear()


def test_every_line_of_a_job_bears_its_badge(
    speaking: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table("one", "two")
    table.add_row("1", "2")
    with worn("[1/2 [red]x=:x:[/]]"):
        label(speaking, "NOTE", "bold", f"{'x' * 70}\ny", lines=True)
        speaking.print(table)
    say(speaking, "after")
    *lines, last = capsys.readouterr().err.splitlines()
    assert lines[:2] == [f"[1/2 [red]x=:x:[/]] NOTE: {'x' * 70}", "[1/2 [red]x=:x:[/]] y"]
    assert len(lines) == 2 + 5
    assert all(line.startswith("[1/2 [red]x=:x:[/]] ") for line in lines)
    assert last == "after"


def test_a_long_badge_leaves_a_table_its_digits(
    speaking: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table("one", "two")
    table.add_row("1" * 20, "2" * 20)
    with worn(f"[1/2 data.root={'x' * 40}]"):
        speaking.print(table)
    said = capsys.readouterr().err
    assert said.count("1") >= 20
    assert "2" * 20 in said
    assert all(line.startswith("[1/2] ") for line in said.splitlines())


def test_a_line_that_is_not_of_this_job_bears_its_own_badge_alone(
    speaking: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    with worn("[1/2]"):
        speaking.print(Bare("[2/2] failed"))
    assert capsys.readouterr().err == "[2/2] failed\n"


def test_a_sentence_bears_a_long_badge_whole(
    speaking: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    with worn(f"[1/2 data.root={'x' * 40}]"):
        say(speaking, "y" * 70)
    assert capsys.readouterr().err == f"[1/2 data.root={'x' * 40}] {'y' * 70}\n"


@pytest.fixture
def logger(speaking: Console) -> Iterator[None]:
    handler = Lines()
    root = logging.getLogger()
    before, others = root.level, root.handlers[:]
    root.handlers[:] = [handler]  # those of earlier tests write to streams since closed
    root.setLevel(logging.INFO)
    yield
    root.setLevel(before)
    root.handlers[:] = others


@pytest.mark.usefixtures("logger")
def test_log_records_are_lines_and_libraries_keep_their_news_to_themselves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours, theirs = logging.getLogger("bcadv.x"), logging.getLogger("bcadvice")
    with worn("[1/2]"):
        ours.info("news of %s", "[red]x[/]")
        ours.warning("a warning")
        ours.info("shown on the bar", extra={"on_bar": True})
        theirs.info("their news")
        theirs.warning("their warning")
    assert capsys.readouterr().err.splitlines() == [
        "[1/2] news of [red]x[/]",
        "[1/2] WARNING: a warning",
        "[1/2] WARNING: their warning",
    ]


@pytest.mark.usefixtures("logger")
def test_warnings_are_lines_without_their_place_in_the_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with warnings_logged(), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("the disk is slow: wait", UserWarning, stacklevel=1)
        warnings.warn("use new_name", FutureWarning, stacklevel=1)
    assert capsys.readouterr().err == "WARNING: the disk is slow: wait\n"
