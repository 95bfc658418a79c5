"""Jobs that MLflow lacks: a server that was away, or another server."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from bcadv.results.condition import CLEAN
from bcadv.results.files import digests
from bcadv.results.schema import read_result, write_result
from bcadv.tracking import record, store_uri, ui
from bcadv.tracking import tracker as tracker_module
from bcadv.tracking.__main__ import main as places
from bcadv.tracking.describe import plain
from bcadv.tracking.names import epoch_name
from bcadv.tracking.sync import _checkpoint, main
from tests.metrics.tables import fgsm
from tests.tracking import made, stores


def runs(uri: str, experiment: str = "baseline") -> list[Run]:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id]))


def everything(uri: str, experiment: str) -> object:
    """What a second synchronisation must leave as it is."""
    client = MlflowClient(uri)
    return [
        (
            run.info.run_id,
            run.info.status,
            run.data.params,
            run.data.tags,
            {
                name: [
                    (m.step, m.value, m.timestamp)
                    for m in client.get_metric_history(run.info.run_id, name)
                ]
                for name in run.data.metrics
            },
        )
        for run in runs(uri, experiment)
    ]


def refer(folder: Path, checkpoint: Path) -> None:
    """As the job does it: the model lies elsewhere, and the folder says where."""
    model = folder.parents[1] / "models" / "abc" / "last.ckpt"
    model.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(checkpoint, model)
    (folder / "model.json").write_text(
        '{"fingerprint": "abc", "checkpoint": "../../models/abc/last.ckpt"}'
    )


@pytest.fixture
def away(outputs: Path, checkpoint: Path) -> Path:
    """An output folder with a job whose server did not answer; the embedded store stands by."""
    folder = outputs / "baseline" / "it"
    made.run_job(folder, outputs, uri="http://127.0.0.1:1", sigma=0.3)
    refer(folder, checkpoint)
    return outputs


def test_a_job_is_uploaded_whole_and_once(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = store_uri(away)
    assert main(["--outputs", str(away), "--uri", uri]) == 0
    assert "1 uploaded" in capsys.readouterr().err
    [run] = runs(uri)
    assert run.info.status == "FINISHED"
    assert run.data.params["sigma"] == "0.3"
    assert run.data.tags["sweep"] == "s1"
    client = MlflowClient(uri)
    for name in made.METRICS:
        logged = client.get_metric_history(run.info.run_id, epoch_name(name))
        assert [(m.step, m.value) for m in logged] == [
            (line["epoch"], line[name]) for line in made.history(3)
        ]
    assert run.data.metrics["as_trained/fgsm_linf/accuracy_at_08"] == 0.5
    assert "model/MLmodel" in {a.path for a in client.list_artifacts(run.info.run_id, "model")}
    kept = record.read(away / "baseline" / "it")
    assert kept is not None
    assert abs(run.info.start_time - kept.started) < 1000

    before = everything(uri, "baseline")
    assert main(["--outputs", str(away), "--uri", uri]) == 0
    assert "1 there already" in capsys.readouterr().err
    assert everything(uri, "baseline") == before


def test_an_upload_makes_the_very_run_that_live_logging_makes(
    outputs: Path, empty_store: Path, checkpoint: Path
) -> None:
    folder = outputs / "baseline" / "it"
    folder.mkdir(parents=True)
    refer(folder, checkpoint)
    (folder / "summary.json").write_text('{"headline": "Falls."}')
    made.run_job(folder, outputs, checkpoint=folder.parents[1] / "models" / "abc" / "last.ckpt")
    live = shown(outputs)
    moved = outputs.with_name("moved")
    outputs.rename(moved)
    shutil.rmtree(moved / "mlartifacts")
    shutil.copy(empty_store, moved / "mlflow.db")
    assert main(["--outputs", str(moved)]) == 0
    assert shown(moved) == live


def shown(outputs: Path) -> object:
    """All that the pages tell of the only run, but for its id, place, and when metrics came."""
    uri = store_uri(outputs)
    [run] = runs(uri)
    client = MlflowClient(uri)
    metrics = {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    tags = {
        k: v.replace(run.info.run_id, "ID").replace(plain(str(outputs)), "OUTPUTS")
        for k, v in run.data.tags.items()
    }
    assert tags.pop("note_digest")  # of a text that holds the id
    model = json.loads(tags.pop("mlflow.log-model.history"))[0]
    mlflow.set_tracking_uri(uri)
    return (
        (run.info.run_name, run.info.status, run.info.start_time, run.data.params, tags, metrics),
        made.data_sets(run),
        model["flavors"]["python_function"]["loader_module"],
        {item.path for item in client.list_artifacts(run.info.run_id)},
        client.get_experiment(run.info.experiment_id).tags,
    )


def test_files_that_are_not_those_of_the_results_are_not_shown(
    away: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = away / "baseline" / "it"
    result = read_result(folder)[0].model_copy(update={"files": digests(folder)})
    (folder / "results.json").write_text(write_result(result), encoding="utf-8")
    history = folder / "history.csv"
    history.write_text(history.read_text().replace("0,", "7,", 1))
    assert main(["--outputs", str(away), "--uri", store_uri(away)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "history.csv was changed or damaged since the results were written" in said
    assert runs(store_uri(away)) == []


def test_a_server_that_is_still_away_is_said_in_a_sentence(
    away: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    assert main(["--outputs", str(away)]) != 0
    said = capsys.readouterr().err
    assert "http://127.0.0.1:1 cannot be used" in said
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1
    assert time.monotonic() - begun < 10


def test_every_kind_of_job_is_told_apart(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.run_job(outputs / "baseline" / "done", outputs)
    made.run_job(outputs / "sweeps" / "2026" / "0", outputs)
    half = outputs / "baseline" / "half"
    made.tracker(half, outputs).start({})
    made.write_files(outputs / "baseline" / "untracked")
    broken = outputs / "sweeps" / "2026" / "1"
    made.run_job(broken, outputs, uri="http://127.0.0.1:1")
    (broken / "results.json").write_text("{")
    gone = outputs / "baseline" / "gone"
    made.run_job(gone, outputs)
    kept = record.read(gone)
    assert kept is not None
    client = MlflowClient(store_uri(outputs))
    client.delete_run(kept.runs[0].run_id)
    count = len(runs(store_uri(outputs)))
    assert main(["--outputs", str(outputs), "--uri", store_uri(outputs)]) == 1
    said = capsys.readouterr().err
    for part in (
        "2 there already",
        "1 deleted in MLflow",
        "1 not finished",
        "1 run without tracking",
        "1 failed",
        str(broken),
    ):
        assert part in said
    assert len(runs(store_uri(outputs))) == count


def test_new_results_that_a_store_missed_are_uploaded(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The job is measured again, by other code, while its store is away."""
    folder = outputs / "baseline" / "it"
    made.run_job(folder, outputs, tags={"git_commit": "old"})

    def away(*_: object) -> None:
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(tracker_module, "connect", away)
        new = [made.result_row(CLEAN), made.result_row(fgsm(8), accuracy=0.25)]
        made.run_job(folder, outputs, tags={"git_commit": "new"}, rows=new)
    uri = store_uri(outputs)
    assert runs(uri)[0].data.tags["git_commit"] == "old"
    assert main(["--outputs", str(outputs)]) == 0
    assert "1 uploaded" in capsys.readouterr().err
    [run] = runs(uri)
    assert run.data.tags["git_commit"] == "new"
    assert run.data.metrics["as_trained/fgsm_linf/accuracy_at_08"] == 0.25


