"""The benchmarks run; what they measure is no matter of passing or failing."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.catalog import BENCHMARKS, select
from tests.benchmarks.display import Progress, Table
from tests.benchmarks.measure import Options, Row, alternate


def test_sides_take_turns_after_a_warm_up() -> None:
    calls: list[str] = []
    timed = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert [len(side.seconds) for side in timed.values()] == [2, 2]


def test_a_warm_up_of_its_own_leaves_no_result_and_every_step_is_told() -> None:
    told: list[str] = []
    calls: list[str] = []

    def side(what: str) -> str:
        calls.append(what)
        return what

    timed = alternate(
        {"a": lambda: side("whole")},
        rounds=2,
        warm_up={"a": lambda: side("part")},
        tell=told.append,
    )
    assert timed["a"].result == "whole"
    assert calls == ["part", "whole", "whole"]
    assert told == ["warm-up: a", "round 1 of 2: a", "round 2 of 2: a"]


@pytest.mark.long
def test_the_quickest_benchmark_prints_its_numbers_beside_the_targets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--small", "cli"])
    printed = capsys.readouterr().out
    assert "TOY SIZES" in printed
    assert "threads" in printed
    assert "<= 3 s" in printed
    assert printed.count("│ not imported │ not imported │") == 2


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("fsgm", "training"),
        ("fsgm:foolbox", "training"),
        ("fgsm:foolboks", "fgsm:foolbox"),
        ("fgsm:", "fgsm:foolbox"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str], name: str, known: str
) -> None:
    with pytest.raises(SystemExit):
        main([name])
    message = capsys.readouterr().err
    assert f"unknown: {name};" in message
    assert known in message


def test_a_row_is_asked_for_alone_and_all_of_them_by_their_benchmark() -> None:
    assert select(["start:warm", "fgsm:foolbox", "fgsm:art"]) == {
        "start": {"warm"},
        "fgsm": {"art", "foolbox"},
    }
    assert select(["fgsm", "fgsm:art"])["fgsm"] == set(BENCHMARKS["fgsm"])
    assert list(select([])) == list(BENCHMARKS)


def test_every_row_is_listed_with_what_it_measures(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    listed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert listed == {
        f"{name}:{row}": what for name, rows in BENCHMARKS.items() for row, what in rows.items()
    }


def test_every_module_with_a_run_is_in_the_catalog_with_the_rows_that_it_knows() -> None:
    sources = {
        path.stem: path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py")
    }
    assert {name for name, text in sources.items() if "\ndef run(" in text} == set(BENCHMARKS)
    for name, rows in BENCHMARKS.items():
        # A benchmark of one row measures it whatever its name.
        assert len(rows) == 1 or all(f'"{row}"' in sources[name] for row in rows)


class _Broken(Exception):  # noqa: N818  it stands for any
    pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A benchmark of two rows in the catalog."""
    module = ModuleType("tests.benchmarks.fake")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("tests.benchmarks.__main__.machine", lambda: "a machine")
    rows = {"quick": "what is done", "slow": "what never ends"}
    monkeypatch.setattr("tests.benchmarks.catalog.BENCHMARKS", {"fake": rows})
    return module


def test_a_row_is_printed_before_the_next_is_measured(
    fake: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def run(options: Options) -> Iterator[Row]:
        options.tell("round 1 of 1: quick")
        yield Row("first of [all]", "1 s", "2 s", "2x faster")
        seen.extend(capsys.readouterr())
        options.tell("round 1 of 1: slow")
        raise _Broken

    fake.run = run  # type: ignore[attr-defined]
    with pytest.raises(_Broken):
        main(["fake"])
    out, err = seen
    assert "│ first of [all]" in out
    assert "│ 2x faster" in out
    assert "] fake: round 1 of 1: quick\n" in err
    assert "slow" not in err
    assert "] fake: round 1 of 1: slow\n" in capsys.readouterr().err


def test_a_benchmark_is_told_the_rows_that_are_wanted(
    fake: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(options: Options) -> Iterator[Row]:
        for name in ("quick", "slow"):
            if options.wants(name):
                yield Row(f"the {name} one, {options.rounds} rounds", "-", "-", "-")

    fake.run = run  # type: ignore[attr-defined]
    main(["fake:quick", "--rounds", "2"])
    out = capsys.readouterr().out
    assert "the quick one, 2 rounds" in out
    assert "the slow one" not in out


def test_a_row_that_its_benchmark_does_not_know_is_no_empty_table(fake: ModuleType) -> None:
    fake.run = lambda options: iter(())  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="fake measured none of slow"):
        main(["fake:slow"])


@pytest.mark.parametrize("width", [80, 100, 130, 200])
def test_the_columns_stand_under_each_other_whatever_their_cells(width: int) -> None:
    stream = io.StringIO()
    table = Table(stream, width)
    table.head("name")
    table.row(Row("what is measured " * 9, "1", "2", "not measured: no GPU", "x" * 40))
    table.row(Row("", "", "", "", ""))
    table.foot()
    lines = stream.getvalue().splitlines()[2:]
    assert {len(line) for line in lines} == {width}
    columns = [i for i, letter in enumerate(lines[1]) if letter in "├┼┤"]
    assert len(columns) == 6
    assert all(line[i] in "│├┼┤└┴┘" for line in lines for i in columns)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_status_on_a_terminal_makes_way_for_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    seconds = iter([5.0])
    stream = _Terminal()
    progress = Progress(stream, lambda: next(seconds, 70.0))
    progress.step("fgsm", "round [1] of 3")
    shown = stream.getvalue()
    assert "[01:05] fgsm: round [1] of 3" in shown
    with progress.aside():
        hidden = stream.getvalue()
        assert hidden.endswith("\x1b[2K"), "the status line is cleared"
    assert "fgsm: round [1] of 3" in stream.getvalue()[len(hidden) :]
    progress.close()
    closed = stream.getvalue()
    with progress.aside():
        pass
    assert stream.getvalue() == closed, "what was closed stays closed"
