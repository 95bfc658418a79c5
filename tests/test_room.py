"""Room for many: an attack, a network, an objective and a source are each a module and a row.

Each is made here from outside, with nothing of the package changed; then one job uses all four. The
attack of CONTRIBUTING.md is one of the catalog.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bcadv import job
from bcadv.config import Config, ModelConfig, validate
from bcadv.data.catalog import SOURCES, Source
from bcadv.defend.catalog import OBJECTIVES, Objective
from bcadv.errors import BcadvError
from bcadv.models.catalog import NETWORKS, Network
from bcadv.perturb import row as row_module
from bcadv.perturb.catalog import ATTACKS
from bcadv.perturb.row import Attack, Option
from bcadv.results.files import PREDICTIONS
from bcadv.store.fingerprint import describe, fingerprint
from tests.conftest import REPOSITORY
from tests.jobs import tiny_config

MODULE = '''
"""Four new things."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import nn
from torch.nn import functional

from bcadv.config import DataConfig
from bcadv.data.records import Record, Selection
from bcadv.perturb.loop import GradientAttack
from bcadv.perturb.base import Sweep


@dataclass(frozen=True)
class Dots(GradientAttack):
    """Moves every other pixel."""

    every: int = 2

    @property
    def name(self):
        return "dots"

    def _perturb(self, model, image, target, *, index, draw):
        chosen = torch.zeros(image.shape)
        chosen.flatten(1)[:, :: self.every] = self.threat.eps
        return self.threat.project(image + chosen, image)


class Flat(nn.Module):
    """One convolution."""

    def __init__(self, classes, channels=4):
        super().__init__()
        self.architecture = f"flat ({channels} channels)"
        self.net = nn.Sequential(
            nn.Conv2d(3, channels, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(channels, classes),
        )

    def forward(self, image):
        return self.net(image)


@dataclass
class Smooth:
    """Cross entropy with smoothed labels."""

    share: float

    def __call__(self, model, batch, task, reduction):
        logits = model(batch.image)
        loss = functional.cross_entropy(
            logits, batch.target, reduction=reduction, label_smoothing=self.share
        )
        Smooth.calls += 1
        return loss, logits


Smooth.calls = 0


class Stripes(DataConfig):
    """Striped squares, upright or lying."""

    source: str = "stripes"
    width: int = Field(default=4, ge=1, le=8, description="Give 1 to 8 pixels.")

    def find(self):
        rng = np.random.default_rng(0)
        records = []
        for i in range(60):
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8) // 2
            label = ("lying", "upright")[i % 2]
            band = pixels if label == "lying" else pixels.transpose(1, 0, 2)
            band[:: 2 * self.width] = 255
            path = self.root / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            records.append(Record(path, f"{i:02d}", label, patient=f"p{i // 4}"))
        return Selection(
            records=tuple(records), classes=("lying", "upright"), positive=(1,),
            found={"lying": 30, "upright": 30}, expected=None, notes=(), positive_by="source",
        )