@pytest.mark.parametrize(
    ("how", "asked"),
    [(shutil.move, "bcadv ui"), (shutil.move, "bcadv.tracking"), (shutil.copytree, "")],
)
def test_the_embedded_store_finds_its_files_in_another_place(
    outputs: Path,
    how: Callable[[Path, Path], object],
    asked: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made.run_job(outputs / "base line" / "it", outputs)
    moved = outputs.with_name(f"{outputs.name} moved")
    how(outputs, moved)
    left = sorted(outputs.rglob("*"))
    if asked == "bcadv.tracking":
        assert places([str(moved)]) == 0
    elif asked:
        monkeypatch.setattr("os.execve", lambda *_: None)  # the server itself
        ui.run({"outputs": moved, "port": stores.free_port()}, [])
    else:
        made.run_job(moved / "base line" / "other", moved)
    client = MlflowClient(store_uri(moved))
    run = runs(store_uri(moved), "base line")[-1]
    assert run.info.run_name == "baseline σ=0.1 seed=0"
    assert "results.json" in {item.path for item in client.list_artifacts(run.info.run_id)}
    assert run.info.artifact_uri.startswith(moved.as_uri())
    assert sorted(outputs.rglob("*")) == left


def test_a_store_that_was_removed_is_filled_again(
    outputs: Path, empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.run_job(outputs / "sweeps" / "2026" / "0", outputs)
    moved = outputs.with_name("moved")
    outputs.rename(moved)
    shutil.copy(empty_store, moved / "mlflow.db")
    assert main(["--outputs", str(moved)]) == 0
    assert "1 uploaded" in capsys.readouterr().err
    [run] = runs(store_uri(moved), "2026")
    assert run.info.status == "FINISHED"


def test_a_folder_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--outputs", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err


def test_no_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--outputs", str(tmp_path)]) == 0
    assert "no jobs" in capsys.readouterr().err


@pytest.mark.long
def test_a_server_lost_in_the_middle(
    tmp_path: Path,
    wire: stores.Wire,
    server: str,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tracker_module, "FLUSH_SECONDS", 0.0)
    experiment = f"lost_{uuid4().hex}"
    folder = tmp_path / experiment / "it"
    tracker = made.tracker(folder, tmp_path, uri=wire.url)
    tracker.start(made.params())
    for line in made.history(2):
        tracker.epoch(line)
    wire.cut()
    begun = time.monotonic()
    for line in made.history(5)[2:]:
        tracker.epoch(line)
    results = made.write_files(folder, 5)
    refer(folder, checkpoint)
    tracker.finish(made.params(), made.history(5), results, checkpoint)
    assert time.monotonic() - begun < 10
    assert len(caplog.records) == 1
    [run] = runs(server, experiment)
    assert run.info.status == "RUNNING"

    wire.mend()
    for _ in range(2):
        assert main(["--outputs", str(tmp_path)]) == 0
        [run] = runs(server, experiment)
        assert run.info.status == "FINISHED"
        client = MlflowClient(server)
        for name in made.METRICS:
            logged = client.get_metric_history(run.info.run_id, epoch_name(name))
            assert [m.step for m in logged] == [0, 1, 2, 3, 4]
        assert "model" in {item.path for item in client.list_artifacts(run.info.run_id)}
    # Brought to another store as well, and from then on known there.
    for said in ("uploaded", "there already"):
        assert main(["--outputs", str(tmp_path), "--uri", store_uri(tmp_path)]) == 0, said
    assert len(runs(store_uri(tmp_path), experiment)) == 1


@pytest.mark.long
def test_a_server_that_hangs_holds_nobody_up(
    tmp_path: Path, wire: stores.Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(tracker_module, "FLUSH_SECONDS", 0.0)
    folder = tmp_path / f"hangs_{uuid4().hex}" / "it"
    tracker = made.tracker(folder, tmp_path, uri=wire.url)
    tracker.start(made.params())
    assert tracker.alive
    wire.hang()
    begun = time.monotonic()
    for line in made.history(50):
        tracker.epoch(line)
    tracker.finish(made.params(), made.history(50), made.results())
    # A timeout when an epoch is logged and one at the end.
    assert time.monotonic() - begun < 5
    assert not tracker.alive


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '"text"', '{"checkpoint": null}'])
def test_a_damaged_reference_is_none(tmp_path: Path, text: str) -> None:
    """The results are uploaded without the model, as where it was removed from the store."""
    (tmp_path / "model.json").write_text(text)
    assert _checkpoint(tmp_path) is None
