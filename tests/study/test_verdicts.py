"""The verdict on a defence follows from what was measured and from what the checks found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest

from bcadv.report.summary import answer_text, brief_text, headline
from bcadv.report.words import verdict_text
from bcadv.results.checks import MASKING, NAMES, NEEDED
from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Finding, Outcome
from bcadv.results.verdict import Checked, Step, decide, fold
from bcadv.study.headline import Conclusion, conclude
from bcadv.study.jobs import find_jobs
from bcadv.study.study import build_study
from tests.metrics.tables import fgsm, pgd
from tests.report.jobs_on_disk import write_job
from tests.study.made import TRAINED, answer, table

SOUND: dict[str, Outcome] = dict.fromkeys(NEEDED, "ok")


def findings(outcomes: Mapping[str, Outcome]) -> list[Finding]:
    return [
        Finding(id=name, title=f"{name} holds", outcome=outcome, evidence="e")
        for name, outcome in outcomes.items()
    ]


def step(
    strength: float, low: float = 0.3, *, right: float = 0.8, fallen: float = 0.5, norm: str = "inf"
) -> Step:
    return Step(norm, strength, low > 0, low + 0.05 < 0, low, low + 0.05, right, fallen)


@pytest.mark.parametrize(
    ("steps", "checked", "verdict", "reason", "up_to"),
    [
        ([step(1), step(4)], Checked(), "robust", "holds", [4]),
        # Where the undefended model has not fallen there is nothing to gain yet.
        ([step(1, -0.02, fallen=0.01), step(4)], Checked(), "robust", "holds", [4]),
        ([step(1, -0.02, fallen=0.3), step(4)], Checked(), "undecided", "not_throughout", []),
        ([step(1), step(4, -0.02), step(8)], Checked(), "robust", "holds", [1]),
        ([step(1, -0.2, fallen=0.01), step(4)], Checked(), "undecided", "not_throughout", []),
        # What naming one class would reach is no robustness.
        ([step(1), step(4, right=0.4)], Checked(), "robust", "holds", [1]),
        ([step(1, 0.05), step(4, 0.02)], Checked(), "undecided", "small_gain", []),
        ([step(1), step(2, norm="2")], Checked(), "robust", "holds", [1, 2]),
        ([step(1)], Checked(masking=("noise",)), "masked", "checks_failed", []),
        ([step(1)], Checked(doubts=("converged",)), "undecided", "checks_doubted", []),
        ([step(1)], Checked(missing=("unbounded",)), "undecided", "checks_missing", []),
        ([step(1)], Checked(batchnorm=True), "masked", "batchnorm", []),
        # What breaks it proves that it can be broken, whatever hides its gradient.
        ([step(1, -0.02)], Checked(masking=("noise",)), "no better", "margin", []),
        ([step(1, -0.2)], Checked(), "no better", "worse", []),
        ([step(1, -0.02), step(4, -0.2)], Checked(masking=("noise",)), "no better", "worse", []),
        ([], Checked(no_gradient=True), "masked", "no_gradient", []),
        ([step(1, -0.02)], Checked(no_gradient=True), "masked", "no_gradient", []),
        ([], Checked(), "undecided", "not_attacked", []),
    ],
)
def test_the_fold(
    steps: Sequence[Step], checked: Checked, verdict: str, reason: str, up_to: Sequence[float]
) -> None:
    found = decide(steps, checked, commonest=0.5)
    assert (found.verdict, found.reason) == (verdict, reason)
    assert [last.strength for last in found.up_to] == up_to


def test_a_check_has_to_hold_for_every_seed() -> None:
    sound = findings(SOUND)
    assert fold([sound, sound]) == Checked()
    assert fold([sound, findings({**SOUND, "noise": "unknown"})]).missing == ("noise",)
    assert fold([sound, findings({**SOUND, "noise": "failed"})]).masking == ("noise",)
    assert fold([findings({**SOUND, "leakage": "failed"})]).doubts == ("leakage",)
    # Who chose the positive class says nothing of the attacks.
    assert fold([findings({**SOUND, "positive_class": "failed"})]) == Checked()
    assert fold([findings({"gradient": "failed"})]).no_gradient
    assert not fold([findings({"gradient": "failed", "zero_gradient": "ok"})]).no_gradient
    assert {*MASKING, *NEEDED} <= {*NAMES}


def study(
    folder: Path, outcomes: Mapping[str, Outcome], right: Mapping[Condition, float] | None = None
) -> Conclusion:
    """An undefended model that falls to 20 %, and a defended one that mostly does not."""
    fallen = {CLEAN: 0.95, pgd(1): 0.5, pgd(4): 0.2}
    for name, shares in (("u", fallen), ("t", right or {CLEAN: 0.95, pgd(1): 0.9, pgd(4): 0.8})):
        write_job(
            folder / name,
            defence=TRAINED if name == "t" else None,
            frame=table(shares),
            conditions=list(shares)[1:],
            synthetic=False,
            findings=findings(outcomes) if name == "t" else [],
            shape={"objective": "pgd_at" if name == "t" else "erm"},
        )
    return conclude(build_study(*find_jobs([folder])), 0.1)


@pytest.mark.parametrize(
    ("outcomes", "said", "because"),
    [
        (SOUND, "robust up to ε=4/255", "every check on the model held"),
        (
            {**SOUND, "zero_gradient": "failed"},
            "masked",
            "it does not hold that no gradient is zero",
        ),
        ({**SOUND, "converged": "failed"}, "undecided", "more steps break no more images"),
        ({**SOUND, "noise": "unknown"}, "undecided", "it is not known that random noise"),
        ({}, "undecided", "it is not known that"),
        ({"gradient": "failed"}, "masked", "no gradient reaches the image"),
    ],
)
def test_a_gain_is_worth_what_the_checks_allow(
    tmp_path: Path, outcomes: Mapping[str, Outcome], said: str, because: str
) -> None:
    found = study(tmp_path, outcomes)
    of_it = answer(found, "PGD training")
    assert of_it.defence is not None
    assert verdict_text(of_it.defence) == said
    assert because in answer_text(of_it)
    assert brief_text(of_it)
    assert headline(found).endswith(f"): {said}.")
    assert of_it.helps == of_it.word == said.split(" up", maxsplit=1)[0]
    assert of_it.defence.outcome == {"r": "ok", "m": "failed", "u": "unknown"}[said[0]]
    # What is masked taints the numbers that it shows.
    assert bool(of_it.defence.taints) == (said == "masked")


def test_a_gain_at_some_strengths_alone_is_no_robustness(tmp_path: Path) -> None:
    found = study(tmp_path, SOUND, {CLEAN: 0.95, pgd(1): 0.3, pgd(4): 0.8})
    of_it = answer(found, "PGD training")
    assert "but not at every strength up to there" in answer_text(of_it)
    assert of_it.helps == "undecided"


def test_a_gain_that_batchnorm_statistics_take_away_is_masked(tmp_path: Path) -> None:
    plain = {CLEAN: 0.95, fgsm(2): 0.5, fgsm(4): 0.2}
    write_job(tmp_path / "u", frame=table(plain), conditions=list(plain)[1:])
    as_trained, clean = (
        table({**plain, fgsm(2): 0.9, fgsm(4): left}).assign(batchnorm=variant)
        for variant, left in (("as_trained", 0.8), ("clean", 0.2))
    )
    both = pd.concat([as_trained, clean], ignore_index=True)
    checks = findings(SOUND)
    write_job(tmp_path / "d", sigma=0.1, frame=both, conditions=list(plain)[1:], findings=checks)
    of_it = answer(conclude(build_study(*find_jobs([tmp_path])), 0.1), "noise σ=0.1, BN as trained")
    assert of_it.helps == "masked"
    assert "but not with BatchNorm statistics of clean images" in answer_text(of_it)
