"""One definition of the results for writer, reader and tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bcadv.errors import BcadvError
from bcadv.results.condition import CLEAN, REPEATED, Condition, ordered
from bcadv.results.schema import read_result
from tests.metrics.tables import fgsm, gaussian, pgd
from tests.report.jobs_on_disk import write_job


def test_a_condition_is_named_by_all_that_makes_it() -> None:
    every = [
        CLEAN,
        REPEATED,
        fgsm(1),
        fgsm(2),
        fgsm(1, "2"),
        pgd(1),
        pgd(1, steps=40),
        pgd(1, "2"),
        gaussian(0.1),
        fgsm(0.001),
        fgsm(0.0012345678),
        fgsm(0.0012345671),
    ]
    assert len({condition.id for condition in every}) == len(every)
    assert fgsm(4).id == "fgsm_linf_4"


def test_a_series_has_all_but_the_strength() -> None:
    assert fgsm(1).series == fgsm(4).series
    assert len({c.series for c in (CLEAN, fgsm(1), fgsm(1, "2"), pgd(1), pgd(1, steps=3))}) == 5


def test_a_strength_is_said_in_its_own_unit() -> None:
    assert (fgsm(4).text, fgsm(4).size) == ("FGSM 4/255", 4 / 255)
    assert (fgsm(0.5, "2").text, fgsm(0.5, "2").size) == ("FGM, L2 0.5", 0.5)
    assert "/255" not in fgsm(0.5, "2").axis + gaussian(0.1).axis + gaussian(0.1).text
    assert fgsm(0.5, "2").axis == "ε, Euclidean length of pixels in [0, 1] (0: clean)"
    assert gaussian(0.1).axis == "σ, pixels in [0, 1] (0: clean)"
    assert CLEAN.text == "clean"


def test_a_condition_comes_back_from_its_file_and_no_other_name_is_believed() -> None:
    kept = json.loads(json.dumps(pgd(1, "2").model_dump(mode="json")))
    assert Condition.model_validate(kept) == pgd(1, "2")
    kept["id"] = fgsm(1).id
    with pytest.raises(ValidationError):
        Condition.model_validate(kept)


def test_a_chosen_class_makes_another_attack() -> None:
    chosen = Condition.model_validate(fgsm(1).model_dump(exclude={"id"}) | {"goal": "targeted"})
    assert chosen.id != fgsm(1).id
    assert chosen.series != fgsm(1).series


@pytest.mark.parametrize(("condition", "unit"), [(fgsm(1), None), (CLEAN, "grey level")])
def test_a_strength_has_a_unit_and_clean_images_none(
    condition: Condition, unit: str | None
) -> None:
    with pytest.raises(ValidationError, match="needs a unit"):
        Condition.model_validate(condition.model_dump() | {"unit": unit})


def test_the_order_is_clean_then_series_by_rising_strength() -> None:
    mixed = {pgd(4), gaussian(0.1), fgsm(10), fgsm(2), CLEAN, pgd(1)}
    assert ordered(mixed) == [CLEAN, fgsm(2), fgsm(10), pgd(1), pgd(4), gaussian(0.1)]


def _without(*path: str) -> Callable[[dict[str, Any]], None]:
    def spoil(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return spoil


def _with(value: Any, *path: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return spoil


def _twice(key: str) -> Callable[[dict[str, Any]], None]:
    def spoil(content: dict[str, Any]) -> None:
        content[key].append(content[key][0])

    return spoil


def _no_numbers(content: dict[str, Any]) -> None:
    for row in content["rows"]:
        for measure in row["metrics"].values():
            measure.update(dict.fromkeys(("value", "k", "ci_low", "ci_high")))


def _not_clean(content: dict[str, Any]) -> None:
    content["rows"] = [row for row in content["rows"] if row["condition"] != "clean"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without("schema_version"), "schema version None"),
        (_with(3, "schema_version"), "schema version 3"),
        (_without("rows"), "rows"),
        (_with([], "rows"), "rows"),
        (_no_numbers, "no accuracy"),
        (_not_clean, "clean images"),
        (_with(None, "environment"), "environment"),
        (_with(5, "findings"), "findings"),
        (_with("many", "rows", 0, "n"), "n"),
        (_with("pgd_linf_9", "rows", 0, "condition"), "pgd_linf_9"),
        (_with([7], "task", "positive"), "positive"),
        (_with([2], "task", "positive"), "positive is (2,), of 2 classes"),
        (_twice("conditions"), "a condition stands twice"),
        (_twice("rows"), "a row stands twice"),
        (_with({}, "data", "counts"), "test images"),
        (_with("", "run", "finished"), "finished"),
        (_without("model", "defence"), "defence"),
        (_with(True, "model", "unknown"), "unknown"),
    ],
)
def test_damage_is_answered_in_a_sentence(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], said: str
) -> None:
    write_job(tmp_path / "it")
    path = tmp_path / "it" / "results.json"
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(BcadvError) as caught:
        read_result(tmp_path / "it")
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "run the job again" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "5", "[" * 100_000, '"text"', "{}"])
def test_what_is_no_result_is_answered_too(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(BcadvError, match=r"results\.json"):
        read_result(tmp_path)
