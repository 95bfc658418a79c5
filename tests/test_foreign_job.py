"""Jobs that run attacks of other libraries: their options, what is written, mistakes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bcadv.build import build_trials
from bcadv.errors import BcadvError
from bcadv.job import run
from bcadv.plan import plan_of
from bcadv.results.condition import Condition
from bcadv.results.files import PREDICTIONS
from bcadv.task import Task
from tests.jobs import tiny_config, undrawn

CHOSEN = (
    "attacks=[foolbox,art]",
    "attack.foolbox.method=FGSM",
    "attack.art.method=BasicIterativeMethod",
    "attack.art.options={max_iter: 3}",
)
JOB = ("+experiment=baseline", "tracking.enabled=false", "trainer.max_epochs=1")


@pytest.mark.long
def test_a_job_runs_them_and_writes_their_options_down(tmp_path: Path) -> None:
    with undrawn():
        done = run(tiny_config(tmp_path, *JOB, *CHOSEN, "eps_px=[0,8]"), tmp_path / "job")
    attacked = {c.name: c for c in done.result.conditions if c.kind == "attack" and c.strength}
    assert attacked["art"].settings == {
        "method": "BasicIterativeMethod",
        "options": {"max_iter": 3},
    }
    assert attacked["art"].label == "ART BasicIterativeMethod"
    assert attacked["foolbox"].settings == {"method": "FGSM", "options": None}
    for condition in attacked.values():
        assert Condition.model_validate_json(condition.model_dump_json()) == condition
    table = pd.read_parquet(tmp_path / "job" / PREDICTIONS)
    sizes = [table.loc[table["condition"] == c.id, "size"] for c in attacked.values()]
    assert all(0 < size.max() <= 8 / 255 + 1e-6 for size in sizes)
    effort = {e.series for e in done.result.efforts}
    assert effort == {c.series for c in attacked.values()}


def test_other_options_make_another_condition(tmp_path: Path) -> None:
    def series(*more: str) -> str:
        [one] = plan_of(tiny_config(tmp_path, *JOB, "attacks=[art]", *more)).attacks
        return one.name

    names = [
        series(),
        series("attack.art.options={max_iter: 3}"),
        series("attack.art.options={max_iter: 4}"),
        series("attack.art.method=BasicIterativeMethod"),
    ]
    assert len(set(names)) == 4
    assert series("attack.art.options={}") == names[0]
    both = [f"attack.art.options={{{text}}}" for text in ("max_iter: 3, a: 1", "a: 1, max_iter: 3")]
    assert series(both[0]) == series(both[1])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("attack.art.method=Foo",), "attack.art.method=Foo is unknown"),
        (("attack.art.options={max_iters: 3}",), "no option max_iters: did you mean max_iter"),
        (("evaluation.norm=[0]",), "ProjectedGradientDescent in norm 0: the library says: Norm"),
    ],
)
def test_a_jobs_mistake_is_found_without_a_model(
    tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    config = tiny_config(tmp_path, *JOB, "attacks=[art]", *more)
    with pytest.raises(BcadvError, match=said):
        build_trials(config, plan_of(config), Task(classes=("benign", "malignant"), positive=(1,)))
