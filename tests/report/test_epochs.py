from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bcadv.report.epochs import Training, epochs_figure, histories, trainings
from bcadv.study.jobs import Job, load_job
from tests.report.jobs_on_disk import history
from tests.report.studies import make_study, write_run


def _jobs(folder: Path) -> list[Job]:
    for sigma in (None, 0.1):
        for seed in (0, 1):
            write_run(folder / f"{sigma}-{seed}", sigma=sigma, run_seed=seed)
    return [load_job(path) for path in sorted(folder.iterdir())]


def test_variants_share_a_training_and_jobs_of_one_model_count_once(tmp_path: Path) -> None:
    jobs = _jobs(tmp_path)
    again = Job(tmp_path / "again", jobs[0].result)
    study = make_study(variants=("as_trained", "clean"), seeds=(0, 1), jobs=[*jobs, again])
    found = trainings(study)
    assert [training.name for training in found] == ["undefended", "noise σ=0.1"]
    assert [len(training.jobs) for training in found] == [2, 2]


def test_line_is_the_mean_and_each_seed_is_thin() -> None:
    seeds = [history(6), history(6)]
    seeds[1]["val_accuracy"] -= 0.1
    (axes,) = epochs_figure("name", seeds, synthetic=False).axes
    labels = [str(line.get_label()) for line in axes.lines]
    bold = [line for line, label in zip(axes.lines, labels, strict=True) if label[0] != "_"]
    assert [line.get_label() for line in bold] == [
        "training, mean of 2 seeds",
        "validation, mean of 2 seeds",
    ]
    assert bold[0].get_ydata() == pytest.approx(100 * seeds[0]["train_accuracy"].to_numpy())
    assert bold[1].get_ydata() == pytest.approx(100 * seeds[0]["val_accuracy"].to_numpy() - 5)
    assert len(axes.lines) == 6


def test_the_mean_ends_with_the_shortest_seed_and_one_seed_has_no_mean() -> None:
    (axes,) = epochs_figure("name", [history(6), history(4)], synthetic=False).axes
    assert np.array_equal(axes.lines[2].get_xdata(), [0, 1, 2, 3])
    (axes,) = epochs_figure("name", [history(6)], synthetic=False).axes
    assert [line.get_label() for line in axes.lines] == ["training", "validation"]


def test_histories_that_are_absent_or_damaged_are_named(tmp_path: Path) -> None:
    jobs = _jobs(tmp_path)
    (jobs[0].folder / "history.csv").unlink()
    (jobs[1].folder / "history.csv").write_text("epoch\n", encoding="utf-8")
    read, unread = histories(Training("undefended", tuple(jobs)))
    assert len(read) == 2
    assert "history.csv was changed or damaged since the results were written" in unread[0]
    assert unread[1] == f"undefended: there is no history.csv of {jobs[0].name}."