'''


SMALL = {"source": "stripes", "split": "paper", "crop": 32, "batch_size": 8, "width": 3}


class FlatConfig(ModelConfig):
    channels: int = 4


def guide() -> tuple[Path, str, Attack]:
    """The attack of CONTRIBUTING.md: where its file lies, what that holds, and its row."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    chapter = text.split("\n## Add an attack\n")[1].split("\n## ")[0]
    code, row = re.findall(r"^```python\n(.*?)^```", chapter, re.S | re.M)
    [place] = re.findall(r"`(bcadv/perturb/attacks/\w+\.py)`", chapter)
    return REPOSITORY / place, code, eval(row, dict(vars(row_module)))


def test_the_attack_of_the_guide_is_the_one_that_stands() -> None:
    file, code, row = guide()
    assert file.read_text(encoding="utf-8") == code
    assert ATTACKS[row.name] == row


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new module with its four rows."""
    (tmp_path / "four_new_things.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "four_new_things", raising=False)
    place = "four_new_things:"
    attack = Attack(
        name="dots",
        place=f"{place}Dots",
        label="Dots/{every}",
        words="Moves some pixels.",
        access="white box",
        family="gradient",
        how="every {every}nd value",
        norms=("inf",),
        options=(Option("every", 2, "whole number", "How few.", low=1),),
    )
    objective = Objective(
        name="smooth",
        words="Smoothed labels.",
        place=f"{place}Smooth",
        label="label smoothing {share}",
        options=(Option("share", 0.1, "number", "Of the other classes.", low=0, high=1),),
    )
    source = Source("stripes", f"{place}Stripes", "Stripes, drawn by a test", "stripes")
    monkeypatch.setitem(ATTACKS, "dots", attack)
    monkeypatch.setitem(NETWORKS, "flat", Network("flat", f"{place}Flat", FlatConfig))
    monkeypatch.setitem(OBJECTIVES, "smooth", objective)
    monkeypatch.setitem(SOURCES, "stripes", source)


def chosen(tmp_path: Path, **more: Any) -> Config:
    raw = tiny_config(tmp_path / "outputs", "tracking.enabled=false").model_dump(mode="json")
    return validate(
        raw
        | {
            "data": SMALL | {"root": str(tmp_path / "stripes")},
            "model": {"network": "flat", "weights": None, "channels": 6},
            "attacks": ["fgsm", "dots", "bim"],
            "attack": {"dots": {"every": 3}, "bim": {"steps": 3}},
            "objective": "smooth",
            "objective_options": {"smooth": {"share": 0.2}},
            "batchnorm": ["as_trained", "clean"],
        }
        | more
    )


@pytest.mark.usefixtures("rows")
def test_one_job_uses_a_new_attack_network_objective_and_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = job.run(chosen(tmp_path), tmp_path / "job").result
    assert result.model.architecture == "flat (6 channels)"
    assert result.model.settings["channels"] == 6
    assert not result.model.has_batchnorm
    assert {row.batchnorm for row in result.rows} == {"as_trained"}, "both would be the same"
    assert result.model.defence.label == "label smoothing 0.2"
    assert (result.data.source, result.data.label) == ("stripes", "stripes")
    assert sys.modules["four_new_things"].Smooth.calls > 0
    found = pd.read_parquet(tmp_path / "job" / PREDICTIONS)
    attacks = {c.id: c for c in result.conditions if c.kind == "attack"}
    assert {c.label for c in attacks.values()} == {"FGSM", "Dots/3", "BIM-3"}
    for name, condition in attacks.items():
        sizes = found.loc[found["condition"] == name, "size"]
        assert sizes.max() <= condition.size + 1e-6
        assert condition.strength == 0 or sizes.max() > 0
    said = (tmp_path / "job" / "report.html").read_text(encoding="utf-8")
    for words in ("Stripes, drawn by a test", "label smoothing 0.2", "Dots/3", "BIM-3"):
        assert words in said
    assert "BN as trained" not in capsys.readouterr().err
    assert "label smoothing 0.2, BN" not in said
    assert "no undefended model stands beside it" in said


@pytest.mark.usefixtures("rows")
def test_what_shapes_their_models_names_them(tmp_path: Path) -> None:
    def name(**more: Any) -> str:
        return fingerprint(describe(chosen(tmp_path, **more), content="", precision="32"))

    names = [
        name(),
        name(objective_options={"smooth": {"share": 0.3}}),
        name(objective="cross_entropy"),
        name(model={"network": "flat", "weights": None, "channels": 5}),
        name(model={"network": "densenet121", "weights": None}, data=SMALL | {"crop": 64}),
        name(data=SMALL | {"width": 4}),
    ]
    assert len(set(names)) == len(names)
    assert name(attacks=["dots"], attack={}) == names[0]
    plain = {"objective": "cross_entropy", "objective_options": {}}
    assert name(**plain) == names[2], "options of an objective that is not used"


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"objective_options": {"smooth": {"share": 2}}}, r"objective_options\.smooth\.share=2"),
        ({"objective_options": {"smoth": {}}}, "no objective smoth: did you mean smooth"),
        ({"objective": "smoth"}, "no objective smoth: did you mean smooth"),
        ({"model": {"network": "flatt"}}, "no network flatt: did you mean flat"),
        (
            {"model": {"network": "flat", "weights": None, "growth_rate": 8}},
            r"model\.growth_rate is no option of what was chosen",
        ),
        ({"data": {"source": "stripe"}}, "no source stripe: did you mean stripes"),
        (
            {"data": {"source": "stripes", "split": "official", "fold": 1}},
            "exists for data=breakhis alone",
        ),
        ({"data": {"source": "stripes", "split": "paper", "width": 9}}, "Give 1 to 8 pixels"),
    ],
)
def test_their_mistakes_are_answered_like_any_others(
    tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(BcadvError, match=words):
        chosen(tmp_path, **more)
