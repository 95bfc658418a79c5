"""Which failed check makes which number suspect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bcadv.results.checks import APART, NAMES
from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Finding, Outcome
from bcadv.study.facts import Facts
from bcadv.study.headline import conclude
from bcadv.study.jobs import find_jobs
from bcadv.study.marks import of_result, suspect
from bcadv.study.study import Study, build_study
from tests.metrics.tables import failed, fgsm, gaussian, pgd
from tests.report.jobs_on_disk import write_job
from tests.results import made

SQUARE = Condition(
    kind="attack",
    name="square",
    norm="inf",
    strength=4,
    unit="grey level",
    goal="untargeted",
    label="Square-100",
    access="black box, scores",
    how="black box, scores, random search over squares",
)
BLUR = Condition(kind="corruption", name="blur", strength=3, unit="severity", label="blur")
ATTACKS = (fgsm(1), pgd(1), pgd(4), pgd(0.5, "2"), SQUARE)
EVERYTHING = (CLEAN, *ATTACKS, gaussian(0.1), BLUR)


def tainted(
    *findings: Finding, right: Mapping[Condition, float] | None = None
) -> dict[Condition, tuple[str, ...]]:
    return suspect(findings, dict.fromkeys(EVERYTHING, 0.5) | dict(right or {}))


@pytest.mark.parametrize(
    ("finding", "numbers"),
    [
        # Answers that do not repeat concern whatever was answered, clean images too.
        (failed("repeatable"), EVERYTHING),
        (failed("same_answers"), EVERYTHING),
        # Of the whole model: whatever attacks it.
        (failed("logits", pgd(1)), ATTACKS),
        # Of the gradient: in every norm, but not what asks for answers alone.
        (failed("zero_gradient", pgd(1)), (fgsm(1), pgd(1), pgd(4), pgd(0.5, "2"))),
        # Of one norm, whichever strength was asked at.
        (failed("converged", pgd(1)), (fgsm(1), pgd(1), pgd(4))),
        (failed("noise", pgd(0.5, "2")), (pgd(0.5, "2"),)),
        # Of one attack: what it names.
        (failed("monotone", pgd(4)), (pgd(4),)),
        (failed("moved", SQUARE), (SQUARE,)),
        # No gradient at all, so no attack to name: those that are left show little.
        (failed("gradient"), ATTACKS),
        # What nobody here knows.
        (failed("brand_new", gaussian(0.1), pgd(4)), (pgd(4), gaussian(0.1))),
        (failed("brand_new"), ATTACKS),
        # What says nothing of the attacks, or stands above the page.
        *[(failed(name), ()) for name in (*APART, "leakage")],
    ],
)
def test_a_check_taints_what_it_concerns(finding: Finding, numbers: Sequence[Condition]) -> None:
    assert tainted(finding) == dict.fromkeys(numbers, (finding.id,))


@pytest.mark.parametrize("outcome", ["ok", "unknown"])
def test_only_a_failed_check_does(outcome: Outcome) -> None:
    finding = failed("repeatable").model_copy(update={"outcome": outcome})
    assert tainted(finding) == {}


def test_where_nothing_is_right_no_attack_can_be_too_weak() -> None:
    none = {pgd(4): 0.0}
    assert set(tainted(failed("converged", pgd(1)), right=none)) == {fgsm(1), pgd(1)}
    assert pgd(4) in tainted(failed("repeatable"), right=none)


def test_several_checks_are_one_entry_in_one_order() -> None:
    found = tainted(failed("noise", pgd(1)), failed("gradient", pgd(1)), failed("noise", pgd(1)))
    assert found[pgd(1)] == ("gradient", "noise")
    assert list(NAMES).index("gradient") < list(NAMES).index("noise")


def test_a_job_is_marked_by_its_batchnorm_statistics() -> None:
    result = made.result(
        [pgd(1)],
        batchnorm=["as_trained", "clean"],
        findings=[failed("repeatable", batchnorm="clean"), failed("moved", pgd(1), batchnorm=None)],
    )
    assert of_result(result, "as_trained") == {pgd(1): ("moved",)}
    assert of_result(result, "clean") == {CLEAN: ("repeatable",), pgd(1): ("repeatable", "moved")}


def study(folder: Path) -> Study:
    write_job(folder / "u", synthetic=False, findings=[failed("repeatable")])
    write_job(
        folder / "t",
        sigma=0.1,
        synthetic=False,
        variants=["as_trained", "clean"],
        findings=[failed("converged", fgsm(1)), failed("moved", fgsm(4), batchnorm="clean")],
    )
    write_job(folder / "s", sigma=0.1, synthetic=False, variants=["as_trained"], run_seed=1)
    return build_study(*find_jobs([folder]))


def test_each_model_has_the_marks_of_its_own_checks(tmp_path: Path) -> None:
    made = study(tmp_path)
    undefended, trained, twin = made.arms
    assert made.suspect(undefended.name, CLEAN) == ("repeatable",)
    # One of two seeds is enough.
    assert len(trained.seeds) == 2
    assert made.suspect(trained.name, CLEAN) == ()
    assert made.suspect(trained.name, fgsm(0.25)) == ("converged",)
    assert made.suspect(twin.name, fgsm(1)) == ()
    assert made.suspect(twin.name, fgsm(1), fgsm(4)) == ("moved",)
    assert made.suspect("nobody", fgsm(4)) == ()
    assert made.asked["converged"] == NAMES["converged"]


def test_a_gain_rests_on_two_models(tmp_path: Path) -> None:
    made = study(tmp_path)
    _, trained, twin = made.arms
    facts = Facts(made, 0.1)
    assert facts.suspect_gain(trained, fgsm(1)) == ("repeatable", "converged")
    assert facts.suspect_gain(twin, fgsm(1)) == ("repeatable",)


def test_the_finding_names_what_is_marked(tmp_path: Path) -> None:
    made = study(tmp_path)
    for found in conclude(made, 0.1).of("check_failed"):
        check = found.facts["check"]
        marked = {
            c.id for arm in made.arms for c in made.conditions if check in made.suspect(arm.name, c)
        }
        assert set(found.taints) == marked
        assert marked
