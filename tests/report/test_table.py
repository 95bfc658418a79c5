from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from bcadv.metrics.patients import RECOGNITION
from bcadv.report.table import console_table, percent_with_interval
from bcadv.results.condition import CLEAN
from bcadv.results.schema import Result
from tests.metrics.tables import fgsm, gaussian, pgd
from tests.outside import ACTING, NAMES
from tests.report.jobs_on_disk import write_job
from tests.results import made

Job = tuple[Path, Result]


def _print(result: Result, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(console_table(result))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("width", [80, 100])
def test_console_table_shows_every_row_whole(job: Job, width: int) -> None:
    result = job[1]
    text = _print(result, width)
    lines = [line.split() for line in text.splitlines()]
    for row in result.rows:
        condition = result.condition_of(row)
        if condition == fgsm(0):
            continue
        accuracy, metrics = row.metrics["accuracy"], row.metrics
        expected = [
            f"{100 * accuracy.value:.1f}",  # type: ignore[operator]
            f"[{100 * accuracy.ci_low:.1f},",  # type: ignore[operator]
            f"{100 * accuracy.ci_high:.1f}]",  # type: ignore[operator]
            f"{100 * metrics['sensitivity'].value:.1f}",  # type: ignore[operator]
            f"{100 * metrics['specificity'].value:.1f}",  # type: ignore[operator]
            f"{metrics['auroc'].value:.3f}",
            f"{metrics['ece'].value:.3f}",
        ]
        start = ["clean"]
        if not condition.clean:
            start = ["FGSM", condition.amount]
            expected.append(f"{100 * metrics['attack_success'].value:.1f}")  # type: ignore[operator]
        assert start + expected in lines
    assert max(map(len, text.splitlines())) <= width
    assert "0/255" not in text.split()  # strength 0 stands there for the checks alone


def test_it_names_the_images_the_patients_and_the_overlap(job: Job) -> None:
    result = job[1]
    text = " ".join(_print(result, 80).split())
    row = result.clean_rows()[0]
    assert f"{row.n} test images, {row.n_patients} patients; synthetic, split paper" in text
    assert "positive: malignant" in text
    assert "40 of 60 test images (66.7%) come from a patient in training." in text
    assert "SYNTHETIC" in text
    assert "SYNTHETIC" not in _print(made.result(), 80)
    assert "patients unknown" in " ".join(_print(made.result(), 80).split())


def test_the_patient_recognition_rate_is_said_clean_and_where_least_is_left(job: Job) -> None:
    result = job[1]
    text = " ".join(_print(result, 80).split())
    for variant, name in (("as_trained", "BN as trained"), ("clean", "BN on clean")):
        rows = [row for row in result.rows if row.batchnorm == variant]
        of = {row.condition: row.metrics[RECOGNITION] for row in rows}
        attacked = [name for name in of if name not in {"clean", fgsm(0).id}]
        least = min(attacked, key=lambda name: of[name].value or 0)
        assert (
            f"Patient recognition rate, {name}: clean {percent_with_interval(of['clean'])}; "
            f"{result.by_id[least].text} {percent_with_interval(of[least])}."
        ) in text


def test_without_known_patients_no_patient_recognition_rate_is_said(tmp_path: Path) -> None:
    unknown = write_job(tmp_path / "unknown", n=20, patients=0)
    old = made.result([fgsm(1)])  # as of a program that did not know it
    for result in (unknown, old):
        text = " ".join(_print(result, 80).split())
        assert "patients unknown" in text
        assert "recognition" not in text


def test_undefined_is_shown_with_its_reason() -> None:
    row = made.row(CLEAN, sensitivity=None)
    text = " ".join(_print(made.result(rows=[row]), 80).split())
    assert "sensitivity: made so" in text
    assert "clean 100.0 –" in text


def test_another_norm_is_named_in_its_own_unit() -> None:
    text = _print(made.result([fgsm(0.5, "2"), pgd(4), gaussian(0.1)]), 100)
    starts = {line[:28].strip() for line in text.splitlines()}
    assert any(re.match(r"FGM, L2 +0\.5", line) for line in starts)
    assert any(re.match(r"PGD-20 +4/255", line) for line in starts)
    assert any(re.match(r"Gaussian noise +0\.1", line) for line in starts)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_from_outside_are_text(name: str) -> None:
    printed = "".join(_print(_named(name), 200).split())
    for text in (f"positive:{name}.", f"{name}SYNTHETIC"):
        assert "".join(text.split()) in printed


@pytest.mark.parametrize(("name", "escaped"), ACTING.values(), ids=ACTING)
def test_what_acts_is_an_escape(name: str, escaped: str) -> None:
    printed = "".join(_print(_named(name), 200).split())
    for text in (f"positive:{escaped}.", f"{escaped}SYNTHETIC"):
        assert text in printed


def _named(name: str) -> Result:
    return made.result(
        run={"experiment": name}, task={"classes": ("benign", name)}, data={"synthetic": True}
    )
