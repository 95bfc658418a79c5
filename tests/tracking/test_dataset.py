"""The data sets of a run, as MLflow is told of them."""

from __future__ import annotations

import json

import pytest

from bcadv.tracking.dataset import data_name, inputs_of
from tests.tracking import made


@pytest.mark.parametrize(
    ("root", "name"),
    [
        (None, "breakhis"),
        ("data/breakhis", "breakhis"),
        ("/BreakHis/", "breakhis"),
        ("/", "breakhis"),
        ("data/half", "breakhis half"),
        ("data/a\nb", "breakhis a\\nb"),
    ],
)
def test_it_is_called_by_its_source_and_a_folder_that_says_more(
    root: str | None, name: str
) -> None:
    assert data_name(made.results(), root) == name


def test_each_part_has_its_images_and_where_they_lie() -> None:
    result = made.results()
    made_up = {"tags": {"mlflow.source.name": result.data.words}}
    for root, kind, source in (
        ("data/half", "local", {"uri": "data/half"}),
        (None, "code", made_up),
    ):
        given = [one.dataset for one in inputs_of(result, {"data.root": root})]
        assert [one.digest for one in given] == ["a" * 12, "b" * 12, "c" * 12]
        assert {one.source_type for one in given} == {kind}
        assert json.loads(given[0].source) == source
        assert json.loads(str(given[2].profile)) == {
            "num_rows": 60,
            "images_per_class": {"benign": 30, "malignant": 30},
        }
    unknown = result.model_copy(
        update={"data": result.data.model_copy(update={"digests": {"test": "d" * 64}})}
    )
    [one] = inputs_of(unknown, {})
    assert [tag.value for tag in one.tags] == ["testing"]
