"""Time left, and lines that are neither rare nor many."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from rich.console import Console

from bcadv import progress
from bcadv.badge import worn, write_line
from bcadv.console import terminal
from bcadv.progress import Meter, Pace, duration, on_terminal


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_rest_takes_as_long_as_what_was_done(clock: Clock) -> None:
    pace = Pace(10, clock)
    assert pace.left is None
    for done in (1, 2):
        clock.now += 5
        pace.reach(done)
    assert pace.left == pytest.approx(40)
    clock.now += 3
    assert pace.left == pytest.approx(37)
    clock.now += 100
    assert pace.left == 0


def test_what_was_done_before_costs_no_time(clock: Clock) -> None:
    pace = Pace(400, clock)
    pace.skip(390)
    clock.now += 60
    pace.reach(391)
    assert pace.left == pytest.approx(9 * 60)
    pace.skip(5)
    assert pace.left == pytest.approx(4 * 60)


def test_other_work_in_between_costs_no_time(clock: Clock) -> None:
    pace = Pace(4, clock)
    with pace.stopped():
        clock.now += 500
    clock.now += 10
    pace.reach(1)
    with pace.stopped():
        clock.now += 500
    assert pace.left == pytest.approx(30)
    assert pace.seconds == 1010


def test_a_machine_that_becomes_slower_is_noticed(clock: Clock) -> None:
    pace = Pace(10_000, clock)
    for done in range(1, 1001):
        clock.now += 1
        pace.reach(done)
    for done in range(1001, 1501):
        clock.now += 10
        pace.reach(done)
    assert pace.left == pytest.approx(8500 * 10, rel=0.01)


def test_work_is_neither_undone_nor_more_than_all(clock: Clock) -> None:
    pace = Pace(4, clock)
    pace.reach(3)
    pace.reach(2)
    assert (pace.done, pace.share) == (3, 0.75)
    pace.reach(5)
    assert pace.share == 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7_500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_are_said_in_two_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def lines(caplog: pytest.LogCaptureFixture, clock: Clock, steps: int, seconds: float) -> list[str]:
    """What is said of a work whose steps have five parts each."""
    with caplog.at_level(logging.INFO), Meter(clock=clock) as meter:
        meter.begin(steps)
        for step in range(steps):
            for part in range(1, 6):
                clock.now += seconds / 5
                meter.pace.reach(step + part / 5)
                meter.show(f"step {step + 1}", f"part {part}")
                meter.tell(step=part == 5)
    return [record.getMessage() for record in caplog.records]


def test_quick_steps_are_told_of_at_each_tenth(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    said = lines(caplog, clock, steps=100, seconds=0.1)
    assert [line.split(":")[0] for line in said] == [
        f"step {n}" for n in (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
    ]
    assert said[0].endswith("0 s gone, about 10 s left")
    assert said[-1].endswith("10 s gone")


def test_slow_steps_are_told_of_while_they_last(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    said = lines(caplog, clock, steps=10, seconds=200)
    assert said[0].startswith("step 1: part 1; 40 s gone")
    assert len(said) == 50


def test_a_long_work_fills_no_log(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    said = lines(caplog, clock, steps=400, seconds=100)
    assert 80 <= len(said) <= 120
    assert said[0].endswith("1 min 40 s gone, about 11 h 5 min left")


def test_a_work_of_days_is_told_of_each_ten_minutes(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    assert len(lines(caplog, clock, steps=30, seconds=4000)) == 150


def test_a_bar_needs_a_terminal_for_this_job_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.delenv("BCADV_PROGRESS", raising=False)
    monkeypatch.setattr(progress, "terminal", lambda: _terminal(io.StringIO()))
    assert not on_terminal()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert on_terminal()
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    with monkeypatch.context() as patch:
        patch.setattr(progress, "terminal", lambda: dumb)
        assert not on_terminal()
    monkeypatch.setenv("BCADV_PROGRESS", "lines")
    assert not on_terminal()


def _terminal(stream: io.StringIO) -> Console:
    return Console(file=stream, force_terminal=True, width=80, _environ={})


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 80 columns."""
    stream = io.StringIO()
    console = _terminal(stream)
    monkeypatch.setattr(progress, "terminal", lambda: console)
    monkeypatch.setattr(progress, "on_terminal", lambda: True)
    return stream


def test_a_bar_has_the_place_of_lines_and_leaves_nothing_behind(
    screen: io.StringIO, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    with caplog.at_level(logging.INFO), Meter(clock=clock) as meter:
        meter.begin(4, done=1)
        clock.now += 60
        meter.pace.reach(2)
        meter.show("epoch 2 of 4", "val_loss [red]0.5[/]")
        meter.tell(step=True)
        assert meter._live is not None
        meter._live.refresh()
        drawn = screen.getvalue()
        write_line("bcadv: [2/3] failed: :x:")
    assert "epoch 2 of 4" in drawn
    assert "50 %, 1 min gone, about 2 min left" in drawn
    assert "val_loss [red]0.5[/]" in drawn
    above = screen.getvalue().removeprefix(drawn)
    assert "bcadv: [2/3] failed: :x:\n" in above
    # The line is kept for the log file, and marked as shown already.
    assert [getattr(record, "on_bar", False) for record in caplog.records] == [True]
    assert screen.getvalue().rstrip().endswith("\x1b[2K")


def test_the_bar_goes_when_the_work_fails(
    screen: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped() -> None:
        with Meter() as meter:
            meter.show("epoch 1 of 4")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    before = screen.getvalue()
    write_line("bcadv: stopped")
    assert capsys.readouterr().err == "bcadv: stopped\n"
    assert screen.getvalue() == before


def test_what_may_end_early_takes_at_most_so_long(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    with caplog.at_level(logging.INFO), Meter(at_most=True, clock=clock) as meter:
        meter.begin(2)
        clock.now += 50
        meter.pace.reach(1)
        meter.tell(step=True)
    assert "at most about 50 s left" in caplog.text


def test_a_bar_that_goes_leaves_no_badge_behind(clock: Clock) -> None:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bcadv.console.Console", lambda **_: _terminal(stream))
        terminal.cache_clear()
        patch.setattr(progress, "on_terminal", lambda: True)
        with worn("[1/2]"), Meter(clock=clock) as meter:
            meter.show("epoch 1 of 4")
    terminal.cache_clear()
    drawn = stream.getvalue()
    assert drawn.count("[1/2]") == drawn.count("epoch 1 of 4") > 0
