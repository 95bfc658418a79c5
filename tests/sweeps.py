"""Sweeps of small jobs, as processes, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from bcadv.store.models import read, save
from tests.jobs import tiny_overrides
from tests.processes import Command

OUTPUTS = Path("outputs")
MARK = 123.0


def tiny(*more: str) -> list[str]:
    return tiny_overrides(OUTPUTS, "+experiment=defense", "tracking.enabled=false", *more)


def ended(command: Command) -> str:
    assert command.wait() == 0, command.log.read_text()
    return command.said


def the_sweep(cwd: Path) -> Path:
    [found] = (cwd / OUTPUTS / "sweeps").iterdir()
    return found


def results(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return read


def trainings(cwd: Path) -> list[bool]:
    """Of each job with results, in order: whether it trained its model itself."""
    jobs = sorted(the_sweep(cwd).glob("*/results.json"), key=lambda path: int(path.parent.name))
    return [not results(path.parent)["training"]["reused"] for path in jobs]


def models(cwd: Path) -> list[Path]:
    return sorted((cwd / OUTPUTS / "models").glob("[0-9a-f]*"))


def half_trained(cwd: Path) -> list[Path]:
    return [
        model
        for model in models(cwd)
        if (model / "last.ckpt").is_file() and not (model / "trained.json").is_file()
    ]


def mark(model: Path) -> None:
    """Changes the loss of epoch 0 in a checkpoint: it survives if training goes on from there."""
    path = model / "last.ckpt"
    state = read(path)
    [history] = [held for held in state["callbacks"].values() if "rows" in held]
    history["rows"][0]["train_loss"] = MARK
    save(state, path)


def epochs(model: Path) -> list[int]:
    return list(pd.read_csv(model / "history.csv")["epoch"])


def is_marked(model: Path) -> bool:
    return bool(pd.read_csv(model / "history.csv")["train_loss"][0] == MARK)


def stamps(folder: Path) -> dict[str, int]:
    """When each file below a folder was last written."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}
