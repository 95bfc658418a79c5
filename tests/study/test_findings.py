"""What is decided on a study of two attacks in two norms, and of a defence that is not noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bcadv.metrics.paired import holm
from bcadv.report.words import sentence
from bcadv.results.condition import CLEAN, Series
from bcadv.results.schema import Finding
from bcadv.study.differences import differences
from bcadv.study.headline import Conclusion, conclude
from bcadv.study.jobs import find_jobs
from bcadv.study.study import Study, build_study
from tests.metrics.tables import fgsm, pgd
from tests.report.jobs_on_disk import answers, write_job
from tests.study.made import TRAINED, TRIED, answer, falling, table


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Undefended; noise, which helps under FGSM alone; trained on PGD, which helps under both."""
    folder = tmp_path_factory.mktemp("many")
    models = {
        "u": (None, None, falling(0.95, (0.6, 0.4, 0.2), (0.5, 0.2, 0.0), (0.5, 0.3))),
        "n": (0.1, None, falling(0.95, (0.9, 0.8, 0.6), (0.5, 0.2, 0.0), (0.5, 0.3))),
        "t": (None, TRAINED, falling(0.9, (0.88, 0.85, 0.8), (0.87, 0.82, 0.7), (0.8, 0.7))),
    }
    for name, (sigma, defence, right) in models.items():
        write_job(
            folder / name,
            sigma=sigma,
            defence=defence,
            frame=table(right),
            conditions=TRIED[1:],
            synthetic=False,
            shape={"objective": "pgd_at" if defence else "erm"},
        )
    return folder


@pytest.fixture(scope="module")
def study(runs: Path) -> Study:
    return build_study(*find_jobs([runs]))


@pytest.fixture(scope="module")
def found(study: Study) -> Conclusion:
    return conclude(study, 0.1)


def test_a_defence_that_is_not_noise_is_named_and_is_never_the_reference(study: Study) -> None:
    names = {arm.training.split(",")[0]: arm for arm in study.arms}
    assert set(names) == {"undefended", "noise σ=0.1", "PGD training"}
    assert study.reference is names["undefended"]
    assert not names["PGD training"].defence.none
    assert set(study.comparisons["reference"]) == {study.reference.name}
    assert set(study.comparisons["arm"]) == {arm.name for arm in study.arms[1:]}


def test_a_model_falls_under_the_attack_that_hurts_most(found: Conclusion) -> None:
    facts = answer(found, "undefended").fall.facts
    first, lowest = facts["first"], facts["lowest"]
    assert (facts["clean"].value, first[0], first[1].value) == (0.95, pgd(1), 0.5)
    assert (lowest[0], lowest[1].value) == (pgd(4), 0.0)
    assert {condition.norm for condition in facts["strongest"]} == {"inf", "2"}
    assert found.word == "fooled"
    assert found.first.arm.startswith("undefended")


def test_a_fall_is_followed_in_its_own_norm(tmp_path: Path) -> None:
    right = {CLEAN: 0.95, fgsm(1): 0.5, fgsm(2): 0.4, fgsm(0.5, "2"): 0.1}
    write_job(tmp_path / "u", frame=table(right), conditions=list(right)[1:])
    facts = conclude(build_study(*find_jobs([tmp_path])), 0.1).first.fall.facts
    assert (facts["first"][0], facts["lowest"][0]) == (fgsm(1), fgsm(2))


@pytest.mark.parametrize(("left", "word"), [(18, "undecided"), (4, "fooled")])
def test_a_fall_within_chance_is_none(tmp_path: Path, left: int, word: str) -> None:
    hits = {("as_trained", 0.0): [True] * 20, ("as_trained", 4.0): [i < left for i in range(20)]}
    write_job(tmp_path / "u", frame=answers(hits, [i % 2 for i in range(20)]))
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    assert found.word == word
    assert len(found.of("missed")) == (word == "fooled")


