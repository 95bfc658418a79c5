"""One job and its run."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Run
from mlflow.store.tracking.dbmodels.models import SqlDataset
from sqlalchemy import event
from sqlalchemy.orm import Session

from bcadv.models.classifier import Classifier
from bcadv.results.condition import CLEAN
from bcadv.sections import TrackingConfig
from bcadv.tracking import Tracker, prepare, record, store_uri
from bcadv.tracking import tracker as tracker_module
from bcadv.tracking.names import epoch_name
from tests.metrics.tables import fgsm
from tests.tracking import made


def client_of(outputs: Path) -> MlflowClient:
    # What lists the artifacts of a model reads the global address, not the client's.
    mlflow.set_tracking_uri(store_uri(outputs))
    return MlflowClient(store_uri(outputs))


def runs(outputs: Path, experiment: str = "baseline") -> list[Run]:
    client = client_of(outputs)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id]))


def steps(outputs: Path, run: Run, name: str) -> list[int]:
    return [m.step for m in client_of(outputs).get_metric_history(run.info.run_id, name)]


def files(client: MlflowClient, run: Run, path: str | None = None) -> set[str]:
    names: set[str] = set()
    for item in client.list_artifacts(run.info.run_id, path):
        names |= files(client, run, item.path) if item.is_dir else {item.path}
    return names


def test_importing_it_is_light() -> None:
    code = "import sys, bcadv.tracking; print([m for m in sys.modules if m in " + (
        "('mlflow', 'torch', 'numpy', 'pandas')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds one finished job."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def job(done: Path, checkpoint: Path) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(done)
        made.run_job(done / "baseline" / "it", done, checkpoint=checkpoint)
    [run] = runs(done)
    return run


def test_the_run_says_what_was_done(job: Run, done: Path) -> None:
    assert job.info.status == "FINISHED"
    assert job.info.run_name == "baseline σ=0.1 seed=0"
    assert job.data.params["sigma"] == "0.1"
    assert job.data.params["data.augment"] == "['crop']"
    assert job.data.tags["sweep"] == "s1"
    assert steps(done, job, "by_epoch/val_loss") == [0, 1, 2]
    assert steps(done, job, "as_trained/fgsm_linf_by_1000_eps/accuracy") == [0, 250, 1000, 8000]
    assert job.data.metrics["as_trained/fgsm_linf/accuracy_at_00.25"] == 1 - 0.25 / 16
    kept = record.read(done / "baseline" / "it")
    assert kept is not None
    assert kept.runs == (record.RunRecord(None, job.info.run_id, complete=True),)


def test_its_files_are_there_and_its_checkpoints_are_not(job: Run, done: Path) -> None:
    names = files(client_of(done), job)
    assert {name for name in names if not name.startswith("model/")} == {
        ".hydra/config.yaml",
        "results.json",
        "predictions.parquet",
        "split.csv",
        "history.csv",
        "report.html",
        "figures/robustness_curve.svg",
    }


def test_the_model_is_one_of_its_artifacts_without_the_optimisers_state(
    job: Run, done: Path, checkpoint: Path
) -> None:
    names = files(client_of(done), job, "model")
    assert {"model/MLmodel", "model/requirements.txt", "model/code/bcadv/errors.py"} <= names
    [weights] = done.rglob("weights.ckpt")
    kept = torch.load(weights, weights_only=True)
    whole = torch.load(checkpoint, weights_only=True)
    assert set(kept) & {"optimizer_states", "callbacks"} == set()
    assert all(torch.equal(kept["state_dict"][k], v) for k, v in whole["state_dict"].items())
    Classifier.load_from_checkpoint(weights, weights_only=True)


def test_nothing_is_left_in_the_current_folder(job: Run, done: Path) -> None:
    assert {p.name for p in done.iterdir()} <= {
        "baseline",
        "mlartifacts",
        "mlflow.db",
        ".mlflow.lock",
    }


def test_what_mlflows_pages_show_of_a_run_is_filled(job: Run, done: Path) -> None:
    assert job.data.tags["mlflow.source.name"] == "python -m bcadv.run"
    assert job.data.tags["mlflow.source.git.commit"] == made.COMMIT
    note = job.data.tags["mlflow.note.content"]
    assert f"runs/{job.info.run_id}/artifacts/report.html)" in note
    assert "50.0 % at ε = 8/255 (FGSM)" in note
    assert "headline" not in job.data.tags
    sets = {one["tags"]["mlflow.data.context"]: one["dataset"] for one in made.data_sets(job)}
    assert set(sets) == {"training", "validation", "testing"}
    assert (sets["testing"]["name"], sets["testing"]["digest"]) == ("breakhis test", "c" * 12)
    assert json.loads(sets["testing"]["profile"])["num_rows"] == 60
    experiment = client_of(done).get_experiment(job.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert "accuracy_at_02" in experiment.tags["mlflow.note.content"]


def test_the_headline_of_the_report_is_the_runs(outputs: Path) -> None:
    folder = outputs / "baseline" / "it"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text('{"headline": "Falls from 100 % to 50 %."}')
    made.run_job(folder, outputs)
    [run] = runs(outputs)
    assert run.data.tags["headline"] == "Falls from 100 % to 50 %."
    assert "**Answer.** Falls from 100 % to 50 %." in run.data.tags["mlflow.note.content"]
    assert "summary.json" in files(client_of(outputs), run)


def test_a_description_that_a_person_wrote_is_left_alone(outputs: Path) -> None:
    folder = outputs / "baseline" / "it"
    made.run_job(folder, outputs)
    rows = [made.result_row(CLEAN), made.result_row(fgsm(8), accuracy=0.25)]
    made.run_job(folder, outputs, rows=rows)
    [run] = runs(outputs)
    assert "25.0 % at ε = 8/255" in run.data.tags["mlflow.note.content"]
    client_of(outputs).set_tag(run.info.run_id, "mlflow.note.content", "mine")
    made.run_job(folder, outputs)
    assert runs(outputs)[0].data.tags["mlflow.note.content"] == "mine"


def test_jobs_of_a_sweep_share_an_experiment_and_its_names(outputs: Path) -> None:
    for number, sigma in enumerate((0.0, 0.2)):
        made.run_job(outputs / "sweeps" / "2026" / str(number), outputs, sigma=sigma)
    found = sorted(runs(outputs, "2026"), key=lambda run: str(run.info.run_name))
    assert [run.info.run_name for run in found] == [
        "#0 baseline σ=0 seed=0",
        "#1 baseline σ=0.2 seed=0",
    ]
    one, other = found
    assert set(one.data.metrics) == set(other.data.metrics)
    assert set(one.data.params) == set(other.data.params)


def copied(row: SqlDataset) -> Dataset:
    """What a row in MLflow's database was made from."""
    names = ("source_type", "source", "schema", "profile")
    rest = [str(getattr(row, f"dataset_{name}")) for name in names]
    return Dataset(str(row.name), str(row.digest), *rest)


