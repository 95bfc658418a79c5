"""What is decided on a defence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest

from bcadv.results.condition import CLEAN, Condition
from bcadv.study.headline import conclude
from bcadv.study.jobs import find_jobs
from bcadv.study.study import Study, build_study
from tests.metrics.tables import fgsm, pgd
from tests.report.jobs_on_disk import answers, write_job
from tests.study.made import TARGET, TRAINED, N, answer, table


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
    defence = answer(found, "PGD training").defence
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
    fall = answer(conclude(study, 0.1), "undefended").fall.facts
    assert fall["first"][0].label == "PGD-20 (restarts 5)"


@pytest.mark.parametrize(
    ("attacked", "gains", "verdict", "reason"),
    [
        (0.2, (0, 0.6), "undecided", "checks_missing"),
        (0.5, (0, -0.3), "no better", "worse"),
        (0.2, (0, 0), "no better", "margin"),
    ],
)
def test_the_verdict_follows_from_the_differences(
    tmp_path: Path, attacked: float, gains: Sequence[float], verdict: str, reason: str
) -> None:
    study = _study(tmp_path, {CLEAN: 0.95, pgd(4): attacked}, gains)
    defence = answer(conclude(study, 0.1), "PGD training").defence
    assert defence is not None
    assert (defence.facts["verdict"], defence.facts["reason"]) == (verdict, reason)


def test_each_model_is_judged_under_the_attack_that_is_worst_for_it(tmp_path: Path) -> None:
    """FGSM hardly hurts the undefended model, PGD does; both hurt the defended one alike."""
    study = _study(tmp_path, {CLEAN: 0.95, fgsm(2): 0.6, pgd(2): 0.1}, (0, 0, 0.5))
    found = conclude(study, 0.1)
    judged = answer(found, "PGD training").defence
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
    judged = answer(conclude(build_study(*find_jobs([tmp_path])), 0.1), "PGD training").defence
    assert judged is not None
    [row] = judged.facts["tried"]
    assert (row.condition, row.value) == (fgsm(2), pytest.approx(gain))
    assert judged.facts["reason"] == "checks_missing"


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
    judged = answer(found, "PGD training").defence
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
    of_it = answer(found, "PGD training")
    assert of_it.helps == "no better"
    assert of_it.defence is not None
    assert of_it.defence.facts["reason"] == "no_better_than_one_class"
    [flaw] = found.of("no_better_than_one_class")
    assert flaw.about == of_it.arm
    # The gain is there in the numbers, and tainted.
    assert fgsm(4).id in of_it.defence.taints


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
