"""Every finding has its sentence, and numbers are written so that they can be trusted."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import bcadv.study
from bcadv.report.page import write_report
from bcadv.report.sections.data import _audits
from bcadv.report.words import counted, p_text, percent, say, sentence, strengths, templates
from bcadv.results.schema import Defence
from bcadv.study.found import Found
from bcadv.study.headline import conclude
from bcadv.study.jobs import find_jobs
from bcadv.study.numbers import Number
from bcadv.study.study import build_study
from tests.metrics.tables import fgsm, pgd
from tests.report.jobs_on_disk import answers, write_job


def _kinds() -> set[str]:
    """The ids of all findings, from the code that makes them."""
    found: set[str] = set()
    for file in Path(bcadv.study.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"Found", "remark"}:
                first = node.args[0]
                found |= {str(first.value)} if isinstance(first, ast.Constant) else set()
    return found


def test_every_kind_of_finding_has_a_sentence() -> None:
    kinds = _kinds() | {"no_better_than_one_class", "one_sided"}
    assert len(kinds) > 15
    module = templates().get_template("sentences.j2").module
    assert [kind for kind in kinds if not hasattr(module, kind)] == []


def test_a_fact_that_is_missing_is_a_mistake_and_no_gap() -> None:
    with pytest.raises(Exception, match=r"undefined|has no attribute"):
        sentence(Found("seeds", "unknown", 1, "method", {}))


def test_findings_of_a_whole_study_are_sentences(tmp_path: Path) -> None:
    for name, sigma in (("a", None), ("b", 0.1)):
        write_job(tmp_path / name, sigma=sigma, variants=("as_trained", "clean"))
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    said = [sentence(f) for f in found.findings]
    assert len(said) > 5
    for text in said:
        assert text.endswith(".")
        assert text[0].isupper() or text[0] in "“0123456789"
        assert "  " not in text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0"),
        (0.0004, "0.1"),
        (0.004, "0.4"),
        (0.58, "58"),
        (0.996, "99.6"),
        (0.9996, "99.9"),
        (1.0, "100"),
        (float("nan"), "–"),
    ],
)
def test_a_rounded_share_is_never_none_or_all(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("number", "of", "text"),
    [
        (4.36, 100, "4"),
        (4.36, 50, "4.4"),
        (4.36, 5, "4.36"),
        (0.3, 100, "0.3"),  # some, and not none
        (0.002, 5, "0.002"),
        (100 * (1 - 0.9999999999999999), 100, "0"),
    ],
)
def test_patients_are_counted_finer_the_fewer_they_are(number: float, of: float, text: str) -> None:
    assert counted(number, of) == text


def test_p_is_never_nought() -> None:
    assert (p_text(0.00001), p_text(0.04999), p_text(float("nan"))) == ("< 0.001", "0.050", "–")


def test_a_value_from_outside_is_no_template() -> None:
    said = say("no_defence")
    assert say("left_out", count=1) != said
    odd = say(
        "attack",
        label="{{ 7*7 }}",
        settings=[],
        how=["x"],
        norm="inf",
        noise=False,
        symbol="ε",
        amounts="1",
    )
    assert odd.startswith("{{ 7*7 }}: ")


def _number(value: float) -> Number:
    return Number(value, value - 0.05, value + 0.05, None, 100, None)


def test_a_fall_names_every_attack_that_it_speaks_of() -> None:
    facts = {"clean": _number(0.9), "strongest": [fgsm(4)], "first": (fgsm(1), _number(0.5))}
    for lowest, said in (
        (fgsm(1), "falls from 90 % to 50 % right at ε=1/255 (FGSM)"),
        (fgsm(4), "falls from 90 % to 50 % right at ε=1/255 (FGSM), to 20 % at ε=4/255"),
        (pgd(4), "falls from 90 % to 50 % right at ε=1/255 (FGSM), to 20 % at ε=4/255 (PGD-20)"),
    ):
        assert say("fall", facts, lowest=(lowest, _number(0.2))) == said


def test_strengths_of_two_norms_stand_apart() -> None:
    conditions = [pgd(1), fgsm(2), fgsm(0.5, "2")]
    assert strengths(conditions) == "ε=1 and 2/255; ε=0.5 (L2)"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"outcome": "failed", "low": 0.2, "high": 0.2}, "20 % of the test images are of"),
        ({"outcome": "failed", "low": 0.0, "high": 0.2}, "20 % of the test images (in some jobs)"),
        (
            {"outcome": "failed", "low": 0.2, "high": 0.2, "known": 1},
            "20 % of the test images (in some jobs)",
        ),
        ({"outcome": "failed", "low": 0.0, "high": 0.0}, "Images, or copies of them, are in"),
        ({"outcome": "unknown", "known": 0}, "in training is unknown."),
        ({"outcome": "unknown", "known": 1}, "in training is unknown for some jobs."),
        ({"outcome": "unknown", "at_least": True}, "in training is unknown for some images."),
        ({"outcome": "ok"}, "No test patient is in training."),
    ],
)
def test_leakage_is_said_of_the_jobs_it_is_known_of(facts: dict[str, Any], said: str) -> None:
    usual = {"low": None, "high": None, "known": 2, "jobs": 2, "at_least": False}
    assert said in say("leakage", {**usual, **facts})


def test_intervals_are_said_to_be_drawn_as_they_are() -> None:
    said = {
        (seeds, bands, bars): say("curve", seeds=seeds, bands=bands, bars=bars)
        for seeds in (1, 3)
        for bands, bars in ((True, False), (False, True), (True, True))
    }
    assert said[1, True, False] == "Each line is of one training; bands are 95 % intervals."
    assert "thin lines" not in said[3, False, True]
    assert said[3, False, True].endswith("; upright bars are 95 % intervals.")
    assert "thin lines single seeds (not beside upright bars); bands or" in said[3, True, True]


STUDIES: dict[str, list[dict[str, Any]]] = {
    "one job": [{}],
    "nothing attacked": [{"eps_px": (0,)}],
    "no patients": [{"patients": 0}, {"patients": 0, "sigma": 0.1}],
    "three seeds": [{"run_seed": n, "sigma": s} for n in range(3) for s in (None, 0.1)],
    "an image of each class": [
        {"frame": answers({("as_trained", 0.0): [True] * 2, ("as_trained", 4.0): [False] * 2}, t)}
        for t in ([0, 1],)
    ],
    "one class": [{"frame": answers({("as_trained", 0.0): [True, False, True]}, [0, 0, 0])}],
    "at chance": [
        {
            "sigma": sigma,
            "frame": answers(
                {(v, e): [i % 2 == 1 for i in range(40)] for v in ("as_trained",) for e in (0, 4)},
                [i // 2 % 2 for i in range(40)],
            ),
        }
        for sigma in (None, 0.1)
    ],
    "another defence": [
        {},
        {"defence": Defence(kind="objective", settings={"objective": "t"}, label="TRADES β=6")},
    ],
    "defended alone": [{"sigma": 0.1, "variants": ("as_trained", "clean")}],
}


@pytest.mark.parametrize("jobs", STUDIES.values(), ids=STUDIES)
def test_nothing_undefined_is_said_at_the_edges(tmp_path: Path, jobs: list[dict[str, Any]]) -> None:
    for number, options in enumerate(jobs):
        write_job(tmp_path / str(number), **options)
    found, left_out = find_jobs([tmp_path])
    made = write_report(found, left_out, tmp_path / "out", prevalence=0.1, command="x")
    assert made.failures == ()
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert text.count("## ") >= 8
    said = [line for line in text.splitlines() if not line.startswith(("|", "!"))]
    strange = re.compile(
        r"\b(nan|None|inf)\b|[{}]|\( | [,;]|\b1 (?:\w+ )?(?:image|patient|strength)s"
    )
    assert [line for line in said if strange.search(line)] == []
    drawn = list((tmp_path / "out" / "figures").glob("robustness_accuracy*"))
    assert ("are 95 % intervals" in text) == bool(drawn)


def test_audits_that_differ_say_what_they_are_of(tmp_path: Path) -> None:
    for seed, said in enumerate(("It leaks.", "It leaks.", "It does not.")):
        write_job(tmp_path / str(seed), n=20, run_seed=seed, data={"overlap": {"sentence": said}})
    jobs, _ = find_jobs([tmp_path])
    assert _audits(jobs[:2]) == ["It leaks."]
    assert _audits(jobs) == [
        "synthetic, split paper, seed 0 and 1: It leaks.",
        "synthetic, split paper, seed 2: It does not.",
    ]


def test_folds_are_named() -> None:
    assert "on folds 1 and 3 only: no model was asked about the patients of fold 2." in say(
        "folds_missing", {"of": "x", "folds": [1, 3], "absent": [2]}
    )
    usual = {"images": 9, "patients": 3, "unknown": 0, "very": True}
    assert "+sweep=folds" in say("small_test_set", {**usual, "folds": False})
    assert "+sweep=folds" not in say("small_test_set", {**usual, "folds": True})
