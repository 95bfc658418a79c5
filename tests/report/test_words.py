from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bcadv.study.jobs import find_jobs
from bcadv.study.study import build_study
from bcadv.report.words import Words, words
from bcadv.results.schema import Finding
from tests.metrics.tables import fgsm, predictions
from tests.report.jobs_on_disk import answers, write_job

N = 120
TARGET = [i % 2 for i in range(N)]


def _words(folder: Path) -> Words:
    return words(build_study(*find_jobs([folder])), 0.1)


def _share(right: float) -> list[bool]:
    """This share of the images right, the same images first, half of each class."""
    return [i < round(right * N) for i in range(N)]


def _write(
    folder: Path,
    sigma: float | None,
    accuracy: Mapping[tuple[str, float], float | Sequence[bool]],
    **job: Any,
) -> None:
    right = {k: _share(v) if isinstance(v, float) else v for k, v in accuracy.items()}
    write_job(folder, sigma=sigma, frame=answers(right, TARGET), **{"synthetic": False, **job})


UNDEFENDED = {("as_trained", 0.0): 0.95, ("as_trained", 1.0): 0.6, ("as_trained", 4.0): 0.1}


def test_the_fall_is_stated_at_its_epsilon_with_an_interval(tmp_path: Path) -> None:
    _write(tmp_path / "u", None, UNDEFENDED)
    said = _words(tmp_path).verdict
    assert "right on 95.0 [" in said
    assert "(114 of 120 test images of 120 patients)" in said
    assert "commonest class would be right on 50.0 %." in said
    assert "accuracy falls to 60.0 [" in said
    assert "at ε=1/255, the smallest strength whose interval lies below" in said
    assert "at worst to 10.0 [" in said
    assert "No defended model was tested" in said
    assert "FGSM takes one step, a weak attack" in said
    assert "SYNTHETIC" not in said
    assert "synthetic" not in said


def test_no_fall_is_no_fall(tmp_path: Path) -> None:
    _write(tmp_path / "u", None, {("as_trained", 0.0): 0.95, ("as_trained", 1.0): 0.94})
    said = _words(tmp_path).verdict
    assert "falls" not in said
    assert "at no strength up to 1/255 does its interval lie below" in said


def _defended(**attacked: float) -> dict[tuple[str, float], float | Sequence[bool]]:
    return {
        ("as_trained", 0.0): 0.95,
        ("as_trained", 1.0): attacked["as_trained"],
        ("as_trained", 4.0): 0.1,
        ("clean", 0.0): 0.95,
        ("clean", 1.0): attacked["clean"],
        ("clean", 4.0): 0.1,
    }


def test_a_gain_that_batchnorm_explains_is_called_so(tmp_path: Path) -> None:
    _write(tmp_path / "u", None, UNDEFENDED)
    _write(tmp_path / "d", 0.1, _defended(as_trained=0.85, clean=0.61))
    said = _words(tmp_path).verdict
    assert "it is better at FGSM 1/255 (+25.0 [" in said
    assert "not certainly better than always" not in said
    assert "no gain is left that could not be chance (the largest: +0.8 [" in said
    assert "may be a matter of these statistics" in said
    assert "the gain is still" not in said


def test_a_gain_that_stays_is_called_so(tmp_path: Path) -> None:
    _write(tmp_path / "u", None, UNDEFENDED)
    _write(tmp_path / "d", 0.1, _defended(as_trained=0.85, clean=0.8))
    said = _words(tmp_path).verdict
    assert "there is a gain still at FGSM 1/255." in said
    assert "sturdier weights" not in said


def test_without_a_gain_batchnorm_is_not_spoken_of(tmp_path: Path) -> None:
    _write(tmp_path / "u", None, UNDEFENDED)
    _write(tmp_path / "d", 0.1, _defended(as_trained=0.61, clean=0.61))
    said = _words(tmp_path).verdict
    assert said.count("none of the 2 strengths shows a difference that could not be chance") == 2
    assert "sturdier" not in said


def test_a_cost_in_clean_accuracy_is_called_so(tmp_path: Path) -> None:
    _write(tmp_path / "u", None, UNDEFENDED)
    _write(tmp_path / "d", 0.1, {("as_trained", 0.0): 0.5, ("as_trained", 1.0): 0.5})
    said = _words(tmp_path).verdict
    assert "costs clean accuracy: −45.0 [−" in said
    assert "not certainly better than always naming the commonest class (50.0 %)" in said


def test_a_model_that_calls_everything_malignant_is_seen_through(tmp_path: Path) -> None:
    _write(tmp_path / "u", None, UNDEFENDED)
    always = [target == 1 for target in TARGET]
    _write(tmp_path / "d", 0.1, {("as_trained", 0.0): always, ("as_trained", 4.0): always})
    said = _words(tmp_path).verdict
    assert "calls most negative images malignant even without attack (specificity 0.0" in said


def test_one_of_several_seeds_on_the_other_side_makes_it_uncertain(tmp_path: Path) -> None:
    for seed, gain in ((0, 0.35), (1, 0.35), (2, -0.02)):
        _write(tmp_path / f"u{seed}", None, UNDEFENDED, run_seed=seed)
        attacked = {("as_trained", 0.0): 0.95, ("as_trained", 1.0): 0.6 + gain}
        _write(tmp_path / f"d{seed}", 0.1, attacked, run_seed=seed)
    rows = build_study(*find_jobs([tmp_path])).comparisons
    assert rows[rows["seed"].isna() & (rows["strength"] == 1)]["low"].iloc[0] > 0
    said = _words(tmp_path).verdict
    assert "it is better" not in said
    assert "predictions of 3 models (seeds)" in said
    assert "other seeds may lie outside" in said


