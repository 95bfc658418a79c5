"""A row per job, with its numbers, whatever became of the others."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from bcadv.results.condition import CLEAN
from bcadv.results.schema import Measure, Result, Row
from bcadv.sweep_table import Line, table
from tests.metrics.tables import fgsm, gaussian, pgd
from tests.results.made import result, row


def shown(lines: list[Line], width: int = 200) -> list[str]:
    console = Console(file=io.StringIO(), width=width, _environ={})
    console.print(table(lines, Path("outputs/sweeps/it"), console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def cells(lines: list[str], number: int) -> list[str]:
    [found] = [line.split() for line in lines if line.split()[:1] == [str(number)]]
    return found


def measured(condition: object, value: float, batchnorm: str = "as_trained") -> Row:
    made = row(condition, batchnorm)  # type: ignore[arg-type]
    accuracy = Measure(value=value, n=40, ci_low=value - 0.1, ci_high=value + 0.1)
    return made.model_copy(update={"metrics": {**made.metrics, "accuracy": accuracy}})


def job(clean: float, attacked: float) -> Result:
    conditions = (fgsm(2), fgsm(8), pgd(0.5, "2"))
    rows = [
        measured(CLEAN, clean),
        measured(fgsm(2), 0.55),
        measured(fgsm(8), attacked),
        measured(pgd(0.5, "2"), 0.33),
        measured(CLEAN, 0.99, "clean"),
        *(measured(condition, 0.98, "clean") for condition in conditions),
    ]
    return result(conditions, rows, batchnorm=("as_trained", "clean"))


def test_each_job_has_its_settings_and_its_worst_numbers() -> None:
    said = shown(
        [
            Line(0, {"sigma": "0", "seed": "1"}, job(0.9, 0.2)),
            Line(1, {"sigma": "[red]", "seed": "1"}, job(0.8, 0.4)),
            Line(2, {"sigma": "0.2"}, None, failed=True),
            Line(3, {"sigma": "0.3", "seed": "2"}, None),
        ],
    )
    text = "\n".join(said)
    first, second = " ".join(cells(said, 1)), " ".join(cells(said, 2))
    assert first == "1 0 1 90.0 [80, 100] 20.0 [10, 30] at 8/255 33.0 [23, 43] at 0.5 0"
    assert second == "2 [red] 1 80.0 [70, 90] 40.0 [30, 50] at 8/255 33.0 [23, 43] at 0.5 1"
    assert cells(said, 3) == ["3", "0.2", "failed", "2"]
    assert cells(said, 4) == ["4", "0.3", "2", "not", "run", "3"]
    assert "outputs/sweeps/it" in text
    assert "BatchNorm statistics: as_trained;" in text
    assert "99.0" not in text


def test_intervals_give_way_to_numbers_where_there_is_no_room() -> None:
    said = shown([Line(0, {"sigma": "0"}, job(0.9, 0.2))], width=70)
    assert " ".join(cells(said, 1)) == "1 0 90.0 20.0 at 8/255 33.0 at 0.5 0"
    assert all(len(line) <= 70 for line in said)


def test_a_sweep_without_results_has_a_table_too() -> None:
    assert cells(shown([Line(0, {}, None)]), 1) == ["1", "not", "run", "0"]


def test_words_below_the_table_are_about_its_jobs() -> None:
    painted = result((fgsm(8),), data={"source": "synthetic"})
    assert "SYNTHETIC TISSUE" in "\n".join(shown([Line(0, {"+a": "1"}, painted)]))
    said = "\n".join(shown([Line(0, {"+a": "1"}, result((fgsm(8),)))]))
    assert [word for word in ("SYNTHETIC", "BatchNorm", "+a") if word in said] == []


def test_noise_is_no_attack() -> None:
    rows = [row(CLEAN, accuracy=0.5), row(gaussian(0.1)), row(fgsm(8), accuracy=0.25)]
    said = shown([Line(0, {}, result((gaussian(0.1), fgsm(8)), rows))])
    assert " ".join(cells(said, 1)) == "1 50.0 25.0 at 8/255 0"


def test_of_many_attacks_those_that_leave_least_have_a_column() -> None:
    tried = {pgd(4, steps=steps): 0.1 * place for place, steps in enumerate((9, 2, 7, 4, 5, 6))}
    rows = [measured(CLEAN, 0.9), *(measured(c, 0.1 + value) for c, value in tried.items())]
    said = "\n".join(shown([Line(0, {}, result(tuple(tried), rows))]))
    assert [f"PGD-{steps}" in said for steps in (9, 2, 7, 4, 5, 6)] == [True] * 4 + [False] * 2
    assert "2 more attacks leave more" in said
