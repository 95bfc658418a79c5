from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from bcadv.metrics import clinical
from bcadv.metrics.clustered import rate_interval
from bcadv.results.schema import Defence
from bcadv.study.jobs import find_jobs
from bcadv.study.study import Study, build_study
from tests.metrics.percentile import bootstrap
from tests.metrics.tables import fgsm, predictions
from tests.report.jobs_on_disk import answers, rewrite, write_job


def _study(folder: Path) -> Study:
    return build_study(*find_jobs([folder]))


def _row(study: Study, arm: str, eps_px: float, metric: str, seed: int | None = None) -> pd.Series:
    rows = study.measures
    of_seed = rows["seed"].isna() if seed is None else rows["seed"] == seed
    found = rows[
        (rows["arm"] == arm) & (rows["strength"] == eps_px) & (rows["metric"] == metric) & of_seed
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_arms_are_the_ways_of_training_by_sigma_and_statistics(tmp_path: Path) -> None:
    for seed in (1, 0):
        for sigma in (0.2, None, 0.1):
            variants = ("as_trained",) if sigma is None else ("as_trained", "clean")
            write_job(
                tmp_path / f"{sigma}-{seed}",
                sigma=sigma,
                run_seed=seed,
                variants=variants,
                n=20,
                finished=f"2025-01-0{seed + 1}",
            )
    study = _study(tmp_path)
    assert [arm.name for arm in study.arms] == [
        "undefended",
        "noise σ=0.1, BN as trained",
        "noise σ=0.1, BN on clean",
        "noise σ=0.2, BN as trained",
        "noise σ=0.2, BN on clean",
    ]
    assert all(arm.seeds == (0, 1) for arm in study.arms)
    assert [job.seed for job in study.arms[0].jobs] == [0, 1]  # the newest last
    assert study.reference == study.arms[0]
    assert study.synthetic
    assert not study.left_out
    assert not study.remarks
    assert set(study.comparisons["arm"]) == {arm.name for arm in study.arms[1:]}


def test_arms_say_what_else_differs(tmp_path: Path) -> None:
    write_job(tmp_path / "a", n=20)
    write_job(tmp_path / "b", n=20, data={"split": "patient"}, fingerprint="b")
    write_job(tmp_path / "c", n=20, sigma=0.1, shape={"optimizer.lr": 0.01})
    write_job(
        tmp_path / "d",
        n=20,
        sigma=0.1,
        defence=Defence(
            kind="noise",
            settings={"sigma": 0.1, "probability": 0.5},
            label="noise σ=0.1 on 50 % of images",
        ),
        shape={"injection.probability": 0.5},
        fingerprint="d",
    )
    names = [arm.name for arm in _study(tmp_path).arms]
    assert sorted(names) == [
        "noise σ=0.1 on 50 % of images, BN as trained, split by image",
        "noise σ=0.1, BN as trained, split by image, optimizer.lr=0.01",
        "undefended, split by image",
        "undefended, split by patient",
    ]


def test_jobs_of_one_model_unite_and_the_newest_counts(tmp_path: Path) -> None:
    target, name = [0, 0, 1, 1], "undefended"
    all_right, none_right = [True] * 4, [False] * 4
    first = {("as_trained", 0.0): all_right, ("as_trained", 1.0): none_right}
    second = {("as_trained", 0.0): all_right, ("as_trained", 2.0): [True, True, False, False]}
    third = {("as_trained", 0.0): all_right, ("as_trained", 1.0): [True, False, False, False]}
    for day, right in enumerate((third, second, first)):
        write_job(tmp_path / str(day), frame=answers(right, target), finished=f"2025-01-0{3 - day}")
    study = _study(tmp_path)
    assert [arm.name for arm in study.arms] == [name]
    assert len(study.arms[0].jobs) == 3
    values = {e: _row(study, name, e, "accuracy")["value"] for e in (0, 1, 2)}
    assert values == {0: 1, 1: 0.25, 2: 0.5}
    assert _row(study, name, 2, "sensitivity")["value"] == 0


def test_the_same_epoch_is_compared(tmp_path: Path) -> None:
    for checkpoint in ("best", "last"):
        write_job(tmp_path / checkpoint, n=20)
        rewrite(tmp_path / checkpoint, training={"checkpoint": checkpoint})
    assert [arm.name for arm in _study(tmp_path).arms] == [
        "undefended, best epoch",
        "undefended, last epoch",
    ]


def test_an_older_training_of_the_same_settings_is_left_out(tmp_path: Path) -> None:
    new = write_job(tmp_path / "new", n=20, finished="2025-02-01", shape={"code": "new"})
    write_job(
        tmp_path / "old",
        n=20,
        seed=3,
        finished="2025-01-01",
        shape={"code": "old"},
        fingerprint="old",
    )
    study = _study(tmp_path)
    assert [job.folder.name for job in study.jobs] == ["new"]
    assert len(study.left_out) == 1
    assert str(tmp_path / "old") in study.left_out[0]
    assert _row(study, "undefended", 4, "ece", 0)["value"] == new.rows[-1].metrics["ece"].value


def test_two_folders_of_images_are_two_arms(tmp_path: Path) -> None:
    for name, train in (("a", 80), ("b", 90)):
        counts = {"train": {"benign": train}, "val": {}, "test": {"benign": 10, "malignant": 10}}
        for sigma in (None, 0.1):
            write_job(
                tmp_path / f"{name}{sigma}",
                n=20,
                seed=train,
                sigma=sigma,
                data={"counts": counts},
                fingerprint=f"{name}{sigma}",
            )
    study = _study(tmp_path)
    assert sorted(arm.name for arm in study.arms) == [
        "noise σ=0.1, BN as trained, 100 images",
        "noise σ=0.1, BN as trained, 110 images",
        "undefended, 100 images",
        "undefended, 110 images",
    ]
    for row in study.comparisons.itertuples():
        assert str(row.arm)[-10:] == str(row.reference)[-10:]


def test_two_data_sets_of_one_size_are_two_arms(tmp_path: Path) -> None:
    for content, seeds in (("a", (0, 1)), ("b", (1, 2))):
        for seed in seeds:
            name = f"{content}{seed}"
            data = {"content": content}
            write_job(
                tmp_path / name, n=20, run_seed=seed, data=data, fingerprint=name, weights=name
            )
    study = _study(tmp_path)
    assert not study.left_out
    assert sorted(arm.seeds for arm in study.arms) == [(0, 1), (1, 2)]
    assert len({arm.name for arm in study.arms}) == 2


def test_epsilon_0_is_the_clean_image_once_more(tmp_path: Path) -> None:
    write_job(tmp_path / "a", n=20, eps_px=(0, 1))
    study = _study(tmp_path)
    assert set(study.measures["condition"][study.measures["strength"] == 0]) == {"clean"}


def test_one_seed_keeps_its_own_intervals(tmp_path: Path) -> None:
    result = write_job(tmp_path / "a", n=40)
    study = _study(tmp_path)
    for row in result.rows:
        if row.condition == fgsm(0).id:
            continue
        for metric in ("accuracy", "sensitivity", "auroc", "ece"):
            entry = row.metrics[metric]
            for seed in (None, 0):
                strength = result.condition_of(row).strength
                found = _row(study, "undefended", strength, metric, seed)
                assert (found["value"], found["low"], found["high"], found["kind"]) == (
                    entry.value,
                    entry.ci_low,
                    entry.ci_high,
                    entry.ci_kind,
                )
                assert found["n"] == entry.n


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[pd.DataFrame]]:
    """Two seeds of 300 images of the same 60 patients, in part the same images."""
    folder = tmp_path_factory.mktemp("seeds")
    frames = []
    for seed in (0, 1):
        frame = predictions(n=300, patients=60, seed=seed, eps_px=(1,))
        write_job(folder / str(seed), frame=frame, run_seed=seed)
        frames.append(frame)
    return _study(folder), frames