def test_a_gain_under_one_attack_alone_is_no_gain(found: Conclusion) -> None:
    noise, trained = answer(found, "noise"), answer(found, "PGD training")
    assert noise.defence is not None
    assert trained.defence is not None
    # Noise is as bad as nothing under PGD at every strength, and n is large: gains are ruled out.
    assert noise.helps == "no better"
    assert noise.defence.facts["reason"] == "margin"
    [lone] = found.of("one_attack_only")
    assert lone.about == noise.arm
    assert set(lone.taints) == {fgsm(eps).id for eps in (1, 2, 4)}
    # Nobody asked the models, so even a gain under everything is no more than undecided.
    assert trained.helps == "undecided"
    assert trained.defence.facts["reason"] == "checks_missing"
    assert {row.condition.label for row in trained.defence.facts["better"]} >= {"PGD-20"}


def test_missed_cases_are_those_of_the_sensitivity(found: Conclusion, study: Study) -> None:
    # Of a defended model it is a part of the verdict.
    [missed] = found.of("missed")
    assert missed.about.startswith("undefended")
    condition = missed.facts["condition"]
    rate = study.numbers[missed.about, condition, "sensitivity"]
    assert missed.facts["after"].value == pytest.approx(1000 * 0.1 * (1 - rate.value))
    assert missed.facts["after"].low > missed.facts["before"].high
    assert missed.facts["after"][1:3] == pytest.approx(
        (100 * (1 - rate.high), 100 * (1 - rate.low))
    )


def test_each_attack_in_each_norm_has_its_curve(study: Study) -> None:
    assert [(series.label, len(series.conditions)) for series in study.attacks] == [
        ("FGM, L2", 2),
        ("FGSM", 3),
        ("PGD-20, L2", 2),
        ("PGD-20", 3),
    ]
    pgd_two = next(s for s in study.attacks if s.label == "PGD-20, L2")
    assert isinstance(pgd_two, Series)
    assert [c.size for c in pgd_two.conditions] == [0.5, 1]


def test_numbers_of_one_attack_are_not_those_of_another(study: Study) -> None:
    name = study.arms[0].name
    found = {c: study.numbers[name, c, "accuracy"].value for c in TRIED}
    expected = falling(0.95, (0.6, 0.4, 0.2), (0.5, 0.2, 0.0), (0.5, 0.3))
    assert found == pytest.approx({c: np.float64(v) for c, v in expected.items()})


def test_the_smallest_test_set_and_versions_that_differ_are_named(tmp_path: Path) -> None:
    for seed, n in ((0, 100), (1, 20)):
        write_job(tmp_path / str(n), n=n, patients=0, run_seed=seed, shape={"torch": f"2.{seed}"})
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    [small], [mixed] = found.of("small_test_set"), found.of("mixed_versions")
    assert (small.facts["images"], small.facts["patients"]) == (20, None)
    assert (mixed.facts["what"], mixed.facts["values"]) == ("torch", ["2.0", "2.1"])


def test_seeds_on_two_sides_make_nothing_certain() -> None:
    rows = pd.DataFrame(
        [(None, 0.2, 0.1, 0.3, 0.01), (0, 0.5, 0.4, 0.6, 0.01), (1, -0.1, -0.2, 0.1, 0.4)],
        columns=["seed", "difference", "low", "high", "p"],
    ).assign(arm="a", condition=fgsm(1).id, n_patients=30)
    [row] = differences(rows, [fgsm(1)])["a"]
    assert (row.certain, row.p, row.patients) == (False, 0.01, 30)
    [row] = differences(rows[:2], [fgsm(1)])["a"]
    assert row.better


def test_holm_multiplies_the_smallest_by_all_and_never_turns_an_order_round() -> None:
    p = np.array([0.04, 0.01, 0.03, 0.5])
    assert holm(p).tolist() == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]
    assert holm(np.array([0.03])).tolist() == [0.03]


