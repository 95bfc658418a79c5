"""Success against queries in the page, the tables beside it and the twin."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

from bcadv.report.figures import against_queries
from bcadv.report.page import write_report
from bcadv.report.words import say
from bcadv.results.condition import Series
from bcadv.study.jobs import find_jobs
from bcadv.study.study import Study
from tests.metrics.tables import failed
from tests.study.test_queries import AFTER, frame, square, study


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs, folder = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("out")
    study(runs, frame(AFTER), findings=[failed("logits")])
    made = write_report(*find_jobs([runs]), folder, prevalence=0.1, command="x")
    assert made.failures == ()
    return folder


def test_a_row_per_strength_and_a_column_per_budget(out: Path) -> None:
    text = (out / "report.html").read_text(encoding="utf-8")
    [table] = re.findall(
        r"<caption>Fooled within so many queries, Square-100.*?</table>", text, re.S
    )
    assert re.findall('<th scope="col">(.*?)</th>', table) == ["strength", "10", "101"]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', table)
    values = {name: re.findall(r"<td>([\d.]+) ", cells) for name, cells in rows}
    assert values == {"4/255": ["25.0", "50.0"], "8/255": ["50.0", "75.0"]}
    assert table.count("<small>[") == 4
    # Success rates have the sign of a failed check too.
    assert table.count('class="suspect"') == 4 + 1


def test_the_sentence_speaks_of_what_the_strengths_share(out: Path) -> None:
    text = (out / "report.html").read_text(encoding="utf-8")
    whole = say("queries", several=True, aimed=False, seeds=1)
    assert whole in unescape(text)
    assert "at all strengths together" not in say("queries", several=False, aimed=False, seeds=1)
    assert len(say("queries", several=True, aimed=True, seeds=1)) > len(whole)


def test_the_numbers_stand_beside_the_page_and_in_the_twin(out: Path) -> None:
    curve = pd.read_csv(out / "tables" / "queries.csv")
    assert len(curve) > 50
    twin = json.loads((out / "summary.json").read_text(encoding="utf-8"))["queries"]
    assert [(row["condition"], row["queries"], row["value"]) for row in twin] == [
        (square(4).id, 10, 2 / 8),
        (square(4).id, 101, 4 / 8),
        (square(8).id, 10, 4 / 8),
        (square(8).id, 101, 6 / 8),
    ]
    assert {tuple(row["suspect"]) for row in twin} == {("logits",)}
    assert [path.name for path in (out / "figures").glob("queries*")] == [
        "queries_square_linf_" + square(4).series.rsplit("_", 1)[1] + "_undefended.svg"
    ]


def test_the_figure_has_a_line_per_strength_through_the_numbers(tmp_path: Path) -> None:
    made: Study = study(tmp_path, frame(AFTER))
    figure = against_queries(made, made.arms[0], Series(tuple(AFTER)))
    [axes] = figure.axes
    for condition, line in zip(AFTER, axes.lines, strict=True):
        rows = made.queries[made.queries["condition"] == condition.id]
        assert line.get_label() == condition.equation
        assert list(line.get_xdata()) == rows["queries"].tolist()  # type: ignore[arg-type]
        assert list(line.get_ydata()) == (100 * rows["value"]).tolist()  # type: ignore[arg-type]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "10", "100"]