@pytest.mark.parametrize(
    "metric", ["accuracy", "robust_accuracy", "sensitivity", "specificity", "auroc"]
)
def test_seeds_together_are_their_mean_with_an_interval_by_patients(
    seeds: tuple[Study, list[pd.DataFrame]], metric: str
) -> None:
    study, frames = seeds
    found = _row(study, "undefended", 1, metric)
    each = [_row(study, "undefended", 1, metric, seed)["value"] for seed in (0, 1)]
    assert found["value"] == pytest.approx(np.mean(each))
    parts, groups = [], []
    for frame in frames:
        clean = frame[frame["condition"] == "clean"].set_index("image_id")
        attacked = frame[frame["condition"] == fgsm(1).id]
        parts.append((clean, attacked))
        groups.append(attacked["patient"])

    def mean(weights: Any) -> Any:
        values = [_measured(metric, *part, w) for part, w in zip(parts, weights, strict=True)]
        return np.mean(values, axis=0)

    # With patients enough a bootstrap over them is an independent reference.
    names, place = np.unique(np.concatenate(groups), return_inverse=True)
    ends = bootstrap(
        lambda times: mean(np.split(times[:, place], 2, axis=1)),
        len(names),
        2000,
        np.random.default_rng(5),
    )
    width = ends[1] - ends[0]
    assert found["low"] == pytest.approx(ends[0], abs=0.25 * width)
    assert found["high"] == pytest.approx(ends[1], abs=0.25 * width)
    assert width < found["high"] - found["low"] < 1.4 * width
    assert found["kind"] == f"patient {'score' if metric == 'auroc' else 'wilson'}"
    sides = {"sensitivity": [1], "specificity": [0]}.get(metric, [0, 1])
    about = [frame.loc[frame["target"].isin(sides), "patient"] for frame in frames]
    assert found["n_patients"] == pd.concat(about).nunique()


