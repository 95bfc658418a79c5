from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bcadv.results.schema import Result
from bcadv.study.data_sets import difference
from tests.results import made


def _result(
    *,
    seed: int = 0,
    content: str | None = None,
    trained_on: str = "x",
    train: int = 80,
    source: str = "folder",
    classes: tuple[str, ...] = made.CLASSES,
    shape: Mapping[str, Any] | None = None,
) -> Result:
    """A result; without ``content`` one of a program that did not name its images."""
    counts = {"train": train, "val": 10, "test": 30}
    return made.result(
        run={"seed": seed},
        task={"classes": classes},
        data={
            "source": source,
            "content": content,
            "counts": {part: dict.fromkeys(classes, n) for part, n in counts.items()},
        },
        training={"shape": {"seed": seed, "data.content": trained_on, **(shape or {})}},
    )


@pytest.mark.parametrize("content", [None, "c"])
def test_sources_and_classes_are_told_apart(content: str | None) -> None:
    one = _result(content=content)
    assert not difference(one, one)
    other = _result(content=content, source="breakhis")
    assert difference(one, other) == "data=folder instead of data=breakhis"
    others = _result(content=content, classes=("a", "b"))
    assert difference(others, one) == "classes a/b instead of benign/malignant"


def test_named_images_decide_whatever_the_split() -> None:
    one = _result(content="c")
    again = _result(content="c", seed=1, trained_on="y", train=70, shape={"data.split": "patient"})
    assert not difference(one, again)
    assert difference(one, _result(content="d"))


def test_without_names_the_training_images_of_one_draw_decide() -> None:
    one = _result()
    assert not difference(one, _result(train=70))
    for other in (_result(trained_on="y"), _result(trained_on="y", content="c")):
        assert difference(one, other) == difference(other, one) == "other images"


@pytest.mark.parametrize(
    "redrawn",
    [
        {"seed": 1},
        {"shape": {"data.split": "patient"}},
        {"shape": {"data.split": "official", "data.fold": 2}},
    ],
)
def test_another_draw_of_as_many_images_may_be_of_the_same(redrawn: dict[str, Any]) -> None:
    one = _result()
    assert not difference(one, _result(trained_on="y", **redrawn))
    assert difference(one, _result(trained_on="y", train=90, **redrawn))


def test_limits_leave_other_numbers_under_each_seed() -> None:
    limits = {"data.per_class.train.benign": 40}
    one = _result(shape=limits)
    assert not difference(one, _result(seed=1, trained_on="y", train=90, shape=limits))
    assert difference(one, _result(seed=1))
    assert difference(one, _result(shape={"data.per_class.train.benign": 50}))