def test_two_jobs_that_end_at_once_share_their_data_sets(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The other one writes them where MLflow has looked for them in vain and is about to."""
    made.run_job(outputs / "sweep" / "0", outputs)
    [other] = runs(outputs, "sweep")
    raced: list[None] = []

    def other_is_quicker(session: Session, context: object, instances: object) -> None:
        new = [one for one in session.new if isinstance(one, SqlDataset)]
        if new and not raced:
            raced.append(None)
            given = [DatasetInput(copied(one), []) for one in new]
            client_of(outputs).log_inputs(other.info.run_id, given)

    event.listen(Session, "before_flush", other_is_quicker)
    try:
        # Of other images, which the first job does not know.
        monkeypatch.setattr(made, "CONTENT", {"train": "d" * 64, "test": "e" * 64})
        made.run_job(outputs / "sweep" / "1", outputs)
    finally:
        event.remove(Session, "before_flush", other_is_quicker)
    assert raced
    assert not caplog.records
    kept = record.read(outputs / "sweep" / "1")
    assert kept is not None
    assert [run.complete for run in kept.runs] == [True]
    [late] = [run for run in runs(outputs, "sweep") if run.info.run_id != other.info.run_id]
    assert len(made.data_sets(late)) == 2


def test_resuming_goes_on_with_the_run_and_logs_no_epoch_twice(outputs: Path) -> None:
    folder = outputs / "baseline" / "it"
    first = made.tracker(folder, outputs)
    first.start(made.params(0.1))
    for line in made.history(2):
        first.epoch(line)
    first.interrupt()
    [run] = runs(outputs)
    assert run.info.status == "KILLED"
    assert steps(outputs, run, "by_epoch/train_loss") == [0, 1]

    second = made.tracker(folder, outputs)
    changed = made.params(0.2) | {"new": 1, "resume": True}
    second.start(changed)
    assert runs(outputs)[0].info.status == "RUNNING"
    second.epoch(made.history(3)[2])
    second.finish(changed, made.history(3), made.results())
    [run] = runs(outputs)
    assert run.info.status == "FINISHED"
    for name in made.METRICS:
        assert steps(outputs, run, epoch_name(name)) == [0, 1, 2]
    assert run.data.params["sigma"] == "0.1"
    assert run.data.params["new"] == "1"
    assert json.loads(run.data.tags["param_drift"]) == {"sigma": ["0.1", "0.2"]}
    made.tracker(folder, outputs).start(made.params(0.1))
    assert "param_drift" not in runs(outputs)[0].data.tags


def test_finishing_twice_changes_nothing(outputs: Path, checkpoint: Path) -> None:
    folder = outputs / "baseline" / "it"

    def state() -> Any:
        [run] = runs(outputs)
        counts = {name: steps(outputs, run, name) for name in run.data.metrics}
        tags = {k: v for k, v in run.data.tags.items() if k != "mlflow.log-model.history"}
        shown = (run.info.run_name, run.data.params, tags, made.data_sets(run))
        return run.info.run_id, shown, counts, files(client_of(outputs), run)

    made.run_job(folder, outputs, checkpoint=checkpoint)
    before = state()
    made.run_job(folder, outputs, checkpoint=checkpoint)
    assert state() == before


def test_a_run_whose_id_was_lost_in_a_crash_is_found_again(outputs: Path) -> None:
    folder = outputs / "baseline" / "it"
    made.tracker(folder, outputs).start({})
    kept = record.read(folder)
    assert kept is not None
    record.Record(**(kept.__dict__ | {"runs": ()})).write(folder)
    made.tracker(folder, outputs).start({})
    assert len(runs(outputs)) == 1


def test_a_failure_is_a_status_and_its_reason_a_tag_until_it_is_mended(outputs: Path) -> None:
    folder = outputs / "baseline" / "it"
    tracker = made.tracker(folder, outputs)
    tracker.start({})
    tracker.epoch({"epoch": 0, "train_loss": 1.0})
    tracker.fail("no space left")
    [run] = runs(outputs)
    assert (run.info.status, run.data.tags["failure"]) == ("FAILED", "no space left")
    assert run.data.metrics["by_epoch/train_loss"] == 1.0
    made.run_job(folder, outputs)
    [run] = runs(outputs)
    assert run.info.status == "FINISHED"
    assert "failure" not in run.data.tags


def test_epochs_are_written_together_but_within_seconds(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 100.0
    monkeypatch.setattr("bcadv.tracking.tracker.monotonic", lambda: clock)
    tracker = made.tracker(outputs / "baseline" / "it", outputs)
    tracker.start({})
    assert tracker.run is not None
    batches: list[int] = []
    log_batch = tracker.run.client.log_batch

    def counted(run_id: str, **what: Any) -> None:
        batches.append(len(what["metrics"]))
        log_batch(run_id, **what)

    monkeypatch.setattr(tracker.run.client, "log_batch", counted)
    for line in made.history(20):
        clock += tracker_module.FLUSH_SECONDS / 4
        tracker.epoch(line)
    assert batches == [20] * 5
    for line in made.history(22)[20:]:  # epochs that take their time are seen at once
        clock += 60
        tracker.epoch(line)
    assert batches[5:] == [5, 5]


def test_a_password_in_the_address_is_shown_nowhere(
    outputs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = outputs / "baseline" / "it"
    uri = "http://me:secret@127.0.0.1:1"
    tracker = made.tracker(folder, outputs, uri=uri)
    tracker.start(made.params() | {"tracking": {"uri": uri}})
    assert not tracker.alive
    assert "127.0.0.1" in caplog.text
    assert "secret" not in caplog.text
    assert "secret" not in (folder / record.RUN_FILE).read_text()


def test_a_store_that_cannot_be_used_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(tmp_path, "http://127.0.0.1:1", ["baseline"])
    assert len(caplog.records) == 1
    caplog.clear()
    folder = tmp_path / "baseline" / "it"
    made.run_job(folder, tmp_path, uri="http://127.0.0.1:1")
    [said] = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "could not begin a run" in said.getMessage()
    assert "bcadv.tracking.sync" in said.getMessage()
    kept = record.read(folder)
    assert kept is not None
    assert kept.runs == ()


def test_a_store_lost_on_the_way_is_said_once_and_made_up_for(
    outputs: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_module, "FLUSH_SECONDS", 0.0)
    tracker = made.tracker(outputs / "baseline" / "it", outputs)
    tracker.start({})
    assert tracker.run is not None

    def gone(*_: object, **__: object) -> None:
        raise ConnectionError("connection refused")

    tracker.epoch(made.history(1)[0])
    monkeypatch.setattr(tracker.run.client, "log_batch", gone)
    for line in made.history(4)[1:]:
        tracker.epoch(line)
    assert not tracker.alive
    tracker.finish(made.params(), made.history(5), made.results())
    [said] = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "connection refused" in said.getMessage()
    [run] = runs(outputs)
    assert steps(outputs, run, "by_epoch/train_loss") == [0, 1, 2, 3, 4]
    assert run.info.status == "FINISHED"


def test_without_tracking_nothing_is_written(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path / "it", tmp_path, TrackingConfig(enabled=False), {})
    tracker.start({})
    tracker.epoch({"epoch": 0, "train_loss": 1.0})
    tracker.finish({}, [], made.results())
    tracker.interrupt()
    assert list(tmp_path.iterdir()) == []
