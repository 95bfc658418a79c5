"""The benchmarks run; what they measure is no matter of passing or failing."""

from __future__ import annotations

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.measure import alternate


def test_sides_take_turns_after_a_warm_up() -> None:
    calls: list[str] = []
    timed = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert [len(side.seconds) for side in timed.values()] == [2, 2]


def test_the_quickest_benchmark_prints_its_numbers_beside_the_targets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--small", "cli"])
    printed = capsys.readouterr().out
    assert "TOY SIZES" in printed
    assert "threads" in printed
    assert "<= 3 s" in printed
    assert printed.count("│ not imported │ not imported │") == 2


def test_an_unknown_name_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["fsgm"])
    message = capsys.readouterr().err
    assert "fsgm" in message
    assert "training" in message