def test_many_defended_models_are_counted(tmp_path: Path) -> None:
    _write(tmp_path / "u", None, UNDEFENDED)
    for i, attacked in enumerate((0.9, 0.61, 0.61, 0.3, 0.85)):
        of = {("as_trained", 0.0): 0.95, ("as_trained", 1.0): attacked}
        _write(tmp_path / f"d{i}", 0.1 * (i + 1), of)
    said = _words(tmp_path).verdict
    assert "Of 5 defended models" in said
    assert "none lose clean accuracy" in said
    assert "2 are better than the undefended model at some strength" in said
    assert "of the 5 comparisons 2 are better, 1 worse" in said
    assert "The largest gain: “noise σ=0.1, BN as trained”, +30.0 [" in said


WEAKNESSES: dict[str, tuple[dict[str, Any], str]] = {
    "synthetic": ({"synthetic": True}, "The images are synthetic"),
    "few": ({"patients": 3}, "3 patients are too few for any number of it to be relied on."),
    "still": ({"eps_px": ()}, "Nothing was attacked, so nothing can be said about robustness."),
    "alone": ({"sigma": 0.1}, "No undefended model stands beside it"),
    "leaky": ({"data": {}}, "Of the test images, 67 % come from patients who are also in training"),
    "unknown": (
        {"data": {"overlap": {"sentence": "?", "patient_overlap": None}}},
        "Whether test patients are also in training is unknown.",
    ),
}


def test_what_weakens_the_verdict_is_in_it_and_nothing_else(tmp_path: Path) -> None:
    usual = {
        "synthetic": False,
        "n": 40,
        "data": {"overlap": {"sentence": "None.", "patient_overlap": 0.0}},
    }
    for case, (job, _) in WEAKNESSES.items():
        write_job(tmp_path / case / "job", **{**usual, **job})
        said = _words(tmp_path / case).verdict
        for other, (_, sentence) in WEAKNESSES.items():
            assert (sentence in said) == (case == other), (case, other)


def test_mixed_code_and_failed_checks_and_what_was_left_out_are_said(tmp_path: Path) -> None:
    write_job(tmp_path / "u", n=20, shape={"code": "one"})
    rising = Finding(
        id="monotone",
        title="a stronger FGSM never helps",
        outcome="failed",
        evidence="12 % then 20 %",
        taints=(fgsm(4).id,),
    )
    fine = Finding(id="fine", title="fine", outcome="ok", evidence="")
    write_job(tmp_path / "d", n=20, sigma=0.1, shape={"code": "two"}, findings=(rising, fine))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "results.json").write_text("{", encoding="utf-8")
    found = _words(tmp_path)
    said = "\n".join([*found.what, *found.suspect])
    assert "The jobs mix 2 versions of the training code (one, two)" in said
    assert "A check failed: “a stronger FGSM never helps”, in 1 case" in said
    assert "12 % then 20 %; suspect: FGSM 4/255" in said
    assert "“fine”" not in said
    assert "1 result could not be used" in said
    assert "Synthetic tissue" in said


def test_every_suspect_number_of_a_failed_check_is_named(tmp_path: Path) -> None:
    for name, eps, sigma in (("u", 1, None), ("d", 4, 0.1)):
        rising = Finding(
            id="monotone",
            title="a stronger FGSM never helps",
            outcome="failed",
            evidence="it rises",
            taints=(fgsm(eps).id,),
        )
        write_job(tmp_path / name, n=20, sigma=sigma, findings=(rising,))
    [said] = _words(tmp_path).suspect
    assert "in 2 cases" in said
    for suspect in ("FGSM 1/255 (undefended)", "FGSM 4/255 (noise σ=0.1)"):
        assert suspect in said


def test_each_audit_is_said_once(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        overlap = {"sentence": f"audit {min(seed, 1)}", "patient_overlap": 0.0}
        write_job(tmp_path / str(seed), n=20, run_seed=seed, data={"overlap": overlap})
    assert _words(tmp_path).leakage == (
        "synthetic, split paper, seed 0: audit 0",
        "synthetic, split paper, seed 1 and 2: audit 1",
    )


def test_the_method_says_what_the_interval_of_several_seeds_leaves_out(tmp_path: Path) -> None:
    write_job(tmp_path / "0", n=20)
    assert "seeds" not in " ".join(_words(tmp_path).method[:3])
    write_job(tmp_path / "1", n=20, run_seed=1)
    said = " ".join(_words(tmp_path).method)
    assert "It does not hold the uncertainty from the seeds" in said
    assert "prevalence of 10 %" in said


def test_several_positive_classes_are_named(tmp_path: Path) -> None:
    write_job(tmp_path / "a", n=40, n_classes=4, task={"positive": (1, 3)})
    assert "of which class 1 and class 3 count as positive" in " ".join(_words(tmp_path).what)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_no_sentence_holds_a_missing_number(tmp_path: Path, n_classes: int) -> None:
    for sigma in (None, 0.1):
        frame = predictions(n=60, n_classes=n_classes, variants=("as_trained", "clean"))
        write_job(tmp_path / str(sigma), sigma=sigma, frame=frame[frame["target"] != 1])
    said = _words(tmp_path)
    text = " ".join([*said.what, *said.leakage, said.verdict, *said.method])
    assert not re.search(r"\b(nan|None|inf)\b", text)
