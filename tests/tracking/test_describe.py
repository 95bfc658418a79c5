"""What the description of a run says, and that nothing from outside acts in it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Finding
from bcadv.tracking.curves import main_points
from bcadv.tracking.describe import answer, description, headline_of, plain
from tests.metrics.tables import fgsm, gaussian, pgd
from tests.results.made import noise
from tests.results.made import result as whole
from tests.tracking import made

PAGES = "#/experiments/1/runs/2/artifacts"


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)


def test_the_answer_has_the_numbers_of_the_attack_that_leaves_least() -> None:
    conditions = [fgsm(1), fgsm(2), fgsm(16), pgd(1), pgd(2), pgd(16), gaussian(0.1)]
    rows = [made.result_row(CLEAN, accuracy=0.9)]
    rows += [
        made.result_row(c, accuracy=v)
        for c, v in zip(conditions, [0.8, 0.5, 0.12, 0.7, 0.41, 0.2, 0.01], strict=True)
    ]
    assert answer(whole(conditions, rows)) == (
        "Of 40 clean test images 90.0 % are answered right, under attack 41.0 % at ε = 2/255 "
        "(PGD-20) and 12.0 % at ε = 16/255 (FGSM)."
    )
    four = [fgsm(eps) for eps in (1, 2, 8, 16)]
    assert "at ε = 2/255 (FGSM) and" in answer(whole(four))
    alone = whole([fgsm(8)], [rows[0], made.result_row(fgsm(8), accuracy=0.25)])
    assert "under attack 25.0 % at ε = 8/255 (FGSM)." in answer(alone)
    assert answer(whole([], [rows[0]])).endswith("Nothing was attacked.")


@pytest.mark.parametrize(("count", "said"), [(5, "check 4."), (7, "check 4 and 2 more.")])
def test_so_many_failed_checks_are_named(tmp_path: Path, count: int, said: str) -> None:
    failed = [
        Finding(id=str(n), title=f"check {n}", outcome="failed", evidence="") for n in range(count)
    ]
    text = description(whole(findings=failed), tmp_path, headline=None, artifacts=PAGES)
    assert said in text
    assert "check 5" not in text


def test_of_two_norms_the_first_is_told() -> None:
    conditions = [fgsm(8), fgsm(4, "2")]
    rows = [made.result_row(c, accuracy=v) for c, v in zip(conditions, (0.5, 0.25), strict=True)]
    for order in (1, -1):
        given = conditions[::order]
        said = answer(whole(given, [made.result_row(CLEAN), *rows[::order]]))
        assert ("50.0 % at ε = 8/255 (FGSM)" in said) == (order == 1)
        assert ("25.0 % at ε = 4 (FGM, L2)" in said) == (order == -1)


@pytest.mark.parametrize(
    "conditions", [[], [gaussian(0.1)], [fgsm(0.5)], [fgsm(0.5, "2")], [fgsm(1), fgsm(9, "2")]]
)
def test_metrics_that_are_explained_are_those_that_the_run_has(
    tmp_path: Path, conditions: list[Condition]
) -> None:
    result = whole(conditions)
    text = description(result, tmp_path, headline=None, artifacts=PAGES)
    named = re.findall(r"`(accuracy_\S+)`", text)
    assert set(named) <= set(main_points(result))
    assert len(named) == 1 + any(condition.kind == "attack" for condition in conditions)


def test_it_says_what_was_run_and_leads_to_the_report(tmp_path: Path) -> None:
    result = whole([fgsm(8), pgd(8)], defence=noise(0.1), data={"source": "synthetic"})
    without = description(result, tmp_path, headline=None, artifacts=PAGES)
    assert "report.html" not in without
    (tmp_path / "report.html").touch()
    text = description(result, tmp_path, headline="Falls at once.", artifacts=PAGES)
    assert f"[report.html]({PAGES}/report.html)" in text
    assert f"on disk {plain(str(tmp_path))}/report.html" in text
    assert text.startswith("**Answer.** Falls at once.")
    assert answer(result) in without
    assert answer(result) not in text
    for said in ("densenet121", "noise σ=0.1", "160 images", "60 clean", "FGSM", "PGD-20"):
        assert said in text
    assert "nothing here says anything about patients" in text
    once = whole([fgsm(8)], training={"epochs": 1})
    said = description(once, tmp_path, headline=None, artifacts=PAGES)
    assert "trained for 1 epoch on 160 images" in said
    assert "`fgsm_linf_by_1000_eps`: FGSM; step&#58; 1000 x ε in grey levels" in text
    real = description(whole([fgsm(8)]), tmp_path, headline=None, artifacts=PAGES)
    assert "patients" not in real


@pytest.mark.parametrize(
    "hostile",
    [
        "<iframe src=x></iframe><img src=x>",
        "[a](javascript:b) ![c](d) <http://e>",
        "**b** _i_ `c` ~~s~~ # h | t |",
        "@somebody www.example.org http://example.org",
        "a\n\n# b\n\n<script>",
        "</pre></code><iframe>",
    ],
)
def test_what_comes_from_outside_is_text(tmp_path: Path, hostile: str) -> None:
    folder = tmp_path / "o<iframe>"
    folder.mkdir()
    (folder / "report.html").touch()
    result = whole([fgsm(8)], run={"command": f"python -m bcadv.run {hostile}"})
    said = description(result, folder, headline=hostile, artifacts=PAGES)
    assert _Tags(said).found == set()
    line = next(part for part in said.split("\n\n") if part.startswith("**Answer.**"))
    acting = re.sub(r"\\.|&#\d+;", "", line.removeprefix("**Answer.**"))
    assert not set(acting) & set("`*_[]#|~!@<>"), acting
    assert "http:" not in acting
    assert "www." not in acting
    assert "\n" not in plain(hostile)


def test_the_headline_is_the_reports_where_there_is_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert headline_of(tmp_path) is None
    assert not caplog.records
    place = tmp_path / "summary.json"
    place.write_text(json.dumps({"headline": "Falls from 90 % to 12 %.", "more": 1}))
    assert headline_of(tmp_path) == "Falls from 90 % to 12 %."
    place.write_text(json.dumps({"headline": "x" * 5000}))
    assert headline_of(tmp_path) == "x" * 1000
    for damaged in ("{", "[]", "{}", "null"):
        caplog.clear()
        place.write_text(damaged)
        assert headline_of(tmp_path) is None
        assert "summary.json" in caplog.text
