from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bcadv.report.escape import markdown_text
from bcadv.report.table import console_table, markdown_head, markdown_table
from tests.outside import ACTING, NAMES

Job = tuple[Path, dict[str, Any]]


def _print(results: dict[str, Any], width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(console_table(results))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def _lines_of(results: dict[str, Any], text: str) -> None:
    """Every number of every row stands in one line of the text."""
    lines = [line.replace("|", " ").split() for line in text.splitlines()]
    for row in [*results["clean"], *results["perturbed"]]:
        if row["perturbation"] != "none" and row["eps_px"] == 0:
            continue
        accuracy, auroc = row["metrics"]["accuracy"], row["metrics"]["auroc"]
        expected = [
            f"{100 * accuracy['value']:.1f}",
            f"[{100 * accuracy['ci_low']:.1f},",
            f"{100 * accuracy['ci_high']:.1f}]",
            f"{100 * row['metrics']['sensitivity']['value']:.1f}",
            f"{100 * row['metrics']['specificity']['value']:.1f}",
            f"{auroc['value']:.3f}",
            f"{row['metrics']['ece']['value']:.3f}",
        ]
        if row["perturbation"] == "none":
            start = ["clean", "0", "0"]
        else:
            start = [row["perturbation"], f"{row['eps_px']:g}", f"{row['eps']:.5f}"]
            expected.append(f"{100 * row['metrics']['attack_success']['value']:.1f}")
        assert start + expected in lines


@pytest.mark.parametrize("width", [80, 100])
def test_console_table_shows_every_row_whole(job: Job, width: int) -> None:
    text = _print(job[1], width)
    _lines_of(job[1], text)
    assert max(map(len, text.splitlines())) <= width


def test_markdown_table_has_the_same_numbers(job: Job) -> None:
    text = markdown_table(job[1])
    _lines_of(job[1], text)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1


def test_epsilon_zero_is_not_shown_beside_clean(job: Job) -> None:
    text = markdown_table(job[1])
    assert "| clean | 0 | 0 |" in text
    assert "| fgsm | 0 |" not in text


def test_both_name_the_images_the_patients_and_the_overlap(job: Job) -> None:
    results = copy.deepcopy(job[1])
    for text in (" ".join(_print(results, 80).split()), markdown_table(results)):
        n, patients = results["clean"][0]["n"], results["clean"][0]["n_patients"]
        assert f"{n} test images, {patients} patients; synthetic, split paper" in text
        assert "positive: malignant" in text
        assert "40 of 60 test images (66.7%) come from a patient in training." in text
        assert "SYNTHETIC" in text
    results["data"]["synthetic"] = False
    assert "SYNTHETIC" not in _print(results, 80) + markdown_table(results)


def test_undefined_is_shown_with_its_reason(job: Job) -> None:
    results = copy.deepcopy(job[1])
    undefined = {"value": None, "n": 0, "ci_low": None, "ci_high": None, "ci_kind": None}
    results["clean"][0]["metrics"]["accuracy"] = undefined | {"reason": "no images [at all]"}
    assert "accuracy: no images [at all]" in " ".join(_print(results, 80).split())
    assert "| clean | 0 | 0 | – |" in markdown_table(results)


def test_another_norm_and_unknown_patients_are_named(job: Job) -> None:
    results = copy.deepcopy(job[1])
    for row in results["perturbed"]:
        row["norm"] = "2"
    results["clean"][0]["n_patients"] = None
    text = markdown_table(results)
    assert "| fgsm L2 | 1 |" in text
    assert "patients unknown" in text


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_from_outside_are_text_in_both(job: Job, name: str) -> None:
    results = copy.deepcopy(job[1])
    results["run"]["experiment"] = name
    results["data"] |= {"classes": ["benign", name]}
    printed = "".join(_print(results, 200).split())
    for text in (f"positive:{name}.", f"{name}SYNTHETIC"):
        assert "".join(text.split()) in printed
    assert markdown_text(f"positive: {name}.") in markdown_table(results)


@pytest.mark.parametrize(("name", "escaped"), ACTING.values(), ids=ACTING)
def test_what_acts_is_an_escape_in_both(job: Job, name: str, escaped: str) -> None:
    results = copy.deepcopy(job[1])
    results["run"]["experiment"] = name
    results["data"] |= {"classes": ["benign", name]}
    printed = "".join(_print(results, 200).split())
    for text in (f"positive:{escaped}.", f"{escaped}SYNTHETIC"):
        assert text in printed
    assert markdown_text(f"positive: {name}.") in markdown_table(results)


def test_the_rule_of_a_markdown_table_is_one() -> None:
    assert markdown_head(["a", "b|c"]) == [r"| a | b\|c |", "| --- | ---: |"]
