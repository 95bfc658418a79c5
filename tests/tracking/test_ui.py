"""What a person sees: MLflow's pages in a real browser, over a store that jobs have filled."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from mlflow import MlflowClient
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from bcadv.results.condition import CLEAN
from bcadv.tracking import store_uri
from tests.metrics.tables import fgsm
from tests.tracking import made, stores

pytestmark = pytest.mark.long

PAGE_SECONDS = 40
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=2200,1200",
)
POINT = "as_trained/fgsm_linf/accuracy_at_08"
MAIN = "accuracy_at_08"
CURVE = "as_trained/fgsm_linf_by_1000_eps/accuracy"
SWEEP = "2026-01-31"
NAMES = tuple(f"#{number} baseline σ={number / 10:g} seed=0" for number in range(3))
# Not the order in which the jobs ran: sorting must show.
FALLS = (20, 10, 40)


@dataclass(frozen=True)
class Ui:
    """A browser before a server, and the runs that the server knows, in the order they ran.

    Attributes:
        browser: driven by the tests.
        url: of the server.
        experiment: id of the sweep's.
        runs: ids.
    """

    browser: WebDriver
    url: str
    experiment: str
    runs: tuple[str, ...]

    def open(self, path: str, **query: str) -> None:
        """Opens a page afresh; between two addresses of the same page nothing would be loaded."""
        self.browser.get("about:blank")
        self.browser.get(f"{self.url}/#/{path}?{urlencode(query, quote_via=quote)}")

    def ask(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.browser.execute_script(f"return {script}")

    def wait(self, what: Callable[[], object]) -> Any:
        """Waits for something to become true, and says what the page showed if it never did."""
        waiting = WebDriverWait(
            self.browser, PAGE_SECONDS, ignored_exceptions=(WebDriverException,)
        )
        try:
            return waiting.until(lambda _: what())
        except WebDriverException as error:
            raise AssertionError(f"not seen; the page showed: {self.text()}") from error

    def text(self) -> str:
        """All that can be read on the page."""
        return str(self.ask("document.body.innerText"))

    def see(self, *words: str) -> None:
        """Waits for words."""
        self.wait(lambda: all(word in self.text() for word in words))

    def click(self, label: str, role: str = "*", *, whole: bool = False) -> None:
        """Clicks the innermost element with exactly this text.

        Args:
            label: the text.
            role: CSS selector of the elements.
            whole: not a part of a longer text, as a search marks it in other names.
        """
        text = json.dumps(label)
        alone = f"&& (!{json.dumps(whole)} || e.parentElement.innerText.trim() === {text})"
        found = (
            f"[...document.querySelectorAll({json.dumps(role)})].filter("
            f"e => e.innerText && e.innerText.trim() === {text} {alone}).at(-1)"
        )
        self.wait(lambda: self.ask(f"!!{found}"))
        self.ask(f"{found}.click()")

    def shoot(self, path: Path) -> None:
        """Keeps a picture for whoever wants to look."""
        self.browser.save_screenshot(str(path))


def write_sweep(outputs: Path, checkpoint: Path) -> None:
    """Jobs whose accuracy falls with epsilon, each by its own slope."""
    for number, fall in enumerate(FALLS):
        folder = outputs / "sweeps" / SWEEP / str(number)
        (folder / "figures").mkdir(parents=True)
        Image.new("RGB", (48, 32), "teal").save(folder / "figures" / "curve.png")
        strengths = (0, 1, 2, 4, 8)
        rows = [made.result_row(CLEAN)]
        rows += [made.result_row(fgsm(eps), accuracy=1 - eps / fall) for eps in strengths]
        tags = {"sweep": SWEEP, "job": str(number), "data_source": "synthetic"}
        made.run_job(
            folder,
            outputs,
            checkpoint=checkpoint,
            sigma=number / 10,
            tags=tags,
            rows=rows,
        )


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Ui]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser here (Debian: chromium and chromium-driver)")
    folder = tmp_path_factory.mktemp("ui")
    write_sweep(folder / "outputs", checkpoint)
    client = MlflowClient(store_uri(folder / "outputs"))
    experiment = client.get_experiment_by_name(SWEEP)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    options = Options()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    with stores.mlflow_server(store_uri(folder / "outputs"), folder) as url:
        browser = webdriver.Chrome(options=options, service=Service(driver))
        try:
            yield Ui(browser, url, experiment.experiment_id, tuple(run.info.run_id for run in runs))
        finally:
            browser.quit()


def test_the_runs_table_shows_the_sweep_sorted_by_accuracy_at_an_epsilon(
    ui: Ui, tmp_path: Path
) -> None:
    column = MAIN
    ui.open(
        f"experiments/{ui.experiment}/runs",
        searchFilter=f"tags.sweep = '{SWEEP}'",
        orderByKey=f"metrics.`{column}`",
        orderByAsc="true",
    )
    ui.see("3 matching runs", *NAMES)
    text = ui.text()
    by_accuracy = sorted(NAMES, key=lambda name: FALLS[int(name[1])])
    assert sorted(NAMES, key=text.index) == by_accuracy
    ui.shoot(tmp_path / "runs.png")
    ui.click("Columns", "button")
    search = ui.wait(
        lambda: ui.browser.find_element(By.CSS_SELECTOR, "input[placeholder='Search columns']")
    )
    for label in (column, "sweep"):
        search.send_keys(Keys.CONTROL, "a")
        search.send_keys(label)
        ui.click(label, "[role=dialog] *", whole=True)
    search.send_keys(Keys.ESCAPE)
    ui.wait(lambda: {column, "sweep"} <= set(ui.ask(texts("columnheader"))))
    cells = ui.ask(texts("gridcell"))
    ui.shoot(tmp_path / "columns.png")
    assert cells.count(SWEEP) == len(FALLS)
    shown = [float(cell) for cell in cells if re.fullmatch(r"0\.\d+", cell)]
    assert shown == pytest.approx(sorted(1 - 8 / fall for fall in FALLS), abs=1e-3)


def texts(role: str) -> str:
    """JavaScript for what stands in the elements of a role."""
    return f"[...document.querySelectorAll('[role={role}]')].map(e => e.innerText.trim())"


def test_curves_of_several_runs_lie_over_each_other(ui: Ui, tmp_path: Path) -> None:
    ui.open(f"experiments/{ui.experiment}/runs", compareRunsMode="CHART")
    # Drawn lines with a point per epsilon; each has a second trace, for what lies below it.
    drawn = (
        "[...document.querySelectorAll('.js-plotly-plot')].map(p => [...p.querySelectorAll("
        "'.scatterlayer .trace')].map(t => t.querySelectorAll('.points path').length))"
    )
    # Charts below the window are not drawn before they are scrolled to.
    section = json.dumps(CURVE.rpartition("/")[0])
    heading = f"[...document.querySelectorAll('*')].filter(e => e.innerText === {section}).at(-1)"
    ui.wait(lambda: ui.ask(f"!!{heading}"))

    def curves() -> bool:
        ui.ask(f"{heading}.scrollIntoView()")
        return any(plot.count(5) == 3 for plot in ui.ask(drawn))

    ui.wait(curves)
    ui.see("Step", *(f"{name} ({CURVE})" for name in NAMES))
    ui.shoot(tmp_path / "curves.png")


def test_two_runs_compare(ui: Ui, tmp_path: Path) -> None:
    ui.open(
        "compare-runs",
        runs=json.dumps(ui.runs[:2]),
        experiments=json.dumps([ui.experiment]),
    )
    ui.see("Comparing 2 Runs from 1 Experiment", *NAMES[:2], "sigma", POINT)
    ui.shoot(tmp_path / "comparison.png")


def test_artifacts_open(ui: Ui, tmp_path: Path) -> None:
    ui.open(f"experiments/{ui.experiment}/runs/{ui.runs[0]}/artifacts")
    ui.see("results.json", "predictions.parquet", "split.csv", "report.html", "model", ".hydra")
    ui.click("results.json")
    ui.see('"schema_version"')
    ui.shoot(tmp_path / "results.png")
    ui.click("figures")
    ui.click("curve.png")
    ui.wait(lambda: ui.ask("[...document.images].some(i => i.naturalWidth === 48)"))
    ui.shoot(tmp_path / "figure.png")
    ui.click("model")
    ui.see("pyfunc")
    ui.shoot(tmp_path / "model.png")