def test_the_upward_push_of_resampling_on_ece_is_taken_back(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = []
    for _ in range(2):
        # Calibrated: as often right as it says, so that nearly all of the measured ECE is chance.
        probability = random.uniform(size=60)
        target = (random.uniform(size=60) < probability).astype(int)
        frame = answers({("as_trained", 0.0): [True] * 60}, target.tolist())
        frame["prediction"] = (probability > 0.5).astype(int)
        frames.append(frame.assign(p_0=1 - probability, p_1=probability))
    for seed, frame in enumerate(frames):
        write_job(tmp_path / str(seed), frame=frame, run_seed=seed)
    found = _row(_study(tmp_path), "undefended", 0, "ece")
    assert found["value"] > 0.05
    assert found["low"] == 0
    assert found["kind"] == "patient bootstrap"
    random = np.random.default_rng(5)
    weights = random.multinomial(60, np.full(60, 1 / 60), size=2000).astype(float)
    drawn = np.mean([_measured("ece", frame, frame, weights) for frame in frames], axis=0)
    assert drawn.mean() - found["value"] > 0.02
    assert found["value"] < found["high"] < np.quantile(drawn, 0.975)


def _measured(metric: str, clean: pd.DataFrame, attacked: pd.DataFrame, w: Any) -> Any:
    """A metric from the predictions table; an independent reference."""
    target, prediction = (attacked[name].to_numpy() for name in ("target", "prediction"))
    right = prediction == target
    if metric == "auroc":
        return clinical.auroc(attacked["p_1"].to_numpy(), target == 1, w)
    if metric == "ece":
        return clinical.calibration_error(attacked[["p_0", "p_1"]].max(axis=1).to_numpy(), right, w)
    if metric == "robust_accuracy":
        before = clean.loc[attacked["image_id"], "prediction"].to_numpy()
        return (w @ (right & (before == target))) / w.sum(axis=1)
    base = {"sensitivity": target == 1, "specificity": target == 0}.get(metric, target >= 0)
    return (w @ (right & base)) / (w @ base)


def test_counts_of_seeds_are_summed_and_collapse_is_avoided(tmp_path: Path) -> None:
    target = [0] * 10 + [1] * 10
    for seed in (0, 1, 2):
        frame = answers({("as_trained", 0.0): [True] * 20}, target)
        write_job(tmp_path / str(seed), frame=frame, run_seed=seed)
    found = _row(_study(tmp_path), "undefended", 0, "accuracy")
    assert (found["k"], found["n"], found["n_patients"], found["value"]) == (60, 60, 20, 1.0)
    # Wilson's for 20 of 20, not for 60 of 60: the same images three times are no more images.
    assert found["low"] == pytest.approx(20 / (20 + t.ppf(0.975, 19) ** 2), abs=1e-5)
    assert found["high"] == 1.0


def test_the_same_image_wrong_under_each_seed_is_one_event(tmp_path: Path) -> None:
    right = [i > 1 for i in range(40)]
    for seed in (0, 1, 2):
        frame = answers({("as_trained", 0.0): right}, [i % 2 for i in range(40)])
        write_job(tmp_path / str(seed), frame=frame, run_seed=seed)
    found = _row(_study(tmp_path), "undefended", 0, "accuracy")
    # Six wrong answers, but two wrong images.
    single = rate_interval(np.array(right), np.arange(40))
    assert (found["low"], found["high"]) == pytest.approx(single)


def test_undefined_metrics_stay_undefined(tmp_path: Path) -> None:
    for seed in (0, 1):
        frame = answers({("as_trained", 0.0): [True, False, True]}, [0, 0, 0])
        write_job(tmp_path / str(seed), frame=frame, run_seed=seed)
    study = _study(tmp_path)
    metrics = study.measures[study.measures["seed"].isna()]["metric"]
    assert "sensitivity" not in set(metrics)
    assert np.isnan(_row(study, "undefended", 0, "sensitivity", 1)["value"])
    assert _row(study, "undefended", 0, "specificity")["value"] == pytest.approx(2 / 3)


def test_a_condition_of_some_seeds_is_their_mean_and_is_named(tmp_path: Path) -> None:
    for seed, eps_px in ((0, (1, 2)), (1, (1,)), (2, (1, 2))):
        write_job(tmp_path / str(seed), run_seed=seed, n=30, eps_px=eps_px, seed=seed)
    study = _study(tmp_path)
    each = [_row(study, "undefended", 2, "accuracy", seed)["value"] for seed in (0, 2)]
    assert _row(study, "undefended", 2, "accuracy")["value"] == pytest.approx(np.mean(each))
    assert _row(study, "undefended", 2, "accuracy")["n"] == 60
    [remark] = study.remarks
    assert (remark.id, remark.facts["conditions"]) == ("fewer_seeds", ["FGSM 2/255"])


def test_several_classes_and_unknown_patients(tmp_path: Path) -> None:
    positive = {"positive": (1, 3)}
    for seed in (0, 1):
        frame = predictions(n=40, patients=0, n_classes=4, seed=seed)
        write_job(tmp_path / str(seed), frame=frame, run_seed=seed, task=positive)
    study = _study(tmp_path)
    found = _row(study, "undefended", 1, "sensitivity")
    values = []
    for seed in (0, 1):
        frame = predictions(n=40, patients=0, n_classes=4, seed=seed)
        part = frame[(frame["condition"] == fgsm(1).id) & frame["target"].isin([1, 3])]
        values.append(part["prediction"].isin([1, 3]).mean())
    assert found["value"] == pytest.approx(np.mean(values))
    assert pd.isna(found["n_patients"])
    assert found["kind"] == "wilson"
    assert found["low"] < found["value"] < found["high"]
