"""A job with corruptions, from the command line's settings to the page and the tracker."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from bcadv import job
from bcadv.report.console import console_comparison
from bcadv.report.page import write_report
from bcadv.report.summary import headline
from bcadv.results.files import PREDICTIONS
from bcadv.results.schema import Result
from bcadv.study.corruption import ALL
from bcadv.study.headline import conclude
from bcadv.study.jobs import Job, load_job
from bcadv.study.study import Study, build_study
from bcadv.tracking.curves import curve_tags, result_points, used_params
from bcadv.tracking.describe import description
from tests.jobs import tiny_config, undrawn
from tests.report.test_page import Page

ASKED = ("corruptions=[jpeg,stain]", "evaluation.severities=[1,5]", "tracking.enabled=false")
NAMES = {"jpeg_1", "jpeg_5", "stain_1", "stain_5"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undefended job and one that trained on noise, with corruptions and without."""
    root = tmp_path_factory.mktemp("corrupted")
    noise = ("+experiment=defense", "batchnorm=as_trained", "evaluation.noise=true")
    with undrawn():
        for name, more in (("plain", ()), ("noisy", noise)):
            config = tiny_config(root / "outputs", *ASKED, *more)
            job.run(config, root / name)
            job.run(config.model_copy(update={"corruptions": ()}), root / f"{name}_alone")
    return root


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return load_job(folder / "plain").result


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return build_study(jobs(folder))


def jobs(folder: Path, more: str = "") -> list[Job]:
    return [load_job(folder / f"{name}{more}") for name in ("plain", "noisy")]


def test_predictions_and_results_agree(folder: Path, result: Result) -> None:
    table = pd.read_parquet(folder / "plain" / PREDICTIONS)
    assert set(table["condition"]) > NAMES
    wrong = (table["prediction"] != table["target"]).groupby(table["condition"]).mean()
    found = {of.corruption: of.error for of in result.corruption_errors}
    for name in ("jpeg", "stain"):
        assert found[name].value == pytest.approx(wrong[[f"{name}_1", f"{name}_5"]].mean())
    assert found[None].value == pytest.approx(wrong[sorted(NAMES)].mean())
    # The images were changed, and the stronger the more.
    size = table.groupby("condition")["size"].mean()
    assert 0 < size["stain_1"] < size["stain_5"] <= 1


def test_neither_checks_nor_answers_take_a_corruption_for_an_attack(
    folder: Path, result: Result, study: Study
) -> None:
    assert {c.kind for c in study.conditions} == {"clean", "attack", "noise", "corruption"}
    assert [series.name for series in study.corruptions] == ["jpeg", "stain"]
    alone = build_study(jobs(folder, "_alone"))
    assert alone.corruption_errors.empty
    assert alone.corruptions == []
    assert result.findings == jobs(folder, "_alone")[0].result.findings
    # What is certain of the defence does not depend on what else was tried.
    assert study.comparisons.equals(alone.comparisons)
    with_them, without = (conclude(of, 0.1) for of in (study, alone))
    assert headline(with_them) == headline(without)
    assert [(a.word, a.fall, a.defence) for a in with_them.answers] == [
        (a.word, a.fall, a.defence) for a in without.answers
    ]


def told(study: Study) -> dict[tuple[str, str], dict[str, Any]]:
    """The corruption errors by arm and corruption."""
    records: list[dict[str, Any]] = study.corruption_errors.to_dict("records")  # type: ignore[assignment]
    return {(row["arm"], row["corruption"]): row for row in records}


def test_the_study_tells_what_the_job_told_and_holds_the_defended_against_the_undefended(
    folder: Path, study: Study
) -> None:
    rows = told(study)
    assert len(rows) == 6
    for each in jobs(folder):
        [arm] = [a for a in study.arms if each.folder in [j.folder for j in a.jobs]]
        for of in each.result.corruption_errors:
            row, error = rows[arm.name, of.corruption or ALL], of.error
            assert (row["value"], row["low"], row["high"]) == pytest.approx(
                (error.value, error.ci_low, error.ci_high)
            )
    plain, noisy = (arm.name for arm in study.arms)
    assert all(math.isnan(rows[plain, name]["relative"]) for name in ("jpeg", "stain", ALL))
    ratios = {n: rows[noisy, n]["value"] / rows[plain, n]["value"] for n in ("jpeg", "stain")}
    for name, ratio in ratios.items():
        assert rows[noisy, name]["relative"] == pytest.approx(ratio)
        assert rows[noisy, name]["reference"] == plain
    assert rows[noisy, ALL]["relative"] == pytest.approx(sum(ratios.values()) / 2)


def test_page_summary_and_console_tell_the_mean(folder: Path, study: Study, tmp_path: Path) -> None:
    made = write_report(jobs(folder), [], tmp_path, prevalence=0.1, command="x")
    assert made.failures == ()
    page = Page(made.page.read_text(encoding="utf-8"))
    said = page.said()
    row = told(study)["undefended", ALL]
    for words in (
        "Mean corruption error",
        "Errors under corruption, undefended",
        "divided by that of the undefended model",
        f"{100 * row['value']:.1f}",
        "Corruption (after Hendrycks & Dietterich 2019): JPEG; severity 1 and 5 of 5",
        "; FGSM; 2 corruptions.",
    ):
        assert words in said
    for words in (
        "JPEG severity",
        "ε = severity",
        "Sensitivity, JPEG",
        "over the undefended model, JPEG",
    ):
        assert words not in said
    twin = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert [of["corruption"] for of in twin["corruption_errors"]] == ["jpeg", "stain", ALL] * 2
    assert (tmp_path / "tables" / "corruptions.csv").is_file()
    console = Console(width=100, record=True)
    console.print(console_comparison(study))
    text = console.export_text()
    assert f"Mean corruption error (%), undefended: {100 * row['value']:.1f}" in text
    assert "JPEG" not in text


def test_the_tracker_has_the_mean_each_corruption_and_curves_over_severity(
    folder: Path, result: Result
) -> None:
    points = {(p.name, p.step): p.value for p in result_points(result)}
    errors = {of.corruption: of.error.value for of in result.corruption_errors}
    assert points["mean_corruption_error", 0] == errors[None]
    assert points["as_trained/jpeg/corruption_error", 0] == errors["jpeg"]
    curve = {step for name, step in points if name == "as_trained/jpeg_by_severity/accuracy"}
    assert curve == {0, 1, 5}
    assert ("as_trained/jpeg/accuracy_at_05", 0) in points
    assert not [name for name, _ in points if name.startswith("accuracy") and "jpeg" in name]
    assert curve_tags(result)["step.jpeg_by_severity"] == "JPEG; step: severity (0: clean)"
    said = description(result, folder, headline=None, artifacts="")
    assert ", 2 corruptions." in said
    assert "JPEG (" not in said
    params = {"corruptions": [], "evaluation.severities": [1], "attacks": ["fgsm"]}
    assert "evaluation.severities" not in used_params(params)
    assert "evaluation.severities" in used_params(params | {"corruptions": ["jpeg"]})
