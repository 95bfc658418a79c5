"""What the README shows in Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

README = Path(__file__).parent.parent / "README.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.S | re.M)


def test_the_snippets_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("benign", "malignant"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (64, 80, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    names: dict[str, Any] = {}
    for snippet in SNIPPETS:
        exec(snippet, names)
    image, eps = names["image"], names["threat"].eps
    assert 0 <= float(image.min()) < float(image.max()) <= 1
    fast, strong = (
        float((names[name] - image).abs().max()) for name in ("adversarial", "stronger")
    )
    assert fast == pytest.approx(eps, abs=1e-6)
    assert 0 < strong <= eps + 1e-6
    assert len(names["curve"]) == 2
    assert names["noisy"].shape == image.shape
