from __future__ import annotations

import pytest

from bcadv.badge import badge, worn, write_line, written_above


def test_a_badge_is_worn_for_the_time_of_a_job() -> None:
    with worn("[1/2 sigma=0]"):
        assert badge() == "[1/2 sigma=0]"
        with pytest.raises(ValueError, match="invalid literal"), worn("[2/2 sigma=1]"):
            int("as text")
        assert badge() == "[1/2 sigma=0]"
    assert badge() == ""


def test_lines_go_to_whoever_draws_and_then_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    above: list[str] = []
    with written_above(above.append):
        write_line("one")
    write_line("two")
    assert above == ["one"]
    assert capsys.readouterr().err == "two\n"
