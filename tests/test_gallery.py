"""Which images an attack turns first and last."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcadv.job import run
from bcadv.metrics.fall import ends, order_of_fall
from tests.jobs import tiny_config


def table(rows: list[tuple[int, str, float, float]]) -> pd.DataFrame:
    """(image, perturbation, grey levels, probability of the true class 1) -> predictions."""
    frame = pd.DataFrame(rows, columns=pd.Index(["index", "perturbation", "eps_px", "p_1"]))
    frame["p_0"] = 1 - frame["p_1"]
    frame["target"] = 1
    frame["prediction"] = (frame["p_1"] > 0.5).astype(int)
    return frame


def test_the_order_is_that_of_the_smallest_epsilon_that_turns_an_image() -> None:
    clean = [(i, "none", 0.0, 0.9) for i in range(5)] + [(5, "none", 0.0, 0.1)]
    attacked = [
        *((0, "fgsm", eps, p) for eps, p in ((1.0, 0.8), (2.0, 0.3), (4.0, 0.1))),  # at 2
        *((1, "fgsm", eps, p) for eps, p in ((1.0, 0.9), (2.0, 0.8), (4.0, 0.7))),  # never
        *((2, "fgsm", eps, p) for eps, p in ((1.0, 0.4), (2.0, 0.9), (4.0, 0.9))),  # at 1
        *((3, "fgsm", eps, p) for eps, p in ((1.0, 0.9), (2.0, 0.9), (4.0, 0.9))),  # never, surer
        *((4, "fgsm", eps, p) for eps, p in ((1.0, 0.8), (2.0, 0.2), (4.0, 0.1))),  # at 2, first
        *((5, "fgsm", eps, 0.1) for eps in (1.0, 2.0, 4.0)),  # wrong when clean: nothing to turn
    ]
    order = order_of_fall(table(clean + attacked), "fgsm")
    assert order["index"].tolist() == [2, 4, 0, 1, 3]
    assert order["eps_px"].tolist() == [1, 2, 2, 4, 4]
    assert order["flipped"].tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("count", "shown"), [(0, (0, 0)), (1, (1, 0)), (2, (1, 1)), (5, (3, 2)), (90, (3, 3))]
)
def test_no_image_stands_on_both_sides(count: int, shown: tuple[int, int]) -> None:
    assert ends(count) == shown


def test_nothing_attacked_gives_no_order() -> None:
    order = order_of_fall(table([(0, "none", 0.0, 0.9), (0, "fgsm", 0.0, 0.9)]), "fgsm")
    assert order.empty
    assert order.columns.tolist() == ["index", "flipped", "eps_px"]


def test_a_job_keeps_them_with_their_pictures(tmp_path: Path) -> None:
    learnt = ("trainer.max_epochs=6", "optimizer.lr=0.01", "eps_px=[1,2,4,8,16,32,64]")
    config = tiny_config(tmp_path, "tracking.enabled=false", *learnt)
    folder = run(config, tmp_path / "it").folder
    predictions = pd.read_parquet(folder / "predictions.parquet").set_index("index")
    with np.load(folder / "gallery.npz") as kept:
        gallery = dict(kept)
    assert 0 < len(gallery["index"]) <= 6
    assert gallery["image"].dtype == np.uint8
    assert len(set(gallery["eps_px"])) > 1, "images of several strengths are what is tested here"
    for k, number in enumerate(gallery["index"]):
        mine = predictions.loc[number]
        clean = mine[mine["perturbation"] == "none"].iloc[0]
        shown = mine[(mine["perturbation"] == "fgsm") & (mine["eps_px"] == gallery["eps_px"][k])]
        assert gallery["image_id"][k] == clean["image_id"]
        assert np.isclose(gallery["prob_clean"][k, 1], clean["p_1"], atol=1e-4)
        # Attacked anew among others: one image does not see its neighbours.
        assert np.isclose(gallery["prob_adversarial"][k, 1], shown.iloc[0]["p_1"], atol=1e-3)
        turned = shown.iloc[0]["prediction"] != clean["target"]
        assert bool(gallery["flipped"][k]) == turned
        change = np.abs(gallery["adversarial"][k] * 255 - gallery["image"][k]).max()
        assert np.isclose(change, gallery["eps_px"][k], atol=1e-3)


def test_without_an_attack_it_is_empty(tmp_path: Path) -> None:
    quick = ("trainer.max_epochs=1", "tracking.enabled=false", "eps_px=0")
    folder = run(tiny_config(tmp_path, *quick), tmp_path / "it").folder
    with np.load(folder / "gallery.npz") as kept:
        assert kept["image"].shape[0] == kept["prob_clean"].shape[0] == 0
