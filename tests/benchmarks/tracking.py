"""What it costs that eight jobs at once log to one SQLite store, and whether anything is lost.

The epochs are pauses of a fixed length, as if the work were done elsewhere: eight trainings would
slow each other down on this machine, and that is not what is measured. Imports are done before the
clock starts; beginning the run, logging, and ending it are on the clock.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory

from bcadv.sections import TrackingConfig
from bcadv.tracking import Tracker, prepare, store_uri
from bcadv.tracking.names import epoch_name
from tests.benchmarks.measure import Options, Row, Timed
from tests.results.made import result

NAMES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")
EXPERIMENT = "benchmark"
PROCESSES = multiprocessing.get_context("forkserver")
PRELOAD = ("mlflow", "mlflow.store.tracking.sqlalchemy_store", "bcadv.tracking.run")
"""Imported once instead of by every process; nothing is connected to."""


@dataclass(frozen=True)
class Plan:
    """How much is logged: five metrics per epoch."""

    jobs: int
    epochs: int
    epoch_seconds: float


def history(plan: Plan) -> Iterator[dict[str, float]]:
    """A row per epoch, after the time that the epoch takes."""
    for epoch in range(plan.epochs):
        time.sleep(plan.epoch_seconds)
        yield {"epoch": epoch, **{name: 1 / (1 + epoch + k) for k, name in enumerate(NAMES)}}


def job(
    plan: Plan, outputs: Path, number: int | None, barrier: Barrier, took: SimpleQueue[float]
) -> None:
    """One job; without a number it logs nowhere."""
    # Off the clock: mlflow imports and maps its tables when a store is first used.
    prepare(outputs, None, [EXPERIMENT])
    config = TrackingConfig(enabled=number is not None, experiment=EXPERIMENT)
    tracker = Tracker(outputs / EXPERIMENT / str(number), outputs, config, {})
    results = result()
    rows = []
    barrier.wait()
    begun = time.perf_counter()
    tracker.start({"seed": number})
    for row in history(plan):
        tracker.epoch(row)
        rows.append(row)
    tracker.finish({}, rows, results)
    took.put(time.perf_counter() - begun)


def run_jobs(plan: Plan, outputs: Path, numbers: list[int | None]) -> float:
    """Seconds that the slowest of some jobs took which began together.

    Raises:
        RuntimeError: a job failed.
    """
    barrier, took = PROCESSES.Barrier(len(numbers)), PROCESSES.SimpleQueue()
    jobs = [
        PROCESSES.Process(target=job, args=(plan, outputs, number, barrier, took))
        for number in numbers
    ]
    for process in jobs:
        process.start()
    for process in jobs:
        process.join()
    if any(process.exitcode for process in jobs):
        raise RuntimeError(f"jobs ended with {[process.exitcode for process in jobs]}")
    seconds: list[float] = [took.get() for _ in jobs]
    return max(seconds)


def logged(outputs: Path) -> int:
    """Metrics in the store."""
    from mlflow import MlflowClient

    client = MlflowClient(store_uri(outputs))
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return 0
    runs = client.search_runs([experiment.experiment_id])
    names = [epoch_name(name) for name in NAMES]
    return sum(
        len(client.get_metric_history(run.info.run_id, name)) for run in runs for name in names
    )


def run(options: Options) -> Iterator[Row]:
    """Eight tracked jobs against one that logs nowhere."""
    plan = Plan(2, 10, 0.02) if options.small else Plan(8, 100, 0.1)
    PROCESSES.set_forkserver_preload([*PRELOAD, __name__])
    alone: list[float] = []
    together: list[float] = []
    found, wanted = 0, 0
    # The first round warms up: disk, file system, and the processes' common parent.
    for i in range(1 + options.rounds):
        options.tell(f"round {i} of {options.rounds}" if i else "warm-up")
        with TemporaryDirectory() as name:
            outputs = Path(name)
            prepare(outputs, None, [EXPERIMENT])
            seconds = run_jobs(plan, outputs, [None])
            of_all = run_jobs(plan, outputs, list(range(plan.jobs)))
            if i:
                alone.append(seconds)
                together.append(of_all)
            found += logged(outputs)
            wanted += plan.jobs * plan.epochs * len(NAMES)
    ours, other = Timed(tuple(together)), Timed(tuple(alone))
    each = plan.epochs * len(NAMES)
    yield Row(
        f"{plan.jobs} jobs logging {each} metrics each to SQLite, against 1 logging nowhere",
        str(ours),
        str(other),
        f"{ours.median / other.median:.3f}x",
        "<= 1.5x",
    )
    yield Row("metrics lost, of all rounds", f"{found} of {wanted}", "-", f"{wanted - found}", "0")
