"""What a model is to be measured under, from the command line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from bcadv.build import build_trials
from bcadv.config import validate
from bcadv.errors import BcadvError
from bcadv.opening import opening
from bcadv.perturb.corrupt.catalog import CORRUPTIONS
from bcadv.plan import default_grid, plan_of
from bcadv.results.condition import CLEAN, REPEATED, Condition, span
from bcadv.task import Task
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


def test_corruptions_are_no_attacks_and_have_severities(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "corruptions=[stain,jpeg]", "evaluation.severities=[3,1]")
    plan = plan_of(config)
    assert [series.name for series in plan.corruptions] == ["stain", "jpeg"]
    assert [series.first.name for series in plan.attacks] == ["fgsm"]
    assert plan.conditions[-2:] == plan.corruptions[1].conditions
    first, second = plan.corruptions[1].conditions
    assert (first.id, second.id) == ("jpeg_1", "jpeg_3")
    assert (first.kind, first.norm, first.unit, first.size) == ("corruption", None, "severity", 1)
    assert (second.amount, second.text, second.equation) == (
        "severity 3",
        "JPEG severity 3",
        "severity 3",
    )
    assert first.axis == "severity (0: clean)"
    assert span(first, second) == "severity 1 to 3"
    trials = build_trials(config, plan, Task())
    assert [trial.perturbation.name for trial in trials] == ["fgsm", "stain", "jpeg"]
    assert not plan_of(tiny_config(tmp_path)).corruptions


def test_all_corruptions_are_those_that_suit_the_images(tmp_path: Path) -> None:
    tissue = tiny_config(tmp_path, "corruptions=all")
    assert tissue.corruptions == tuple(CORRUPTIONS)
    assert tissue == tiny_config(tmp_path, f"corruptions=[{','.join(CORRUPTIONS)}]")
    raw = tissue.model_dump(mode="json")
    raw |= {"data": {"source": "folder", "root": str(tmp_path), "split": "paper"}}
    own = validate(raw | {"corruptions": "all"}).corruptions
    assert set(CORRUPTIONS) - set(own) == {"stain"}
    assert validate(raw | {"corruptions": ["all", "stain"]}).corruptions == (*own, "stain")


def test_a_corruption_alone_has_a_severity() -> None:
    for kind, unit in (("corruption", "pixel range"), ("attack", "severity")):
        with pytest.raises(ValidationError, match="a corruption has a severity"):
            Condition.model_validate(
                {"kind": kind, "name": "x", "strength": 1, "unit": unit, "label": "X"}
            )


def test_what_a_job_is_about_to_do_counts_its_corruptions(tmp_path: Path) -> None:
    said = opening(tiny_config(tmp_path, "corruptions=[stain,jpeg]", "evaluation.severities=2"))
    assert "FGSM up to 8/255, and 2 corruptions up to severity 2. Images" in said
    assert "corruption" not in opening(tiny_config(tmp_path))


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
        ("corruptions=jpg", "there is no corruption jpg: did you mean jpeg"),
        ("corruptions=[xxx]", "there is no corruption xxx: there are all, gaussian_noise"),
        ("corruptions=[jpeg,jpeg]", "corruptions names jpeg twice"),
        ("evaluation.severities=6", "evaluation.severities=6"),
        ("evaluation.severities=0", "evaluation.severities=0"),
        ("evaluation.severities=1.5", "evaluation.severities=1.5"),
        ("evaluation.severities=[]", "evaluation.severities=[]"),
        ("evaluation.severities=[1,1]", "evaluation.severities names 1 twice"),
    ],
)
def test_a_mistake_is_answered_with_its_place(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(BcadvError) as caught:
        tiny_config(tmp_path, override)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400
