"""Every finding has its sentence, and numbers are written so that they can be trusted."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bcadv.study
from bcadv.report.words import counted, p_text, percent, say, sentence, templates
from bcadv.study.found import Found
from bcadv.study.headline import conclude
from bcadv.study.jobs import find_jobs
from bcadv.study.study import build_study
from tests.report.jobs_on_disk import write_job


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
    [(0.0, "0"), (0.004, "0.4"), (0.58, "58"), (0.996, "99.6"), (1.0, "100"), (float("nan"), "–")],
)
def test_a_rounded_share_is_never_none_or_all(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(("of", "text"), [(100, "4"), (50, "4.4"), (5, "4.36")])
def test_patients_are_counted_finer_the_fewer_they_are(of: float, text: str) -> None:
    assert counted(4.36, of) == text


def test_p_is_never_nought() -> None:
    assert (p_text(0.00001), p_text(0.04999), p_text(float("nan"))) == ("< 0.001", "0.050", "–")


def test_a_value_from_outside_is_no_template() -> None:
    said = say("no_defence")
    assert say("left_out", count=1) != said
    odd = say("attack", label="{{ 7*7 }}", settings=[], how=["x"], norm="inf", amounts="1")
    assert odd.startswith("{{ 7*7 }}: ")
