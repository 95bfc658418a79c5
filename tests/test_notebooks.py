"""The notebooks: stored clean, and run on what small jobs left behind."""

from __future__ import annotations

import json
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bcadv.job import Outcome, run
from bcadv.report.escape import markdown_text
from bcadv.report.options import PREVALENCE
from bcadv.report.page import write_report
from bcadv.results.files import SUMMARY
from bcadv.results.schema import Result, read_result
from bcadv.study.jobs import load_job
from tests.jobs import tiny_config, undrawn

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NAMES = ("explore_run", "compare_sweep")
FIGURES = {
    "explore_run": {"training", "curves", "fall-matrix", "example-images", "noise-images"},
    "compare_sweep": {"curves-of-arms", "heat-maps"},
}
TABLES = {
    "explore_run": {
        "what-was-run",
        "split-and-leakage",
        "falls-by-class",
        "first-to-fall",
        "confusion-at",
    },
    "compare_sweep": {
        "what-was-run",
        "the-arms",
        "measures-of-arms",
        "differences",
        "mcnemar-test",
        "spread-of-seeds",
    },
}
LIGHT = "import sys\nassert not {'torch', 'pytorch_lightning', 'mlflow'} & set(sys.modules)"
DAMAGED = "3"
BATCHNORM = ("BN as trained", "BN on clean")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_without_traces_of_a_run(name: str) -> None:
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    # The tag is what tools that fill in parameters look for; nothing else is needed.
    assert [cell["metadata"] for cell in code] == [{"tags": ["parameters"]}] + [{}] * (
        len(code) - 1
    )
    assert (
        re.findall(r"(?<![\w.}])/(?:home|Users|root|tmp|mnt|opt|usr|var|work)\b|\b[A-Z]:\\", text)
        == []
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_piece_of_code_is_introduced(name: str) -> None:
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    kinds = "".join("c" if cell["cell_type"] == "code" else "m" for cell in cells)
    assert kinds.startswith("m")
    assert "cccc" not in kinds


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``notebooks`` and ``outputs``: a sweep whose last job has a damaged result."""
    pytest.importorskip(
        "nbclient", reason="the notebooks are run by nbclient: pip install nbclient"
    )
    pytest.importorskip("ipykernel", reason="the notebooks run in ipykernel: pip install ipykernel")
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(FOLDER, place / "notebooks", ignore=shutil.ignore_patterns(".*"))
    for number, (sigma, seed) in enumerate([(0, 0), (0, 1), (0.1, 0)]):
        job(place / "outputs", number, f"sigma={sigma}", f"seed={seed}")
    shutil.copytree(sweep_of(place) / "2", sweep_of(place) / DAMAGED)
    results = sweep_of(place) / DAMAGED / "results.json"
    results.write_text(results.read_text()[:100])
    return place


def sweep_of(place: Path) -> Path:
    return place / "outputs" / "sweeps" / "one"


def job(outputs: Path, number: int, *overrides: str) -> Outcome:
    config = tiny_config(outputs, "+experiment=defense", "tracking.enabled=false", *overrides)
    with undrawn():
        return run(config, outputs / "sweeps" / "one" / str(number))


def forget_the_person(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Neither kernels nor start-up files nor results of the person who runs the tests."""
    patch.setenv("JUPYTER_DATA_DIR", str(folder / "jupyter"))
    patch.setenv("IPYTHONDIR", str(folder / "ipython"))
    patch.delenv("BCADV_RUNS", raising=False)


@pytest.fixture
def anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_the_person(tmp_path, monkeypatch)


def execute(
    place: Path, name: str, *, runs: Path | None = None, until: str | None = None
) -> dict[str, list[Any]]:
    """Runs a notebook in the folder where a person would.

    Args:
        place: holds ``notebooks``.
        name: of the notebook.
        runs: put into the cell of parameters.
        until: the last cell to run.

    Returns:
        Cell id -> outputs.
    """
    nbformat: Any = pytest.importorskip("nbformat")
    nbclient: Any = pytest.importorskip("nbclient")
    notebook = nbformat.read(place / "notebooks" / f"{name}.ipynb", as_version=4)
    ids = [cell.id for cell in notebook.cells]
    if runs is not None:
        notebook.cells[ids.index("parameters")].source = f"runs = {str(runs)!r}"
    if until is not None:
        notebook.cells = notebook.cells[: ids.index(until) + 1]
    notebook.cells.append(nbformat.v4.new_code_cell(LIGHT))
    resources = {"metadata": {"path": str(place / "notebooks")}}
    nbclient.NotebookClient(
        notebook, timeout=120, startup_timeout=120, kernel_name="python3", resources=resources
    ).execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def of_kind(outputs: dict[str, list[Any]], kind: str) -> dict[str, list[str]]:
    """Cell id -> what it shows in this format."""
    found = {
        name: [output.data[kind] for output in shown if kind in output.get("data", {})]
        for name, shown in outputs.items()
    }
    return {name: shown for name, shown in found.items() if shown}


def numbers_in(table: str) -> list[str]:
    return [cell.strip() for cell in re.findall(r"<td[^>]*>([^<]*)</td>", table)]


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def executed(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both notebooks, run once from first to last cell on the newest results."""
    with pytest.MonkeyPatch.context() as patch:
        forget_the_person(tmp_path_factory.mktemp("person"), patch)
        before = state(place / "outputs")
        outputs = {name: execute(place, name) for name in NAMES}
        assert state(place / "outputs") == before, "a notebook wrote to the outputs"
    return outputs


def results_of(place: Path, number: int) -> Result:
    return read_result(sweep_of(place) / str(number))[0]


@pytest.mark.long
def test_the_newest_of_jobs_that_end_in_one_second_is_known(place: Path) -> None:
    for number in range(3):
        finished = results_of(place, number).run.finished
        assert datetime.fromisoformat(finished).isoformat(timespec="milliseconds") == finished


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_figures_and_tables_come_out(name: str, executed: dict[str, Any]) -> None:
    assert FIGURES[name] <= of_kind(executed[name], "image/png").keys()
    tables = of_kind(executed[name], "text/html")
    assert TABLES[name] <= tables.keys()
    assert all("SYNTHETIC TISSUE" in table for shown in tables.values() for table in shown)
    assert "# ⚠ SYNTHETIC TISSUE" in "\n".join(of_kind(executed[name], "text/markdown")["load"])


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_result_is_named_and_left_out(
    name: str, executed: dict[str, Any], place: Path
) -> None:
    shown = of_kind(executed[name], "text/markdown")
    said = "\n".join(shown["load"])
    lines = "\n".join(shown["the-answer"]).splitlines()
    (sentence,) = [line for line in lines if line.startswith("- Left out")]
    assert str(Path("sweeps", "one", DAMAGED, "results.json")) in sentence
    assert ("## 3 jobs" if name == "compare_sweep" else "## 2\n") in f"{said}\n"


@pytest.mark.long
def test_exploring_gives_the_answer_of_the_page(
    executed: dict[str, Any], place: Path, tmp_path: Path
) -> None:
    """It opens the newest job that can be read."""
    job = load_job(sweep_of(place) / "2")
    write_report([job], [], tmp_path, prevalence=PREVALENCE, command="x", tables=False)
    page = json.loads((tmp_path / SUMMARY).read_text(encoding="utf-8"))
    headline, said = of_kind(executed["explore_run"], "text/markdown")["the-answer"]
    assert headline == f"**{markdown_text(page['headline'])}**"
    findings = [f"{found['outcome']}: {found['sentence']}" for found in page["findings"]]
    assert len(findings) > 2
    assert {f"- {markdown_text(finding)}" for finding in findings} <= {*said.splitlines()}


@pytest.mark.long
def test_comparing_judges_every_defended_model(executed: dict[str, Any]) -> None:
    """Beside an undefended model of the same seed a verdict is possible."""
    headline, said = of_kind(executed["compare_sweep"], "text/markdown")["the-answer"]
    assert "2 defended models" in headline
    verdicts = [line for line in said.splitlines() if ". Defence " in line]
    assert [name in verdict for name, verdict in zip(BATCHNORM, verdicts, strict=True)] == [
        True
    ] * 2
    assert "no undefended model" not in said


@pytest.mark.long
def test_exploring_shows_the_numbers_of_the_job(executed: dict[str, Any], place: Path) -> None:
    """The newest job that can be read is number 2."""
    results = results_of(place, 2)
    tables = of_kind(executed["explore_run"], "text/html")
    clean = results.clean_rows()[0].metrics["accuracy"]
    (falls,) = tables["falls-by-class"]
    assert sum(int(number) for number in numbers_in(falls)) == clean.k
    (confusion,) = tables["confusion-at"]
    assert sum(int(number) for number in numbers_in(confusion)) == 2 * clean.n
    (split,) = tables["split-and-leakage"]
    of_class = [str(results.data.counts[p]["benign"]) for p in ("train", "val", "test")]
    assert numbers_in(split)[:3] == of_class
    said = of_kind(executed["explore_run"], "text/markdown")
    assert results.data.overlap["sentence"] in said["split-and-leakage"][0]


@pytest.mark.long
def test_comparing_shows_the_numbers_of_the_jobs(executed: dict[str, Any], place: Path) -> None:
    (table,) = of_kind(executed["compare_sweep"], "text/html")["spread-of-seeds"]
    undefended = [results_of(place, number).clean_rows()[0] for number in (0, 1)]
    assert [row.batchnorm for row in undefended] == ["as_trained"] * 2
    values = [100 * (row.metrics["accuracy"].value or 0) for row in undefended]
    shown = [*values, abs(values[0] - values[1])]
    assert numbers_in(table)[:3] == [f"{value:.1f}" for value in shown]


@pytest.mark.long
@pytest.mark.usefixtures("anybody")
@pytest.mark.parametrize(
    ("name", "parameter", "variable"),
    # The parameter counts before the environment variable.
    [("explore_run", "elsewhere", "outputs"), ("compare_sweep", None, "elsewhere")],
)
def test_a_missing_folder_is_answered_in_a_sentence(
    name: str, parameter: str | None, variable: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: Any = pytest.importorskip("nbclient.exceptions")
    monkeypatch.setenv("BCADV_RUNS", str(place / variable))
    with pytest.raises(errors.CellExecutionError) as caught:
        execute(place, name, runs=place / parameter if parameter else None, until="load")
    assert caught.value.ename == "BcadvError"
    assert caught.value.evalue.startswith(f"There is no folder {place / 'elsewhere'}; set runs to")
