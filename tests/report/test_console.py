from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.console import Console

from bcadv.report.console import console_comparison
from bcadv.study.study import Study
from tests.report.studies import make_study, value_of


def _printed(study: Study, width: int = 120) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(console_comparison(study))
    return captured.get()


def test_few_arms_are_columns_with_intervals() -> None:
    text = _printed(make_study(seeds=(0, 1)))
    line = next(line for line in text.splitlines() if line.startswith("FGSM 4/255"))
    values = [100 * value_of(sigma, None, 4, "accuracy") for sigma in (None, 0.1)]
    found = re.findall(r"[\d.]+ \[[\d., ]+\]", line)
    assert found == [f"{v:.1f} [{v - 5:.1f}, {v + 10:.1f}]" for v in values]
    assert "SYNTHETIC" not in text


def test_many_arms_are_rows_without_intervals() -> None:
    text = _printed(make_study((None, 0.1, 0.2, 0.3)))
    for sigma in (0.1, 0.2, 0.3):
        line = next(line for line in text.splitlines() if line.startswith(f"noise σ={sigma:g},"))
        expected = [f"{100 * value_of(sigma, 0, e, 'accuracy'):.0f}" for e in (0, 1, 4)]
        assert line.split()[-3:] == expected


@pytest.mark.parametrize("sigmas", [(None, 0.1), (None, 0.1, 0.2, 0.3)])
def test_a_narrow_terminal_loses_no_digit(sigmas: tuple[float | None, ...]) -> None:
    study = make_study(sigmas, eps_px=(0, 0.25, 0.5, 1, 2, 4, 8, 16))
    wide, narrow = (_printed(study, width) for width in (120, 40))
    assert "30" in wide
    assert "…" not in narrow
    assert all(len(line) <= 40 for line in narrow.splitlines())

    def digits(text: str) -> list[str]:
        return sorted(re.sub(r"\D", "", text))

    assert digits(narrow) == digits(wide)


def test_made_up_images_are_announced_and_what_is_undefined_is_a_dash() -> None:
    study = make_study(synthetic=True)
    measures = study.measures.copy()
    measures.loc[measures["strength"] == 4, ["value", "low", "high"]] = None
    text = _printed(replace(study, measures=measures))
    assert text.lstrip().startswith("SYNTHETIC TISSUE")
    line = next(line for line in text.splitlines() if line.startswith("FGSM 4/255"))
    assert line.split()[-2:] == ["–", "–"]
