from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.stats import binomtest

from bcadv.report.__main__ import main
from bcadv.report.compare import columns, conditions, p_values
from bcadv.report.jobs import load_job
from tests.report.jobs_on_disk import write_job


@pytest.fixture(scope="module")
def three_jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("three") / "outputs"
    write_job(outputs / "b", experiment="baseline", synthetic=False)
    write_job(outputs / "d", experiment="defense", synthetic=False, seed=5, patients=20)
    write_job(outputs / "a", experiment="another", synthetic=False, n=30)
    return outputs


@pytest.fixture
def work(three_jobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three experiments below ``outputs``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    shutil.copytree(three_jobs, tmp_path / "outputs")
    return tmp_path


def _right(folder: Path, eps_px: float) -> pd.Series:
    table = pd.read_parquet(folder / "predictions.parquet")
    table = table[(table["perturbation"] == "fgsm") & (table["eps_px"] == eps_px)]
    table = table.set_index("image_id").sort_index()
    return table["prediction"] == table["target"]


def _same_targets(folder: Path, other: Path) -> None:
    """Gives the images of one job the classes they have in the other."""
    path = folder / "predictions.parquet"
    table, source = pd.read_parquet(path), pd.read_parquet(other / "predictions.parquet")
    table["target"] = source["target"]
    table.sample(frac=1, random_state=0).to_parquet(path)


def test_report_compares_the_newest_jobs_with_the_baseline(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _same_targets(work / "outputs" / "d", work / "outputs" / "b")
    assert main([]) == 0
    text = (work / "outputs" / "report" / "report.md").read_text(encoding="utf-8")
    assert "| image | baseline | another | p | defense | p |" in text
    assert "another is not tested against baseline: the test images differ." in text
    a, b = _right(work / "outputs" / "b", 4), _right(work / "outputs" / "d", 4)
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    p = binomtest(only_a, only_a + only_b).pvalue
    line = next(line for line in text.splitlines() if line.startswith("| fgsm 4/255"))
    assert line.endswith(f"| {p:.3f} |")
    assert f"| {100 * a.mean():.1f} [" in line
    for ending in ("png", "svg"):
        assert (work / "outputs" / "report" / f"comparison.{ending}").is_file()
    assert "](comparison.png)" in text
    printed = capsys.readouterr().out
    assert "report.md" in printed
    assert f"{100 * a.mean():.1f} [" in printed
    assert "SYNTHETIC" not in text + printed


def test_named_folders_are_compared_and_bad_files_left_out(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "outputs" / "a" / "results.json").write_text("{", encoding="utf-8")
    assert main([f"runs={work}/outputs/a", f"runs={work}/outputs/d"]) == 0
    text = (work / "outputs" / "report" / "report.md").read_text(encoding="utf-8")
    assert "| image | defense |" in text
    assert "# Left out" in text
    assert "Left out:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "x"], "Unknown argument '--runs'"),
        (["runs=nowhere"], "There is no folder nowhere"),
        (["runs=empty"], "No finished job in or below empty"),
    ],
)
def test_mistakes_end_with_status_2(
    work: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (work / "empty").mkdir()
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_synthetic_job_marks_the_whole_report(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_job(work / "outputs" / "s", experiment="made-up")
    assert main([]) == 0
    text = (work / "outputs" / "report" / "report.md").read_text(encoding="utf-8")
    assert "SYNTHETIC" in text.split("## Accuracy")[0]
    assert "SYNTHETIC" in capsys.readouterr().out


def test_same_images_of_other_classes_are_not_paired(work: Path) -> None:
    jobs = [load_job(work / "outputs" / name) for name in "bd"]
    tested, untested = p_values(columns(jobs))
    assert not tested
    assert untested == ["defense is not tested against baseline: the test images differ."]


def test_missing_predictions_cost_the_test_alone(work: Path) -> None:
    (work / "outputs" / "d" / "predictions.parquet").unlink()
    compared = columns([load_job(work / "outputs" / name) for name in "bd"])
    tested, untested = p_values(compared)
    assert not tested
    assert "predictions.parquet" in untested[0]
    assert conditions(compared) == [("clean", 0), ("fgsm", 0.25), ("fgsm", 1), ("fgsm", 4)]


def test_variants_and_namesakes_get_columns_of_their_own(tmp_path: Path) -> None:
    options: dict[str, Any] = {"n": 20, "experiment": "same"}
    write_job(tmp_path / "one", variants=("as_trained", "noisy"), **options)
    write_job(tmp_path / "two", **options)
    names = [column.name for column in columns([load_job(tmp_path / n) for n in ("one", "two")])]
    assert names == ["same (one), BN as trained", "same (one), BN on noisy", "same (two)"]
