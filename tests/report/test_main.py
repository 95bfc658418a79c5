from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from subprocess import run
from typing import Any
from xml.sax.saxutils import escape

import pandas as pd
import pytest

from bcadv.report.__main__ import main
from bcadv.text import shown
from tests.metrics.tables import fgsm
from tests.report.studies import write_run


@pytest.fixture(scope="module")
def two_jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("two") / "outputs"
    write_run(outputs / "baseline" / "1", pictures=False)
    defended: dict[str, Any] = {"sigma": 0.1, "variants": ["as_trained", "clean"]}
    write_run(outputs / "defense" / "1", **defended, pictures=False)
    return outputs


@pytest.fixture
def work(two_jobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two experiments below ``outputs``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    shutil.copytree(two_jobs, tmp_path / "outputs")
    return tmp_path


def _accuracy(folder: Path, eps_px: float) -> str:
    table = pd.read_parquet(folder / "predictions.parquet")
    table = table[table["batchnorm"] == "as_trained"]
    table = table[table["condition"] == fgsm(eps_px).id]
    return f"{100 * (table['prediction'] == table['target']).mean():.1f} ["


def test_without_arguments_the_newest_jobs_are_compared(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    report = work / "outputs" / "report"
    names = {path.name for path in report.iterdir()}
    assert names == {"report.html", "report.md", "summary.json", "tables", "figures"}
    printed = capsys.readouterr().out
    assert str(report / "report.html") in printed.replace("\n", "")
    assert "undefended" in printed
    assert "SYNTHETIC" in printed
    for job in ("baseline", "defense"):
        for eps_px in (0.25, 1, 4):
            assert _accuracy(work / "outputs" / job / "1", eps_px) in printed


def test_jobs_on_other_data_are_not_compared_but_named_with_a_command(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = work / "outputs" / "a b" / "1"
    write_run(place, synthetic=False, finished="2020-01-01", pictures=False)
    assert main([]) == 0
    first = (work / "outputs" / "report" / "report.md").read_text(encoding="utf-8")
    [line] = [x for x in capsys.readouterr().out.splitlines() if x.startswith("Left out: ")]
    python, m, module, *arguments = shlex.split(line[line.index("python -m") :])
    assert [python, m, module] == ["python", "-m", "bcadv.report"]
    assert main(arguments) == 0
    second = (work / "outputs" / "report" / "report.md").read_text(encoding="utf-8")
    assert "SYNTHETIC" in first
    assert "PARTLY SYNTHETIC" not in first
    assert "SYNTHETIC" not in second


def test_the_command_on_the_page_makes_the_page_again(work: Path) -> None:
    assert main(["prevalence=0.25", "out=here"]) == 0
    page = work / "here" / "report.html"
    first = page.read_text(encoding="utf-8")
    found = re.search(r"<pre><code>(.*)</code></pre>", first)
    assert found
    python, m, module, *arguments = shlex.split(found[1])
    assert [python, m, module] == ["python", "-m", "bcadv.report"]
    assert {"out=here", "prevalence=0.25"} < set(arguments)
    page.unlink()
    # Later jobs must not change what it makes.
    write_run(work / "outputs" / "defense" / "2", sigma=0.3, finished="2030-01-01T00:00:00+00:00")
    assert main(arguments) == 0
    assert page.read_text(encoding="utf-8") == first


def test_named_folders_are_compared_and_bad_files_left_out(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "outputs" / "defense" / "1" / "results.json").write_text("{", encoding="utf-8")
    assert main(["runs=outputs/baseline", "runs=outputs/defense"]) == 0
    assert "Left out: outputs/defense/1/results.json" in capsys.readouterr().out
    text = (work / "outputs" / "report" / "report.md").read_text(encoding="utf-8")
    assert "outputs/defense/1/results.json" in text.split("Left out:")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "x"], "write runs="),
        (["run=x"], "did you mean runs=x?"),
        (["runs="], "runs= cannot be used"),
        (["runs=nowhere"], "runs=nowhere cannot be used: there is no such folder"),
        (["runs=empty"], "No finished job in or below empty"),
        (["prevalence=0"], "prevalence=0 cannot be used"),
        (["prevalence=1"], "prevalence=1 cannot be used"),
        (["prevalence=nan"], "prevalence=nan cannot be used"),
        (["prevalence=many"], "prevalence=many cannot be used"),
        (["out=file"], "file is no folder"),
        (["out=file/below"], "cannot be written to file/below"),
    ],
)
def test_mistakes_end_with_status_2_in_one_sentence(
    work: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (work / "empty").mkdir()
    (work / "file").touch()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("name", ["odd[/x].d", "肺炎", "a b'c", "a\x1b[31mb"])
def test_folders_of_any_name_are_printed_as_they_are(
    work: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(work / "outputs" / "baseline" / "1", work / name)
    (work / name / "damaged").mkdir()
    (work / name / "history.csv").write_bytes(b"\xff")
    shutil.copytree(work / name, work / "runs" / name)
    (work / "runs" / name / "results.json").write_text("{", encoding="utf-8")
    out = work / f"out {name}"
    assert main([f"runs={work / name}", f"runs={work / 'runs'}", f"out={out}"]) == 0
    printed = capsys.readouterr().out
    assert f"Report: {shown(str(out / 'report.html'))}\n" in printed
    assert f"Left out: {shown(str(work / 'runs' / name))}" in printed
    page = (out / "report.html").read_text(encoding="utf-8")
    assert escape(shown(str(work / name / "history.csv"))).replace("'", "&#39;") in page


def test_bytes_that_are_not_utf_8_are_written_to_and_named(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = work / "caf\udce9"
    try:
        out.mkdir()
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    assert main([f"out={out}"]) == 0
    assert r"caf\udce9/report.html" in capsys.readouterr().out
    assert r"caf\udce9" in (out / "report.html").read_text(encoding="utf-8")
    shutil.move(work / "outputs" / "baseline" / "1", out / "job")
    assert main([f"runs={out}"]) == 2
    assert r"caf\udce9/job/predictions.parquet cannot be read" in capsys.readouterr().err


def test_a_figure_that_cannot_be_drawn_is_a_warning(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("odd [font]")

    monkeypatch.setattr("bcadv.report.sections.training.epochs", fail)
    assert main([]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(
        r"WARNING: This figure could not be drawn: fig5_epochs_\w+ \(RuntimeError: odd \[font\]\)",
        said,
    )
    assert (work / "outputs" / "report" / "report.html").is_file()


def test_nothing_heavy_is_loaded(work: Path) -> None:
    code = (
        "import sys, bcadv.report.figures, bcadv.metrics.robustness;"
        "from bcadv.report.__main__ import main; assert main([]) == 0;"
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('torch', 'lightning', 'pytorch_lightning', 'mlflow', 'hydra', 'omegaconf') "
        "or m == 'matplotlib.pyplot'])"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=work)
    assert done.stdout.splitlines()[-1] == "[]"
