"""Pictures of a model that several jobs attacked, against one job that tried every strength."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bcadv.errors import BcadvError
from bcadv.job import run
from bcadv.study.jobs import load_job
from bcadv.report.united import attacked_examples, first_and_last, same_model
from tests.jobs import tiny_config
from tests.report.jobs_on_disk import answers, rewrite, write_job
from tests.report.studies import gallery

QUICK = ("trainer.max_epochs=6", "tracking.enabled=false")
STRENGTHS = (1, 8, 64)


def test_pictures_are_judged_by_the_statistics_they_were_made_with(tmp_path: Path) -> None:
    # The attack turns the image on clean statistics, which come first here, and not as trained.
    right = {("clean", 0.0): [True], ("clean", 1.0): [False]}
    right |= {("as_trained", 0.0): [True], ("as_trained", 1.0): [True]}
    write_job(tmp_path / "it", frame=answers(right, [0]))
    one = {name: array[:1] for name, array in gallery(side=24).items()}
    one["image_id"] = np.array(["image-0000"])
    np.savez(tmp_path / "it" / "gallery.npz", **one)
    rewrite(tmp_path / "it")
    first, last = first_and_last([load_job(tmp_path / "it")])
    assert [triplet.remark for triplet in first] == ["the weakest tried that flips it"]
    assert last == []


def test_several_jobs_tell_what_one_would(tmp_path: Path) -> None:
    one = run(tiny_config(tmp_path, *QUICK, "eps_px=[1,8,64]"), tmp_path / "all").folder
    several = [
        run(tiny_config(tmp_path, *QUICK, f"eps_px={px}"), tmp_path / str(px)).folder
        for px in STRENGTHS
    ]
    other = run(tiny_config(tmp_path, *QUICK, "seed=1"), tmp_path / "other").folder
    best = run(tiny_config(tmp_path, *QUICK, "trainer.checkpoint=best"), tmp_path / "best").folder
    jobs = [load_job(folder) for folder in [*several, other, best]]
    siblings = same_model(jobs[0], jobs)
    assert siblings == jobs[:3]

    shown = {(t.name, t.condition.strength, t.remark) for t in first_and_last(siblings)[0]}
    every = {(t.name, t.condition.strength, t.remark) for t in first_and_last([load_job(one)])[0]}
    assert shown == every
    # The job at 64/255 alone would call that the smallest for all of them.
    assert min(eps for _, eps, _ in shown) < 64

    assert [t[0].condition.strength for t in attacked_examples(siblings)] == list(STRENGTHS)
    (several[0] / "predictions.parquet").unlink()
    with pytest.raises(BcadvError, match="run the job again"):
        first_and_last(siblings)
