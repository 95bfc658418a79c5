"""What a model is to be measured under, from the command line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bcadv.errors import BcadvError
from bcadv.plan import default_grid, plan_of
from bcadv.results.condition import CLEAN, REPEATED
from tests.jobs import tiny_config


def test_several_attacks_have_both_norms_with_grids_of_their_own(tmp_path: Path) -> None:
    plan = plan_of(
        tiny_config(
            tmp_path,
            "attacks=[fgsm,pgd]",
            "attack.pgd.steps=40",
            "evaluation.norm=[inf,2]",
            "eps_px=[8,1]",
            "eps_l2=[0.5,2]",
        )
    )
    found = [(s.first.name, s.first.norm, [c.strength for c in s.conditions]) for s in plan.series]
    assert found == [
        ("fgsm", "inf", [1, 8]),
        ("fgsm", "2", [0.5, 2]),
        ("pgd", "inf", [1, 8]),
        ("pgd", "2", [0.5, 2]),
    ]
    assert plan.series[2].sizes == (1 / 255, 8 / 255)
    assert plan.series[3].sizes == (0.5, 2)
    assert plan.series[2].first.settings["steps"] == 40
    assert "40" in plan.series[2].first.label
    assert "40" in plan.series[2].first.how
    assert [series.first.steps for series in plan.series] == [1, 1, 40, 40]
    assert len({c.id for c in plan.conditions}) == len(plan.conditions) == 10
    assert plan.conditions[:2] == (CLEAN, REPEATED)


def test_an_attack_of_one_step_is_one_by_whatever_name(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "attacks=[fgsm,pgd]", "attack.pgd.steps=1")
    assert [series.first.steps for series in plan_of(config).attacks] == [1, 1]


def test_strength_zero_answers_the_clean_images_again(tmp_path: Path) -> None:
    assert REPEATED not in plan_of(tiny_config(tmp_path, "eps_px=[0,1]")).conditions
    assert REPEATED in plan_of(tiny_config(tmp_path, "eps_px=[1]")).conditions


def test_noise_is_no_attack_and_has_a_sigma(tmp_path: Path) -> None:
    plan = plan_of(tiny_config(tmp_path, "+experiment=defense", "sigma=0.3"))
    noise = plan.series[-1].first
    assert (noise.kind, noise.name, noise.strength, noise.unit) == (
        "noise",
        "gaussian",
        0.3,
        "pixel range",
    )
    assert noise.text == "Gaussian noise 0.3"
    assert plan.series[-1] not in plan.attacks


def test_the_default_lengths_of_l2_grow_with_the_image(tmp_path: Path) -> None:
    [series] = plan_of(tiny_config(tmp_path, "evaluation.norm=2", "data.crop=64")).series
    assert series.first.norm == "2"
    # Four grey levels in the root mean square of 3 x 64 x 64 values.
    assert series.sizes[-1] == pytest.approx(4 / 255 * math.sqrt(3 * 64**2), rel=0.05)
    assert default_grid("2", 224)[-1] / default_grid("2", 64)[-1] == pytest.approx(3.5, rel=0.05)
    assert list(series.sizes) == sorted(set(series.sizes))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("attacks=[pdg]", "did you mean pgd"),
        ("attacks=[fgsm,fgsm]", "attacks names fgsm twice"),
        ("attacks=[]", "attacks"),
        ("attack.pgd.steps=0", "attack.pgd.steps=0"),
        ("attack.pgd.steps=1.5", "attack.pgd.steps=1.5"),
        ("attack.pgd.steps=many", "attack.pgd.steps=many"),
        ("+attack.pgd.step=3", "attack.pgd.step: did you mean attack.pgd.steps"),
        ("+attack.pdg.steps=3", "did you mean pgd"),
        ("evaluation.norm=1", "evaluation.norm"),
        ("evaluation.norm=[2,2]", "evaluation.norm names 2 twice"),
        ("eps_l2=[]", "eps_l2"),
        ("eps_l2=[-1]", "eps_l2"),
        ("eps_l2=[0.5,0.5]", "eps_l2 names 0.5 twice"),
        ("eps_px=256", "eps_px"),
    ],
)
def test_a_mistake_is_answered_with_its_place(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(BcadvError) as caught:
        tiny_config(tmp_path, override)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400
