"""An evaluation that is stopped goes on where it was, and uses nothing that is damaged."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from bcadv.build import build_model
from bcadv.callbacks.evaluate import Answers, Cost, RobustnessEvaluation
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.errors import BcadvError
from bcadv.evaluate import predictions
from bcadv.evaluate.predictions import PredictionParts, read_conditions
from bcadv.evaluate.run import PARTS, evaluated
from bcadv.plan import plan_of
from bcadv.results.condition import CLEAN, REPEATED, Condition
from bcadv.results.files import PREDICTIONS
from bcadv.store.fingerprint import digest
from tests.jobs import tiny_config, tiny_overrides
from tests.metrics.tables import fgsm
from tests.processes import fork

CONDITIONS = (CLEAN, REPEATED)


def answers(numbers: Sequence[int], of: Sequence[Condition] = CONDITIONS) -> list[Answers]:
    index = np.array(numbers, np.int64)
    share = np.stack([index / 100, 1 - index / 100], axis=1)
    return [Answers(c, index, index % 2, index % 2, index / 10, share) for c in of]


def parts(folder: Path, key: str = "key", rank: int = 0, size: int = 1) -> PredictionParts:
    made = PredictionParts(folder / "parts", key, rank, size)
    if rank == 0:
        made.begin()
    return made


def table(made: PredictionParts, target: Path, batches: int) -> pd.DataFrame:
    made.finish(
        target,
        variants=["as_trained"],
        batches=batches,
        conditions=[c.id for c in CONDITIONS],
        names=lambda i: (f"image {i}", None),
    )
    return pd.read_parquet(target)


def test_the_parts_of_two_processes_become_one_table(tmp_path: Path) -> None:
    first, second = parts(tmp_path, size=2), parts(tmp_path, rank=1, size=2)
    first.write("as_trained", 0, answers([3, 1]))
    second.write("as_trained", 0, answers([2]))
    first.write("as_trained", 1, answers([5]))
    second.write("as_trained", 1, answers([]))  # a last batch smaller than the processes are many
    assert first.has("as_trained", 1)
    assert second.has("as_trained", 1)
    found = table(first, tmp_path / "table.parquet", 2)
    assert found["index"].tolist() == [3, 1, 2, 5] * 2
    assert found["condition"].tolist() == [CLEAN.id] * 4 + [REPEATED.id] * 4
    assert found["image_id"].tolist() == ["image 3", "image 1", "image 2", "image 5"] * 2
    assert found["p_0"].tolist() == [0.03, 0.01, 0.02, 0.05] * 2
    [(_, one, clean), (_, two, _)] = read_conditions(tmp_path / "table.parquet")
    assert (one, two) == (CLEAN.id, REPEATED.id)
    assert clean.size.tolist() == [0.3, 0.1, 0.2, 0.5]


def test_an_image_that_stands_has_no_number_of_queries(tmp_path: Path) -> None:
    made = parts(tmp_path)
    cost = Cost(queries=np.array([9, 9, 9]), broken_after=np.array([4, -1, 1]))
    clean, again = answers([1, 2, 3])
    made.write("as_trained", 0, [clean, replace(again, cost=cost)])
    found = table(made, tmp_path / "table.parquet", 1)
    assert found["broken_after"].isna().tolist() == [True] * 3 + [False, True, False]
    assert found["broken_after"].dropna().tolist() == [4, 1]
    assert pq.read_schema(tmp_path / "table.parquet").field("broken_after").type == pa.int64()


def test_a_table_is_put_together_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "ROWS", 2)
    made = parts(tmp_path)
    for batch in range(5):
        made.write("as_trained", batch, answers([batch]))
    assert table(made, tmp_path / "table.parquet", 5)["index"].tolist() == [0, 1, 2, 3, 4] * 2


def test_what_another_evaluation_left_is_not_used(tmp_path: Path) -> None:
    parts(tmp_path).write("as_trained", 0, answers([1]))
    assert parts(tmp_path).has("as_trained", 0)
    assert not parts(tmp_path, size=2).has("as_trained", 0), "shares of other processes"
    parts(tmp_path).write("as_trained", 0, answers([1]))
    assert not parts(tmp_path, "other").has("as_trained", 0), "answers to another question"


@pytest.mark.parametrize("harm", [b"", b"PAR1 and no more", None])
def test_a_damaged_part_is_done_anew(tmp_path: Path, harm: bytes | None) -> None:
    made = parts(tmp_path)
    made.write("as_trained", 0, answers(range(50)))
    [part] = (tmp_path / "parts").glob("*.parquet")
    whole = part.read_bytes()
    # Without a text of its own: one bit somewhere in the numbers.
    flipped = whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]
    part.write_bytes(flipped if harm is None else harm)
    with pytest.raises(BcadvError, match="missing or damaged: run again"):
        table(made, tmp_path / "table.parquet", 1)
    assert not made.has("as_trained", 0)
    made.write("as_trained", 0, answers(range(50)))
    assert len(table(made, tmp_path / "table.parquet", 1)) == 100


@pytest.mark.parametrize(
    "told",
    [
        [answers([1, 2]), answers([2])],
        [answers([1, 2]), answers([3], CONDITIONS[:1])],
        [answers([1, 1])],
    ],
    ids=["twice", "not under each condition", "twice at once"],
)
def test_an_image_must_be_there_once(tmp_path: Path, told: list[list[Answers]]) -> None:
    made = parts(tmp_path)
    for batch, given in enumerate(told):
        made.write("as_trained", batch, given)
    with pytest.raises(BcadvError, match="every image once"):
        table(made, tmp_path / "table.parquet", len(told))
    assert not (tmp_path / "table.parquet").exists()


def test_a_condition_that_was_not_asked_for_is_said(tmp_path: Path) -> None:
    made = parts(tmp_path)
    made.write("as_trained", 0, answers([1], (*CONDITIONS, fgsm(8))))
    with pytest.raises(BcadvError, match=r"\.parquet is about fgsm_linf_8: remove it"):
        table(made, tmp_path / "table.parquet", 1)


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    made = parts(tmp_path)
    made.write("as_trained", 0, answers([1]))
    (tmp_path / "parts" / ".half.parquet.0.tmp").touch()
    assert parts(tmp_path).has("as_trained", 0)
    assert not list((tmp_path / "parts").glob(".*"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, ImageDataModule]:
    folder = tmp_path_factory.mktemp("evaluation")
    config = tiny_config(
        folder / "outputs",
        "+experiment=baseline",
        "evaluation.batch_size=2",
        f"paths.cache={folder / 'cache'}",
    )
    data = ImageDataModule(config.data, folder / "images", eval_batch_size=2)
    data.prepare()
    return config, data


def evaluate(folder: Path, prepared: tuple[Config, ImageDataModule]) -> pd.DataFrame:
    config, data = prepared
    torch.manual_seed(0)
    model = build_model(config, len(data.classes)).eval()
    folder.mkdir()
    plan = plan_of(config)
    with evaluated(config, folder, model, data, plan, weights=digest("w"), injection=None):
        assert kept(config), "answers are kept until the numbers are written"
    return pd.read_parquet(folder / PREDICTIONS)


def kept(config: Config) -> list[Path]:
    return sorted((config.paths.cache / PARTS).glob("*/*.parquet"))


def test_a_stopped_evaluation_asks_only_what_was_not_answered(
    tmp_path: Path,
    prepared: tuple[Config, ImageDataModule],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config, _ = prepared
    caplog.set_level("INFO", "bcadv")
    asked: list[list[int]] = []
    measure = RobustnessEvaluation.measure

    def counted(self: RobustnessEvaluation, model: Any, batch: Any, *rest: Any) -> Any:
        asked.append(batch.index.tolist())
        return measure(self, model, batch, *rest)

    monkeypatch.setattr(RobustnessEvaluation, "measure", counted)
    whole = evaluate(tmp_path / "whole", prepared)
    every, batches = list(asked), len(asked)
    assert not kept(config)

    def stopped(self: RobustnessEvaluation, model: Any, batch: Any, *rest: Any) -> Any:
        if len(asked) == batches - 2:
            raise MemoryError("the machine is gone")
        return counted(self, model, batch, *rest)

    asked.clear()
    monkeypatch.setattr(RobustnessEvaluation, "measure", stopped)
    with pytest.raises(MemoryError):
        evaluate(tmp_path / "stopped", prepared)
    assert len(kept(config)) == batches - 2
    assert "answered" not in caplog.text
    kept(config)[1].write_bytes(b"damaged")
    asked.clear()
    monkeypatch.setattr(RobustnessEvaluation, "measure", counted)
    again = evaluate(tmp_path / "again", prepared)
    assert asked == [every[1], *every[-2:]]
    place = f"at batch {batches - 1} of {batches}: {batches - 2} of {batches} batches"
    assert f"The evaluation goes on {place} are answered already." in caplog.text
    pd.testing.assert_frame_equal(again, whole)
    assert not kept(config)


def test_what_nobody_goes_on_with_is_removed_after_a_month(
    tmp_path: Path, prepared: tuple[Config, ImageDataModule]
) -> None:
    root = prepared[0].paths.cache / PARTS
    for name, days in (("old", 31), ("young", 29)):
        (root / name).mkdir(parents=True)
        (root / f"{name}.lock").touch()
        then = time.time() - days * 24 * 3600
        os.utime(root / name, (then, then))
    (root / "gone.lock").touch()
    os.utime(root / "gone.lock", (1, 1))
    os.utime(root / "young.lock", (1, 1))
    evaluate(tmp_path / "next", prepared)
    assert not (root / "old").exists()
    assert (root / "young").exists()
    assert (root / "young.lock").exists(), "somebody may hold it"
    assert not (root / "gone.lock").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_a_killed_evaluation_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    command = tiny_overrides(
        Path("outputs"),
        "+experiment=baseline",
        "tracking.enabled=false",
        "trainer.max_epochs=1",
        "evaluation.batch_size=2",
        "attacks=[pgd]",
        "attack.pgd.steps=40",
    )
    first = fork(tmp_path, command)
    place = tmp_path / "outputs" / "cache" / PARTS
    first.until(lambda: len(list(place.glob("*/[!.]*.parquet"))) >= 4)
    first.send(how)
    status = first.wait()
    if how == signal.SIGTERM:
        assert status == 130
        assert "Stopped in the evaluation" in first.said
    else:
        assert status == -signal.SIGKILL
    assert not list(tmp_path.rglob("results.json")), "it was stopped too late to test"
    chosen = sorted(place.glob("*/[!.]*.parquet"))[0]
    marked = pq.read_table(chosen)
    mark = marked.set_column(marked.schema.get_field_index("size"), "size", [[77.0] * len(marked)])
    pq.write_table(mark, chosen)

    second = fork(tmp_path, command)
    assert second.wait() == 0, second.log.read_text()
    [results] = tmp_path.rglob("results.json")
    found = pd.read_parquet(results.parent / PREDICTIONS)
    assert (found["size"] == 77).sum() == len(marked), "the part was not used"
    assert not list(place.glob("*/*.parquet"))
