"""Whole jobs: images to results, killed and resumed, with and without a tracking server."""

from __future__ import annotations

import math
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from bcadv.data.datamodule import ImageDataModule
from bcadv.job import Outcome, run
from bcadv.metrics.intervals import wilson
from bcadv.metrics.patients import RECOGNITION
from bcadv.models.classifier import Classifier
from bcadv.report.__main__ import main as report
from bcadv.results.condition import CLEAN, REPEATED
from bcadv.results.schema import Row, read_result, write_result
from bcadv.store.models import Store
from bcadv.tracking import record, store_uri
from tests.jobs import model_of, tiny_config, undrawn


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def defense(outputs: Path) -> Outcome:
    """One job of the main experiment, tracked."""
    return run(tiny_config(outputs, "+experiment=defense"), outputs / "defense" / "it")


def test_every_file_is_there(defense: Outcome) -> None:
    names = {str(p.relative_to(defense.folder)) for p in defense.folder.rglob("*") if p.is_file()}
    assert {
        "results.json",
        "predictions.parquet",
        "split.csv",
        "history.csv",
        "examples.npz",
        "gallery.npz",
        "model.json",
        "summary.json",
        "report.html",
        "figures/accuracy_fgsm_linf.svg",
        "figures/synthetic_fig6_attacked_1.png",
    } <= names
    written = (defense.folder / "results.json").read_text()
    assert written == write_result(defense.result) == write_result(read_result(defense.folder)[0])


def row_of(outcome: Outcome, condition: str, variant: str = "as_trained") -> Row:
    """The numbers of a job under one condition."""
    [found] = [r for r in outcome.result.rows if (r.batchnorm, r.condition) == (variant, condition)]
    return found


def test_the_results_say_what_was_done_to_what(defense: Outcome) -> None:
    result = defense.result
    assert result.data.synthetic is True
    assert result.model.defence.kind == "noise"
    assert result.model.defence.settings["sigma"] == 0.1
    assert result.model.architecture == "densenet (growth 8, blocks 2-2, 8 channels)"
    assert result.task.positive_name == "malignant"
    assert result.data.overlap["sentence"]
    assert result.data.content is not None
    expected = {
        (variant, condition)
        for variant in ("as_trained", "clean")
        for condition in (
            "clean",
            "fgsm_linf_0",
            "fgsm_linf_1",
            "fgsm_linf_8",
            "gaussian_0.1",
        )
    }
    assert {(row.batchnorm, row.condition) for row in result.rows} == expected
    assert {c.id for c in result.conditions} == {condition for _, condition in expected}
    same = [f for f in result.findings if f.id == "same_answers"]
    assert [(f.batchnorm, f.outcome) for f in same] == [("as_trained", "ok"), ("clean", "ok")]
    leak = next(f for f in result.findings if f.id == "leakage")
    assert leak.outcome == "failed"
    assert leak.evidence == result.data.overlap["sentence"]
    assert set(result.files) == {
        "predictions.parquet",
        "split.csv",
        "history.csv",
        "examples.npz",
        "gallery.npz",
    }


def test_the_metrics_are_those_of_the_predictions(defense: Outcome) -> None:
    table = pd.read_parquet(defense.folder / "predictions.parquet")
    for row in defense.result.rows:
        part = table[(table["batchnorm"] == row.batchnorm) & (table["condition"] == row.condition)]
        right = int((part["target"] == part["prediction"]).sum())
        accuracy = row.metrics["accuracy"]
        assert accuracy.k == right
        assert accuracy.n == len(part) == sum(defense.result.data.counts["test"].values())
        assert accuracy.value is not None
        assert math.isclose(accuracy.value, right / len(part))
        low, high = wilson(right, len(part))[:2]
        assert (accuracy.wilson_low, accuracy.wilson_high) == pytest.approx((low, high))
        assert accuracy.ci_low is not None
        assert accuracy.ci_high is not None
        assert accuracy.ci_low <= accuracy.value <= accuracy.ci_high
        shares = (part["target"] == part["prediction"]).groupby(part["patient"]).mean()
        recognition = row.metrics[RECOGNITION]
        assert recognition.value == pytest.approx(shares.mean())
        assert recognition.n == part["patient"].nunique() == row.n_patients


def test_the_predictions_are_those_of_the_checkpoint(defense: Outcome, outputs: Path) -> None:
    """Recomputed outside of the Trainer, from the checkpoint and the split file alone."""
    config = tiny_config(outputs, "+experiment=defense")
    data = ImageDataModule(config.data, config.paths.cache, config.seed)
    data.prepare()
    split = pd.read_csv(defense.folder / "split.csv")
    tested = split.loc[split["split"] == "test", "image_id"]
    model = Classifier.load_from_checkpoint(
        model_of(defense.folder).checkpoint("last"), weights_only=True
    ).eval()
    table = pd.read_parquet(defense.folder / "predictions.parquet")
    clean = table[(table["condition"] == CLEAN.id) & (table["batchnorm"] == "as_trained")]
    assert sorted(clean["image_id"]) == sorted(tested)
    by_id = {record.image_id: i for i, record in enumerate(data.records)}
    found = clean.set_index("image_id")["p_1"]
    for name in tested:
        i = by_id[name]
        height, width = data.images.heights[i], data.images.widths[i]
        top, left = (height - 32) // 2, (width - 32) // 2
        crop = data.images.image(i)[top : top + 32, left : left + 32]
        image = torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            expected = model.net(image).softmax(1)[0, 1].item()
        assert abs(found[name] - expected) < 1e-4


