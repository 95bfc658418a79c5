"""The direction of the imports between the packages, as the design wants it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bcadv

PACKAGE = Path(bcadv.__file__).parent
# What a package may not import; a name stands for everything below it.
FORBIDDEN = {
    "typing.py": ("bcadv", "pytorch_lightning", "mlflow"),
    "config.py": ("torch", "pytorch_lightning", "mlflow", "numpy", "pandas"),
    "run.py": ("torch", "pytorch_lightning", "mlflow", "numpy", "pandas"),
    "sweep.py": ("torch", "pytorch_lightning", "mlflow", "numpy", "pandas"),
    "resume.py": ("torch", "pytorch_lightning", "mlflow", "numpy", "pandas"),
    "store": ("torch", "pytorch_lightning", "mlflow", "bcadv.models", "bcadv.report"),
    "tracking": ("bcadv.perturb", "bcadv.job", "bcadv.callbacks"),
    "data": ("bcadv.models", "bcadv.perturb", "bcadv.callbacks", "bcadv.report", "mlflow"),
    "models": ("bcadv.perturb", "bcadv.callbacks", "bcadv.data", "bcadv.report", "mlflow"),
    "perturb": ("bcadv.models", "bcadv.data", "pytorch_lightning", "numpy", "mlflow"),
    "metrics": ("torch", "bcadv.models", "bcadv.data", "bcadv.perturb", "bcadv.report", "mlflow"),
    "callbacks": ("bcadv.data", "bcadv.models", "bcadv.report", "bcadv.job", "mlflow"),
    "report": ("torch", "pytorch_lightning", "bcadv.models", "bcadv.perturb", "mlflow"),
}


def imported(file: Path) -> set[str]:
    """Every module that a file names at its top level (lazy imports are choices of a function)."""
    names: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", FORBIDDEN)
def test_arrows_point_one_way(room: str) -> None:
    place = PACKAGE / room
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {name}"
        for file in files
        for name in imported(file)
        for banned in FORBIDDEN[room]
        if name == banned or name.startswith(f"{banned}.")
    ]
    assert wrong == []


def test_mlflow_stays_in_its_room() -> None:
    elsewhere = [
        file.relative_to(PACKAGE)
        for file in PACKAGE.rglob("*.py")
        if "tracking" not in file.parts
        and ("import mlflow" in file.read_text() or "from mlflow" in file.read_text())
    ]
    assert elsewhere == []
