"""A job whose attacks want different things, and whose images have to survive being saved."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bcadv.errors import BcadvError
from bcadv.job import Outcome, run
from bcadv.results.condition import Condition
from bcadv.results.files import PREDICTIONS
from tests.jobs import tiny_config

QUICK = ("+experiment=baseline", "tracking.enabled=false", "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    place = tmp_path_factory.mktemp("aimed")
    chosen = ("attacks=[pgd]", "attack.pgd.steps=5", "eps_px=[0,8]", "accept=[float,8bit]")
    config = tiny_config(place, *QUICK, *chosen, "aim=[any,hide,invent,malignant]")
    return run(config, place / "job")


def asked(done: Outcome, goal: str, acceptance: str) -> pd.DataFrame:
    """The answers at the larger strength."""
    [condition] = [
        c
        for c in done.result.conditions
        if (c.goal, c.acceptance, c.strength) == (goal, acceptance, 8)
    ]
    table = pd.read_parquet(done.folder / PREDICTIONS)
    return table[table["condition"] == condition.id].set_index("image_id")


def test_every_aim_is_a_condition_of_its_own(done: Outcome) -> None:
    attacked = [c for c in done.result.conditions if c.kind == "attack" and c.strength == 8]
    assert len({c.id for c in attacked}) == 4 * 2
    assert {c.label for c in attacked} >= {
        "PGD-5",
        "PGD-5, as 8bit",
        "PGD-5 hiding the disease",
        "PGD-5 inventing the disease",
        "PGD-5 for malignant",
    }
    again = [Condition.model_validate(c.model_dump()) for c in attacked]
    assert again == attacked
    assert {e.series for e in done.result.efforts} == {c.series for c in attacked}


@pytest.mark.parametrize("acceptance", ["float", "8bit"])
def test_who_is_not_concerned_is_left_alone(done: Outcome, acceptance: str) -> None:
    hidden, invented, wanted = (
        asked(done, goal, acceptance) for goal in ("hide", "invent", "targeted")
    )
    sick = hidden["target"] == 1
    assert (hidden.loc[~sick, "size"] == 0).all()
    assert (invented.loc[sick, "size"] == 0).all()
    assert (wanted.loc[sick, "size"] == 0).all()
    # With two classes all of these are the same question.
    everything = asked(done, "untargeted", acceptance)
    assert (hidden.loc[sick, "prediction"] == everything.loc[sick, "prediction"]).all()
    assert (invented.loc[~sick, "prediction"] == everything.loc[~sick, "prediction"]).all()
    assert (wanted.loc[~sick, "prediction"] == everything.loc[~sick, "prediction"]).all()


def test_no_check_takes_the_unconcerned_for_a_fault(done: Outcome) -> None:
    """Images that an aim leaves alone have no zero gradient, and a saved image is another one."""
    failed = {f.id for f in done.result.findings if f.outcome == "failed"}
    assert not failed & {"moved", "same_answers"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("aim=invent", "accept=8bit"), "8/255 inventing the disease, as 8bit"),
        (("aim=malignant",), "8/255 for malignant"),
    ],
)
def test_attacks_with_an_aim_alone_are_checked_too(
    done: Outcome, asked: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    chosen = ("attacks=[pgd]", "attack.pgd.steps=5", "eps_px=[0,8]", *asked)
    found = run(tiny_config(done.folder.parent, *QUICK, *chosen), tmp_path / "job").result.findings
    known = {finding.id: finding for finding in found}
    assert known.keys() >= {"saturation", "unbounded", "one_step", "converged", "noise"}
    assert f"at {words}" in known["one_step"].evidence


def test_the_page_says_what_was_wanted(done: Outcome) -> None:
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "positive images only, to hide the disease" in page
    assert "judged after rounding to 256 grey levels" in page


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("aim=[benine]", "aim=benine is no class: give any, hide, invent, or one of benign, mal"),
        ("aim=[any,any]", "aim names any twice"),
        ("accept=[png]", "accept"),
        ("accept=['jpeg(101)']", "accept"),
    ],
)
def test_what_cannot_be_wanted_is_said_before_the_training(
    wrong: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BcadvError, match=said):
        run(tiny_config(tmp_path, *QUICK, wrong), tmp_path / "job")
    assert "epoch" not in capsys.readouterr().err
