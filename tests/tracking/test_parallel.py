"""Eight processes that start together, on SQLite and on a server: nothing is lost."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bcadv.tracking import prepare, record, store_uri
from bcadv.tracking import tracker as tracker_module
from bcadv.tracking.names import epoch_name
from tests.tracking import made

JOBS = 8
EPOCHS = 12
PROCESSES = multiprocessing.get_context("forkserver")
# Imported once, before anything is connected to, instead of eight times.
PROCESSES.set_forkserver_preload(
    [
        "mlflow",
        "mlflow.store.tracking.sqlalchemy_store",
        "bcadv.tracking.run",
        "tests.tracking.test_parallel",
    ]
)


def work(number: int, outputs: Path, uri: str | None, barrier: Barrier) -> None:
    """A job that writes every epoch by itself, which no real one does."""
    tracker_module.FLUSH_SECONDS = 0.0
    barrier.wait()
    made.run_job(outputs / "sweep" / str(number), outputs, uri=uri, epochs=EPOCHS)


def run_all(outputs: Path, uri: str | None = None) -> None:
    barrier = PROCESSES.Barrier(JOBS)
    jobs = [PROCESSES.Process(target=work, args=(i, outputs, uri, barrier)) for i in range(JOBS)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(120)
    assert [job.exitcode for job in jobs] == [0] * JOBS


def check(outputs: Path, uri: str | None = None) -> None:
    client = MlflowClient(uri or store_uri(outputs))
    experiment = client.get_experiment_by_name("sweep")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    names = [f"#{i} baseline σ=0.1 seed=0" for i in range(JOBS)]
    assert sorted(run.info.run_name for run in runs) == names
    for run in runs:
        kept = record.read(outputs / "sweep" / str(run.info.run_name)[1])
        assert kept is not None
        assert kept.runs == (record.RunRecord(uri, run.info.run_id, complete=True),)
        assert run.info.status == "FINISHED"
        assert run.data.params["sigma"] == "0.1"
        for name in made.METRICS:
            logged = client.get_metric_history(run.info.run_id, epoch_name(name))
            assert [(m.step, m.value) for m in logged] == [
                (line["epoch"], line[name]) for line in made.history(EPOCHS)
            ]
        curve = client.get_metric_history(
            run.info.run_id, "as_trained/fgsm_linf_by_1000_eps/accuracy"
        )
        assert [m.step for m in curve] == [0, 250, 1000, 8000]
        files = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert {"results.json", "predictions.parquet", ".hydra", "figures"} <= files


@pytest.mark.parametrize(
    "before",
    [lambda outputs: prepare(outputs, None, ["sweep"]), lambda outputs: None],
    ids=["prepared", "unprepared"],
)
def test_sqlite(tmp_path: Path, before: Callable[[Path], None]) -> None:
    before(tmp_path)
    run_all(tmp_path)
    check(tmp_path)


@pytest.mark.long
def test_server_with_postgresql(tmp_path: Path, server: str) -> None:
    run_all(tmp_path, server)
    check(tmp_path, server)
