"""What is decided on a study of two attacks in two norms, and of a defence that is not noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bcadv.results.condition import CLEAN, Condition, Series
from bcadv.results.schema import Defence, Finding
from bcadv.study.differences import differences
from bcadv.study.headline import Answer, Conclusion, conclude
from bcadv.study.jobs import find_jobs
from bcadv.study.study import Study, build_study
from tests.metrics.tables import fgsm, pgd
from tests.report.jobs_on_disk import answers, write_job

N = 200
TARGET = [i % 2 for i in range(N)]
TRAINED = Defence(
    kind="adversarial_training", settings={"eps_px": 4}, label="PGD training, ε=4/255"
)
# FGSM is tried at more strengths, and its name comes first; PGD hurts more.
TRIED = [
    CLEAN,
    *map(fgsm, (1, 2, 4)),
    *(fgsm(eps, "2") for eps in (0.5, 1)),
    *map(pgd, (1, 2, 4)),
    *(pgd(eps, "2") for eps in (0.5, 1)),
]


def table(right: Mapping[Condition, float]) -> pd.DataFrame:
    """This share of the images right under each condition, the same images first."""
    tables = []
    for condition, share in right.items():
        hits = [i < round(share * N) for i in range(N)]
        frame = answers({("as_trained", 0.0): hits}, TARGET)
        tables.append(frame.assign(condition=condition.id, size=condition.size))
    return pd.concat(tables, ignore_index=True)


def falling(
    clean: float, one_step: Sequence[float], steps: Sequence[float], two: Sequence[float]
) -> dict[Condition, float]:
    shares = [clean, *one_step, *two, *steps, *two]
    return dict(zip(TRIED, shares, strict=True))


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


def _answer(found: Conclusion, start: str) -> Answer:
    [answer] = [a for a in found.answers if a.arm.startswith(start)]
    return answer


def test_a_defence_that_is_not_noise_is_named_and_is_never_the_reference(study: Study) -> None:
    names = {arm.training.split(",")[0]: arm for arm in study.arms}
    assert set(names) == {"undefended", "noise σ=0.1", "PGD training"}
    assert study.reference is names["undefended"]
    assert not names["PGD training"].defence.none
    assert set(study.comparisons["reference"]) == {study.reference.name}
    assert set(study.comparisons["arm"]) == {arm.name for arm in study.arms[1:]}


def test_a_model_falls_under_the_attack_that_hurts_most(found: Conclusion) -> None:
    facts = _answer(found, "undefended").fall.facts
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


@pytest.mark.parametrize(("left", "word"), [(18, "undecided"), (8, "fooled")])
def test_a_fall_within_chance_is_none(tmp_path: Path, left: int, word: str) -> None:
    hits = {("as_trained", 0.0): [True] * 20, ("as_trained", 4.0): [i < left for i in range(20)]}
    write_job(tmp_path / "u", frame=answers(hits, [i % 2 for i in range(20)]))
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    assert found.word == word
    assert len(found.of("missed")) == (word == "fooled")


def test_a_gain_under_one_attack_alone_is_no_gain(found: Conclusion) -> None:
    noise, trained = _answer(found, "noise"), _answer(found, "PGD training")
    assert noise.defence is not None
    assert trained.defence is not None
    # Noise is as bad as nothing under PGD at every strength, and n is large: gains are ruled out.
    assert noise.helps == "no better"
    assert noise.defence.facts["reason"] == "margin"
    [lone] = found.of("one_attack_only")
    assert lone.about == noise.arm
    assert set(lone.taints) == {fgsm(eps).id for eps in (1, 2, 4)}
    # Even a gain under everything is no more than undecided.
    assert trained.helps == "undecided"
    assert trained.defence.facts["reason"] == "gain"
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


def _study(folder: Path, undefended: Mapping[Condition, float], gains: Sequence[float]) -> Study:
    """An undefended model, and a defended one that does better by so much."""
    better = {c: right + gain for (c, right), gain in zip(undefended.items(), gains, strict=True)}
    for name, right in (("u", undefended), ("t", better)):
        write_job(
            folder / name,
            defence=TRAINED if name == "t" else None,
            frame=table(right),
            conditions=list(right)[1:],
            synthetic=False,
            shape={"objective": "pgd_at" if name == "t" else "erm"},
        )
    return build_study(*find_jobs([folder]))


@pytest.mark.parametrize(
    "other",
    [fgsm(0.001, "2"), fgsm(4, "2"), pgd(0.01)],
    ids=["norm", "norm of the same number", "strength"],
)
def test_another_norm_or_a_weaker_attack_contradicts_no_gain(
    tmp_path: Path, other: Condition
) -> None:
    study = _study(tmp_path, {CLEAN: 0.95, fgsm(4): 0.2, other: 0.95}, (0, 0.6, 0))
    found = conclude(study, 0.1)
    defence = _answer(found, "PGD training").defence
    assert defence is not None
    assert [row.condition for row in defence.facts["better"]] == [fgsm(4)]
    assert not found.of("one_attack_only")


def test_two_series_of_one_label_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    once, often = (
        pgd(4).model_copy(update={"settings": {"steps": 20, "restarts": n}, "id": ""})
        for n in (1, 5)
    )
    tried = [Condition.model_validate(c.model_dump()) for c in (once, often)]
    study = _study(tmp_path, dict(zip([CLEAN, *tried], (0.95, 0.4, 0.2), strict=True)), (0, 0, 0))
    assert {series.label for series in study.attacks} == {
        "PGD-20 (restarts 1)",
        "PGD-20 (restarts 5)",
    }
    fall = _answer(conclude(study, 0.1), "undefended").fall.facts
    assert fall["first"][0].label == "PGD-20 (restarts 5)"


@pytest.mark.parametrize(
    ("attacked", "gains", "verdict", "reason"),
    [
        (0.2, (0, 0.6), "undecided", "gain"),
        (0.5, (0, -0.3), "no better", "worse"),
        (0.2, (0, 0), "no better", "margin"),
    ],
)
def test_the_verdict_follows_from_the_differences(
    tmp_path: Path, attacked: float, gains: Sequence[float], verdict: str, reason: str
) -> None:
    study = _study(tmp_path, {CLEAN: 0.95, pgd(4): attacked}, gains)
    defence = _answer(conclude(study, 0.1), "PGD training").defence
    assert defence is not None
    assert (defence.facts["verdict"], defence.facts["reason"]) == (verdict, reason)


def test_each_model_is_judged_under_the_attack_that_is_worst_for_it(tmp_path: Path) -> None:
    """FGSM hardly hurts the undefended model, PGD does; both hurt the defended one alike."""
    study = _study(tmp_path, {CLEAN: 0.95, fgsm(2): 0.6, pgd(2): 0.1}, (0, 0, 0.5))
    found = conclude(study, 0.1)
    judged = _answer(found, "PGD training").defence
    assert judged is not None
    [gain] = judged.facts["better"]
    assert (gain.condition, gain.value) == (pgd(2), pytest.approx(0.5))
    assert not found.of("one_attack_only")


def test_a_gain_is_what_is_left_under_the_worst_attack(tmp_path: Path) -> None:
    study = _study(tmp_path, {CLEAN: 0.95, fgsm(2): 0.2, pgd(2): 0.1}, (0, 0.1, 0.6))
    [answer] = [a for a in conclude(study, 0.1).answers if a.defence is not None]
    assert answer.defence is not None
    [row] = answer.defence.facts["tried"]
    # 70 % under PGD, but 30 % under FGSM; the undefended model has 10 %.
    assert row.value == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("undefended", "defended", "gain"),
    [
        # An attack that the undefended model was spared is not held against the other.
        ({fgsm(2): 0.5}, {fgsm(2): 0.9, pgd(2): 0.1}, 0.4),
        # Nor does one that the defended model was spared leave nothing to compare.
        ({fgsm(2): 0.5, pgd(2): 0.1}, {fgsm(2): 0.9}, 0.4),
    ],
)
def test_only_attacks_on_both_are_compared(
    tmp_path: Path,
    undefended: Mapping[Condition, float],
    defended: Mapping[Condition, float],
    gain: float,
) -> None:
    for name, right in (("u", undefended), ("t", defended)):
        write_job(
            tmp_path / name,
            defence=TRAINED if name == "t" else None,
            frame=table({CLEAN: 0.95, **right}),
            conditions=list(right),
            synthetic=False,
        )
    judged = _answer(conclude(build_study(*find_jobs([tmp_path])), 0.1), "PGD training").defence
    assert judged is not None
    [row] = judged.facts["tried"]
    assert (row.condition, row.value) == (fgsm(2), pytest.approx(gain))
    assert judged.facts["reason"] == "gain"


def test_a_gain_is_contradicted_where_another_attack_was_tried(tmp_path: Path) -> None:
    right = {CLEAN: 0.95, fgsm(1): 0.3, fgsm(2): 0.2, pgd(2): 0.1}
    found = conclude(_study(tmp_path, right, (0, 0.6, 0.6, 0)), 0.1)
    [lone] = found.of("one_attack_only")
    assert [row.condition for row in lone.facts["lone"]] == [fgsm(2)]
    assert [row.condition for row in lone.facts["others"]] == [pgd(2)]


def test_accuracy_that_a_defence_costs_without_attack_is_a_finding(tmp_path: Path) -> None:
    for gain, costs in ((-0.2, 1), (0.04, 0)):
        study = _study(tmp_path / str(costs), {CLEAN: 0.95, fgsm(2): 0.5}, (gain, 0))
        assert len(conclude(study, 0.1).of("clean_cost")) == costs


def test_a_gain_of_batchnorm_statistics_is_not_one_of_the_weights(tmp_path: Path) -> None:
    plain = {CLEAN: 0.95, fgsm(2): 0.5, fgsm(4): 0.2}
    write_job(tmp_path / "u", frame=table(plain), conditions=list(plain)[1:])
    as_trained, clean = (
        table({**plain, fgsm(2): 0.9, fgsm(4): left}).assign(batchnorm=variant)
        for variant, left in (("as_trained", 0.8), ("clean", 0.2))
    )
    both = pd.concat([as_trained, clean], ignore_index=True)
    write_job(tmp_path / "d", sigma=0.1, frame=both, conditions=list(plain)[1:])
    [found] = conclude(build_study(*find_jobs([tmp_path])), 0.1).of("batchnorm_gain")
    assert (found.about, found.facts["twin"]) == (
        "noise σ=0.1, BN as trained",
        "noise σ=0.1, BN on clean",
    )
    assert [row.condition for row in found.facts["lost"]] == [fgsm(4)]
    assert found.facts["kept"] == 1
    assert found.taints == (fgsm(4).id,)


def test_a_loss_that_another_attack_makes_of_a_gain_is_not_certain(tmp_path: Path) -> None:
    study = _study(tmp_path, {CLEAN: 0.95, fgsm(2): 0.5, pgd(2): 0.4}, (0, -0.4, 0.2))
    [answer] = [a for a in conclude(study, 0.1).answers if a.defence is not None]
    assert answer.defence is not None
    [row] = answer.defence.facts["tried"]
    assert row.value == pytest.approx(-0.3)
    # The images that make the gain do not make the loss.
    assert not row.certain


def test_few_images_leave_it_undecided(tmp_path: Path) -> None:
    for name, defence in (("u", None), ("t", TRAINED)):
        hits = {("as_trained", 0.0): [True] * 20, ("as_trained", 4.0): [i < 6 for i in range(20)]}
        write_job(
            tmp_path / name,
            defence=defence,
            frame=answers(hits, [i % 2 for i in range(20)]),
            synthetic=False,
            shape={"objective": "pgd_at" if defence else "erm"},
        )
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    judged = _answer(found, "PGD training").defence
    assert judged is not None
    assert (judged.facts["verdict"], judged.facts["reason"]) == ("undecided", "chance")
    assert found.of("small_test_set")[0].facts["images"] == 20
    assert found.of("weak_attacks")


def test_a_model_that_names_one_class_gains_nothing(tmp_path: Path) -> None:
    one_class = [i % 2 == 1 for i in range(N)]
    for name, defence in (("u", None), ("t", TRAINED)):
        clean = one_class if defence else [True] * N
        attacked = one_class if defence else [i % 10 == 0 for i in range(N)]
        hits = {("as_trained", 0.0): clean, ("as_trained", 4.0): attacked}
        write_job(
            tmp_path / name,
            defence=defence,
            frame=answers(hits, TARGET),
            synthetic=False,
            shape={"objective": "pgd_at" if defence else "erm"},
        )
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    answer = _answer(found, "PGD training")
    assert answer.helps == "no better"
    assert answer.defence is not None
    assert answer.defence.facts["reason"] == "no_better_than_one_class"
    [flaw] = found.of("no_better_than_one_class")
    assert flaw.about == answer.arm
    # The gain is there in the numbers, and tainted.
    assert fgsm(4).id in answer.defence.taints


@pytest.mark.parametrize(
    ("found_ill", "flaw"), [(4, "no_better_than_one_class"), (20, "one_sided"), (40, "")]
)
def test_a_model_that_takes_one_side_is_told_from_a_good_one(
    tmp_path: Path, found_ill: int, flaw: str
) -> None:
    right = [i < 150 + found_ill for i in range(N)]
    frame = answers({("as_trained", 0.0): right}, [int(i >= 150) for i in range(N)])
    write_job(tmp_path / "u", frame=frame)
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1).findings
    assert [f.id for f in found if f.weight == 85] == [flaw] * bool(flaw)


def test_the_smallest_test_set_and_versions_that_differ_are_named(tmp_path: Path) -> None:
    for seed, n in ((0, 100), (1, 20)):
        write_job(tmp_path / str(n), n=n, patients=0, run_seed=seed, shape={"torch": f"2.{seed}"})
    found = conclude(build_study(*find_jobs([tmp_path])), 0.1)
    [small], [mixed] = found.of("small_test_set"), found.of("mixed_versions")
    assert (small.facts["images"], small.facts["patients"]) == (20, None)
    assert (mixed.facts["what"], mixed.facts["values"]) == ("torch", ["2.0", "2.1"])


def test_seeds_on_two_sides_make_nothing_certain() -> None:
    rows = pd.DataFrame(
        [(None, 0.2, 0.1, 0.3, np.nan), (0, 0.5, 0.4, 0.6, 0.01), (1, -0.1, -0.2, 0.1, 0.4)],
        columns=["seed", "difference", "low", "high", "p"],
    ).assign(arm="a", condition=fgsm(1).id)
    [row] = differences(rows, [fgsm(1)])["a"]
    assert (row.certain, row.p) == (False, (0.01, 0.4))
    [row] = differences(rows[:2], [fgsm(1)])["a"]
    assert row.better


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
