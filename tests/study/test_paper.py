from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from bcadv.results.condition import CLEAN
from bcadv.study import paper
from bcadv.study.calibration import fall
from bcadv.study.jobs import Job
from tests.metrics.tables import fgsm
from tests.results import made

SHAPE = {"model.weights": "densenet121-res224-all", "trainer.max_epochs": 400}


def _job(shape: dict[str, Any] | None = None, **data: Any) -> Job:
    classes = data.pop("classes", ("benign", "malignant"))
    counts = {part: dict(of) for part, of in paper.COUNTS.items()}
    result = made.result(
        data={"counts": counts} | data,
        task={"classes": classes},
        training={"shape": SHAPE if shape is None else shape},
    )
    return Job(Path("x"), result)


@pytest.mark.parametrize(
    ("reported", "per_cent"),
    [
        (paper.CLEAN.original, 98.72),
        (paper.CLEAN.defence, 98.08),
        (paper.MALIGNANT.original, 98.90),
        (paper.MALIGNANT.defence, 96.70),
        (paper.ATTACKED.original, 10.99),
        (paper.ATTACKED.defence, 27.47),
    ],
)
def test_counts_give_the_papers_per_cent(reported: paper.Reported, per_cent: float) -> None:
    assert 100 * reported.value == pytest.approx(per_cent, abs=0.005)
    part = paper.COUNTS["test"]
    assert reported.n in {sum(part.values()), part["malignant"]}


def test_intervals_are_wilsons() -> None:
    z = 1.959963984540054
    for reported in paper.ATTACKED:
        p, n = reported.value, reported.n
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        reach = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        assert reported.interval == pytest.approx((middle - reach, middle + reach))
    assert [round(100 * end, 1) for end in paper.ATTACKED.original.interval] == [6.1, 19.1]
    assert [round(100 * end, 1) for end in paper.ATTACKED.defence.interval] == [19.4, 37.4]


def test_counts_are_the_papers() -> None:
    classes = {name: sum(of[name] for of in paper.COUNTS.values()) for name in paper.COUNTS["test"]}
    assert classes == {"benign": 644, "malignant": 903}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, None),
        ({"synthetic": True, "source": "synthetic"}, "synthetic"),
        ({"source": "folder", "classes": ("A", "B")}, "not BreakHis, the paper's data, but A, B"),
        ({"split": "patient"}, "split is “patient”"),
        ({"counts": {"test": {"benign": 3, "malignant": 4}}}, "7 in all, the paper has 1547"),
    ],
)
def test_other_data_than_the_papers_are_named(data: dict[str, Any], words: str | None) -> None:
    said = " ".join(paper.unlike_the_papers_data([_job(**data)] * 2))
    assert said == "" if words is None else words in said


def test_another_training_than_the_papers_is_named_once() -> None:
    assert paper.unlike_the_papers_training([_job()]) == ()
    other = _job({"model.weights": None, "trainer.max_epochs": 12})
    said = paper.unlike_the_papers_training([_job(), other, other])
    assert len(said) == 2
    assert "these models for 12 at most" in said[1]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((0.9, 0.5, 0.1), (None, None, 2)),
        ((0.9, 0.5, 0.01), (1, 2, None)),
        ((0.9, 0.5, 0.4), (2, None, None)),
        ((0.1, 0.08, 0.0), (None, 0, None)),  # as low without attack
    ],
)
def test_epsilon_is_where_the_curve_meets_the_papers_interval(
    values: tuple[float, ...], found: tuple[int | None, int | None, int | None]
) -> None:
    conditions = [CLEAN, fgsm(1), fgsm(2)]
    above, below, inside = (None if i is None else conditions[i] for i in found)
    assert fall(dict(zip(conditions, values, strict=True))) == (inside, above, below)
