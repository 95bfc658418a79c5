"""The images that a job keeps pictures of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcadv.job import run
from tests.jobs import tiny_config

pytestmark = pytest.mark.usefixtures("undrawn")


def strength_of(condition: str) -> float:
    """``fgsm_linf_8`` -> 8."""
    return float(condition.rsplit("_", 1)[1])


def test_a_job_keeps_them_with_their_pictures(tmp_path: Path) -> None:
    learnt = ("trainer.max_epochs=6", "optimizer.lr=0.01", "eps_px=[1,2,4,8,16,32,64]")
    config = tiny_config(tmp_path, "tracking.enabled=false", *learnt)
    folder = run(config, tmp_path / "it").folder
    predictions = pd.read_parquet(folder / "predictions.parquet").set_index("index")
    with np.load(folder / "gallery.npz") as kept:
        gallery = dict(kept)
    assert 0 < len(gallery["index"]) <= 6
    assert gallery["image"].dtype == np.uint8
    assert len(set(gallery["condition"])) > 1, "images of several strengths are what is tested here"
    for k, number in enumerate(gallery["index"]):
        mine = predictions.loc[number]
        clean = mine[mine["condition"] == "clean"].iloc[0]
        shown = mine[mine["condition"] == gallery["condition"][k]]
        assert gallery["image_id"][k] == clean["image_id"]
        assert np.isclose(gallery["prob_clean"][k, 1], clean["p_1"], atol=1e-4)
        # Attacked anew among others: one image does not see its neighbours.
        assert np.isclose(gallery["prob_adversarial"][k, 1], shown.iloc[0]["p_1"], atol=1e-3)
        turned = shown.iloc[0]["prediction"] != clean["target"]
        assert bool(gallery["flipped"][k]) == turned
        assert gallery["prediction"][k] == clean["prediction"]
        assert gallery["prediction_adversarial"][k] == shown.iloc[0]["prediction"]
        change = np.abs(gallery["adversarial"][k] * 255 - gallery["image"][k]).max()
        assert np.isclose(change, strength_of(gallery["condition"][k]), atol=1e-3)


def test_without_an_attack_it_is_empty(tmp_path: Path) -> None:
    quick = ("trainer.max_epochs=1", "tracking.enabled=false", "eps_px=0")
    folder = run(tiny_config(tmp_path, *quick), tmp_path / "it").folder
    with np.load(folder / "gallery.npz") as kept:
        assert kept["image"].shape[0] == kept["prob_clean"].shape[0] == 0


def test_the_examples_show_each_class_under_every_strength(tmp_path: Path) -> None:
    quick = ("trainer.max_epochs=1", "tracking.enabled=false", "eps_px=[0,2,8]")
    folder = run(tiny_config(tmp_path, *quick), tmp_path / "it").folder
    predictions = pd.read_parquet(folder / "predictions.parquet")
    with np.load(folder / "examples.npz") as kept:
        examples = dict(kept)
    assert examples["condition"].tolist() == ["fgsm_linf_0", "fgsm_linf_2", "fgsm_linf_8"]
    assert set(examples["target"]) == {0, 1}
    assert sorted(examples["index"]) == examples["index"].tolist()
    for m, strength in enumerate((0, 2, 8)):
        of = predictions[predictions["condition"] == f"fgsm_linf_{strength:g}"].set_index("index")
        for k, number in enumerate(examples["index"]):
            change = np.abs(examples["adversarial"][m, k] * 255 - examples["image"][k]).max()
            assert np.isclose(change, strength, atol=1e-3)
            assert np.isclose(
                examples["prob_adversarial"][m, k, 1], of.loc[number, "p_1"], atol=1e-3
            )
