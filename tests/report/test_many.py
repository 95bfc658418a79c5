"""A study of two attacks in two norms, and of a defence that is not noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcadv.report.page import write_report
from bcadv.report.words import Words, words
from bcadv.results.schema import CLEAN, Condition, Defence
from bcadv.study.jobs import find_jobs
from bcadv.study.numbers import Series
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
def said(study: Study) -> Words:
    return words(study, 0.1)


def test_a_defence_that_is_not_noise_is_named_and_is_never_the_reference(study: Study) -> None:
    names = {arm.training.split(",")[0]: arm for arm in study.arms}
    assert set(names) == {"undefended", "noise σ=0.1", "PGD training"}
    assert study.reference is names["undefended"]
    assert not names["PGD training"].defence.none
    assert set(study.comparisons["reference"]) == {study.reference.name}
    assert set(study.comparisons["arm"]) == {arm.name for arm in study.arms[1:]}


def test_the_defence_is_judged_under_every_attack(said: Words) -> None:
    verdict = said.verdict
    for label in ("FGSM", "PGD-20", "FGM, L2", "PGD-20, L2"):
        assert f"Under {label} its accuracy falls" in verdict
    noise = "“noise σ=0.1, BN as trained"
    [sentence] = [s for s in verdict.split(". ") if s.startswith(noise) and "better under" in s]
    assert "is better under FGSM and not under" in sentence
    assert "PGD-20" in sentence
    # It helps under everything, so no attack contradicts it.
    assert "“PGD training, ε=4/255" in verdict
    trained = [s for s in verdict.split(". ") if s.startswith("“PGD training")]
    assert not any("better under" in s for s in trained)


def test_which_attack_hurts_most_is_said(said: Words) -> None:
    assert "Of FGSM and PGD-20, PGD-20 leaves it the least accuracy" in said.verdict
    assert "23.3 % on average" in said.verdict  # of 50, 20 and 0
    # In L2 both do the same: nothing is to be said.
    assert "PGD-20, L2 leaves it" not in said.verdict


def test_many_steps_are_not_called_one(said: Words) -> None:
    everything = " ".join([*said.what, said.verdict])
    assert "PGD-20 (steps 20), white box, 20 steps, untargeted" in everything
    assert "FGSM, white box, one step, untargeted" in everything
    assert "a weak attack" not in everything


def test_a_length_is_not_in_grey_levels(study: Study, said: Words, tmp_path: Path) -> None:
    everything = " ".join([*said.what, said.verdict])
    assert "ε (Euclidean length of the change, pixels in [0, 1]) of 0.5 and 1." in everything
    for wrong in ("0.5/255", "0.5 and 1/255"):
        assert wrong not in everything
    made = write_report(list(study.jobs), [], tmp_path, prevalence=0.1, command="x")
    page = made.page.read_text(encoding="utf-8")
    assert "0.5/255" not in page.replace("largest: 0.5/255", "")  # of any pixel, in any norm
    assert "PGD-20, L2 0.5" in page
    assert "PGD-20 4/255" in page
    assert made.failures == ()
    rows = pd.read_csv(tmp_path / "tables" / "robustness.csv")
    units = rows.groupby("label")["unit"].unique()
    assert list(units["FGM, L2"]) == ["pixel range"]
    assert list(units["FGSM"]) == ["grey level"]


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
    found = _study(tmp_path, {CLEAN: 0.95, fgsm(4): 0.2, other: 0.95}, (0, 0.6, 0))
    assert "it is better at FGSM 4/255" in words(found, 0.1).verdict
    assert "is no robustness" not in words(found, 0.1).verdict


def test_two_series_of_one_label_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    once, often = (
        pgd(4).model_copy(update={"settings": {"steps": 20, "restarts": n}, "id": ""})
        for n in (1, 5)
    )
    tried = [Condition.model_validate(c.model_dump()) for c in (once, often)]
    found = _study(tmp_path, dict(zip([CLEAN, *tried], (0.95, 0.4, 0.2), strict=True)), (0, 0, 0))
    assert {series.label for series in found.attacks} == {
        "PGD-20 (restarts 1)",
        "PGD-20 (restarts 5)",
    }
    said = words(found, 0.1).verdict
    assert (
        "Of PGD-20 (restarts 5) and PGD-20 (restarts 1), PGD-20 (restarts 5) leaves" in (said)
        or "Of PGD-20 (restarts 1) and PGD-20 (restarts 5), PGD-20 (restarts 5) leaves" in said
    )