def test_one_of_many_strengths_is_not_certain_by_itself() -> None:
    strengths = [fgsm(eps) for eps in (1, 2, 4)]
    rows = pd.DataFrame(
        [
            (seed, of.id, 0.2, 0.01, 0.4, p)
            for of, p in zip(strengths, (0.02, 0.3, 0.01), strict=True)
            for seed in (None, 0)
        ],
        columns=["seed", "condition", "difference", "low", "high", "p"],
    ).assign(arm="a", n_patients=30)
    found = differences(rows, strengths)["a"]
    assert [row.p for row in found] == pytest.approx([0.04, 0.3, 0.03])
    assert [row.better for row in found] == [True, False, True]
    more = differences(pd.concat([rows, rows.assign(arm="b")]), strengths)
    assert more["b"][0].p == found[0].p  # each model is a question of its own


@pytest.mark.parametrize(("ill", "said"), [(4, {"sensitivity": 4}), (12, {})])
def test_few_patients_of_a_side_are_named(tmp_path: Path, ill: int, said: dict[str, int]) -> None:
    target = [int(i < 3 * ill) for i in range(150)]
    frame = answers({("as_trained", 0.0): [True] * 150}, target, [f"P{i // 3}" for i in range(150)])
    write_job(tmp_path / "u", frame=frame)
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    assert [of.facts["few"] for of in found.of("few_of_a_side")] == ([said] if said else [])


def test_a_verdict_on_few_patients_says_so(tmp_path: Path) -> None:
    target, patient = [i % 2 for i in range(90)], [f"P{i // 10}" for i in range(90)]
    for sigma, share in ((None, 0.2), (0.1, 1.0)):
        hits = {
            ("as_trained", 0.0): [True] * 90,
            ("as_trained", 1.0): [i % 10 < 10 * share for i in range(90)],
        }
        frame = answers(hits, target, patient)
        write_job(tmp_path / str(sigma), sigma=sigma, frame=frame)
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    verdict = answer(found, "noise").defence
    assert verdict is not None
    assert (verdict.facts["reason"], verdict.facts["few"]) == ("checks_missing", 9)
    assert sentence(verdict).endswith("9 patients cannot bear a verdict")


@pytest.mark.parametrize(
    ("overlap", "unknown", "checked", "outcome"),
    [
        (0.0, 0, "ok", "ok"),
        (0.25, 0, "failed", "failed"),
        (None, 0, "unknown", "unknown"),
        (0.0, 3, "unknown", "unknown"),
        (0.0, 0, "failed", "failed"),  # the very same image on both sides, its patient on one
    ],
)
def test_leakage_is_a_finding(
    tmp_path: Path, overlap: float | None, unknown: int, checked: Any, outcome: str
) -> None:
    audited = {
        "sentence": "It is so.",
        "patient_overlap": overlap,
        "unknown_patients": {"train": unknown, "test": 0},
    }
    write_job(
        tmp_path / "u",
        synthetic=False,
        data={"overlap": audited},
        findings=[Finding(id="leakage", title="t", outcome=checked, evidence="e")],
    )
    [leakage] = conclude(build_study(*find_jobs([tmp_path])), 0.1).of("leakage")
    assert leakage.outcome == outcome


def test_a_check_that_failed_is_gravest_and_taints(tmp_path: Path) -> None:
    failed = Finding(
        id="moved",
        title="it moves",
        outcome="failed",
        evidence="3 of 60 did not",
        taints=(fgsm(4).id,),
    )
    write_job(tmp_path / "u", synthetic=False, findings=[failed])
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    assert found.findings[0].id == found.foremost[0].id == "check_failed"
    assert found.findings[0].taints == (fgsm(4).id,)
    assert found.findings[0].facts["suspect"] == ["FGSM 4/255"]


def test_without_an_undefended_model_nothing_is_said_of_the_defence(tmp_path: Path) -> None:
    write_job(tmp_path / "t", defence=TRAINED, synthetic=False)
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    [answer] = found.answers
    assert (answer.helps, answer.defence and answer.defence.facts["reason"]) == (
        "undecided",
        "no_reference",
    )


def test_what_was_not_attacked_is_not_called_robust(tmp_path: Path) -> None:
    write_job(tmp_path / "u", eps_px=(0,), synthetic=False)
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    assert found.word == "not attacked"