def test_batchnorm_statistics_are_a_variable_and_the_weights_are_not(defense: Outcome) -> None:
    table = pd.read_parquet(defense.folder / "predictions.parquet")
    clean = table[table["condition"] == CLEAN.id].set_index(["batchnorm", "image_id"])["p_1"]
    assert not np.allclose(clean["as_trained"], clean["clean"], atol=1e-3)


def test_mlflow_has_one_run_with_all_of_it(defense: Outcome, outputs: Path) -> None:
    client = MlflowClient(store_uri(outputs))
    experiment = client.get_experiment_by_name("defense")
    assert experiment is not None
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["sigma"] == "0.1"
    assert found.data.params["data.source"] == "synthetic"
    assert found.data.tags["synthetic"] == "true"
    losses = client.get_metric_history(found.info.run_id, "by_epoch/train_loss")
    assert [metric.step for metric in losses] == [0, 1]
    accuracy = client.get_metric_history(
        found.info.run_id, "as_trained/fgsm_linf_by_1000_eps/accuracy"
    )
    values = [metric.value for metric in sorted(accuracy, key=lambda metric: metric.step)]
    rows = [row_of(defense, f"fgsm_linf_{px}") for px in (0, 1, 8)]
    assert values == pytest.approx([row.metrics["accuracy"].value for row in rows])
    assert found.data.tags["defence"] == "noise σ=0.1"
    names = {item.path for item in client.list_artifacts(found.info.run_id)}
    assert {"results.json", "predictions.parquet", "split.csv", "figures", "model"} <= names


def test_the_model_in_mlflow_answers_as_the_job_did(defense: Outcome, outputs: Path) -> None:
    kept = record.read(defense.folder)
    assert kept is not None
    mlflow.set_tracking_uri(store_uri(outputs))
    loaded = mlflow.pyfunc.load_model(f"runs:/{kept.runs[0].run_id}/model")
    table = pd.read_parquet(defense.folder / "predictions.parquet")
    split = pd.read_csv(defense.folder / "split.csv").set_index("image_id")
    for batchnorm in ("as_trained", "clean"):
        clean = table[(table["condition"] == CLEAN.id) & (table["batchnorm"] == batchnorm)]
        paths = [str(split["path"][name]) for name in clean["image_id"]]
        answers = loaded.predict(paths, params={"batchnorm": batchnorm})
        found = answers[list(defense.result.task.classes)].to_numpy()
        np.testing.assert_allclose(found, clean[["p_0", "p_1"]].to_numpy(), atol=1e-5)


@pytest.mark.usefixtures("undrawn")
def test_a_dead_tracking_server_costs_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config(
        tmp_path, "tracking.uri=http://127.0.0.1:1", "trainer.max_epochs=1", "eps_px=[0,8]"
    )
    result = run(config, tmp_path / "it")
    assert result.result.clean_rows()[0].metrics["accuracy"].n > 0
    assert "could not begin a run" in caplog.text


def test_a_job_is_done_when_its_numbers_are_written_and_drawn_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("an odd font")

    config = tiny_config(tmp_path, "trainer.max_epochs=1", "eps_px=8")
    folder = tmp_path / "baseline" / "it"
    folder.mkdir(parents=True)
    for name in ("report.html", "summary.json"):
        (folder / name).write_text('{"headline": "of earlier results"}')
    with monkeypatch.context() as patch, caplog.at_level("WARNING"):
        patch.setattr("bcadv.job.write_report", broken)
        run(config, folder)
    [said] = [message for message in caplog.messages if "an odd font" in message]
    assert f"python -m bcadv.report runs={folder}" in said
    assert read_result(folder)[0].rows
    client = MlflowClient(store_uri(tmp_path))
    experiments = [each.experiment_id for each in client.search_experiments()]
    [tracked] = client.search_runs(experiments)
    assert tracked.info.status == "FINISHED"
    assert "of earlier results" not in tracked.data.tags["mlflow.note.content"]
    assert not (folder / "report.html").exists()
    page = tmp_path / "later"
    assert report([f"runs={folder}", f"out={page}"]) == 0
    assert (page / "report.html").is_file()


def test_without_numbers_a_job_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    config = tiny_config(tmp_path, "trainer.max_epochs=1", "eps_px=8")
    with monkeypatch.context() as patch:
        patch.setattr("bcadv.job.result_of", full)
        with pytest.raises(OSError, match="No space left"):
            run(config, tmp_path / "baseline" / "it")
    assert not (tmp_path / "baseline" / "it" / "results.json").exists()
    client = MlflowClient(store_uri(tmp_path))
    experiments = [each.experiment_id for each in client.search_experiments()]
    [tracked] = client.search_runs(experiments)
    assert tracked.info.status == "FAILED"


@pytest.fixture(scope="module")
def two_attacks(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One job with two attacks in two norms, undrawn."""
    outputs = tmp_path_factory.mktemp("attacks")
    config = tiny_config(
        outputs,
        "attacks=[fgsm,pgd]",
        "attack.pgd.steps=4",
        "evaluation.norm=[inf,2]",
        "eps_px=[2,8]",
        "eps_l2=[0.5,1]",
        "trainer.max_epochs=1",
        "tracking.enabled=false",
    )
    with undrawn():
        return run(config, outputs / "it")


def test_two_attacks_and_two_norms_in_one_job(two_attacks: Outcome) -> None:
    result = two_attacks.result
    attacks = [c for c in result.conditions if c.kind == "attack"]
    assert {(c.name, c.norm) for c in attacks} == {
        (name, norm) for name in ("fgsm", "pgd") for norm in ("inf", "2")
    }
    assert {c.strength for c in attacks if c.norm == "2"} == {0.5, 1}
    assert {c.settings["steps"] for c in attacks if c.name == "pgd"} == {4}
    right = {row.condition: row.metrics["accuracy"].k or 0 for row in result.rows}
    assert right[CLEAN.id] == right[REPEATED.id]
    by_key = {(c.name, str(c.norm), c.strength): right[c.id] for c in attacks}
    for norm, strengths in (("inf", (2, 8)), ("2", (0.5, 1))):
        for strength in strengths:
            assert by_key["pgd", norm, strength] <= by_key["fgsm", norm, strength]


@pytest.mark.long
def test_the_page_of_two_attacks_and_two_norms(two_attacks: Outcome, tmp_path: Path) -> None:
    assert report([f"runs={two_attacks.folder}", f"out={tmp_path}"]) == 0
    assert "PGD" in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_noisy_statistics_and_other_options_run(tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path,
        "+experiment=defense",
        "batchnorm=noisy",
        "injection.probability=0.5",
        "injection.perturbation=gaussian_clipped",
        "evaluation.norm=2",
        "data.target=subtype",
        "trainer.weight_averaging=0.9",
        "trainer.checkpoint=best",
        "tracking.enabled=false",
    )
    result = run(config, tmp_path / "it").result
    assert {(c.name, c.norm) for c in result.conditions if not c.clean} == {
        ("fgsm", "2"),
        ("gaussian_clipped", None),
    }
    assert len(result.task.classes) > 2
    assert result.model.defence.label == "noise σ=0.1, clipped on 50 % of images"

    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_model_is_trained_once(tmp_path: Path) -> None:
    quick = ("+experiment=defense", "trainer.max_epochs=1", "tracking.enabled=false")
    first = run(tiny_config(tmp_path, *quick, "eps_px=1"), tmp_path / "defense" / "first")
    second = run(tiny_config(tmp_path, *quick, "eps_px=8"), tmp_path / "defense" / "second")
    assert [r.result.training.reused for r in (first, second)] == [False, True]
    assert first.result.training.fingerprint == second.result.training.fingerprint
    assert len(Store(tmp_path).entries()) == 1
    for name in ("history.csv", "split.csv"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    clean = [pd.read_parquet(r.folder / "predictions.parquet") for r in (first, second)]
    one, two = (table[table["condition"] == CLEAN.id].reset_index(drop=True) for table in clean)
    pd.testing.assert_frame_equal(one, two)

    before = model_of(first.folder).checkpoint("last").stat().st_mtime_ns
    anew = run(tiny_config(tmp_path, *quick, "reuse=false"), tmp_path / "defense" / "third")
    assert anew.result.training.reused is False
    assert (anew.folder / "model" / "last.ckpt").is_file()
    assert model_of(first.folder).checkpoint("last").stat().st_mtime_ns == before


@pytest.mark.shared_data
@pytest.mark.long
def test_the_whole_path_on_real_images(tmp_path: Path, shared_data: Path) -> None:
    result = run(
        tiny_config(
            tmp_path,
            "data.resize=32",
            "model.weights=null",
            "trainer.max_epochs=1",
            "tracking.enabled=false",
            data=(
                "data=breakhis",
                f"data.root={shared_data / 'breakhis_100x_original'}",
                "data.subtypes=all",
            ),
        ),
        tmp_path / "it",
    )
    assert result.result.data.synthetic is False
    assert sum(sum(part.values()) for part in result.result.data.counts.values()) == 48
