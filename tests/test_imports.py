"""The direction of the imports between the packages, as the design wants it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bcadv

PACKAGE = Path(bcadv.__file__).parent
HEAVY = ("torch", "torchvision", "torchmetrics", "pytorch_lightning", "mlflow")
JOB = ("bcadv.job", "bcadv.outcome", "bcadv.run", "bcadv.report", "bcadv.tracking")
# What a room may not import, functions included; a name stands for everything below it.
FORBIDDEN = {
    "errors.py": ("bcadv", *HEAVY),
    "files.py": ("bcadv", *HEAVY),
    "raster.py": ("bcadv", *HEAVY),
    "dicom.py": ("bcadv.data", "bcadv.config", "bcadv.models", "bcadv.results", *JOB, *HEAVY),
    "pixels.py": ("bcadv.config", "bcadv.models", "bcadv.results", *JOB, *HEAVY),
    "typing.py": ("bcadv", "pytorch_lightning", "mlflow"),
    "task.py": (
        *("bcadv.perturb", "bcadv.data", "bcadv.models", "bcadv.config", "bcadv.results", *JOB),
        *("pytorch_lightning", "mlflow"),
    ),
    "results": (
        *("bcadv.perturb", "bcadv.data", "bcadv.models", "bcadv.config", "bcadv.metrics", *JOB),
        *("bcadv.evaluate", "bcadv.store", "numpy", "pandas", *HEAVY),
    ),
    "config.py": ("numpy", "pandas", *HEAVY),
    "section.py": ("numpy", "pandas", *HEAVY),
    "sections.py": ("bcadv.config", "numpy", "pandas", *HEAVY),
    "arguments.py": ("bcadv.config", "hydra", "pydantic", "rich", "numpy", "pandas", *HEAVY),
    "help.py": ("numpy", "pandas", *HEAVY),
    "cli": ("numpy", "pandas", *HEAVY),
    "data/parts.py": HEAVY,
    "mistakes.py": ("bcadv.config", "numpy", "pandas", *HEAVY),
    "plan.py": ("bcadv.data", "bcadv.models", "bcadv.evaluate", "numpy", *JOB, *HEAVY),
    "perturb/catalog.py": ("bcadv.config", "bcadv.results", "numpy", *JOB),
    "perturb": (
        "bcadv.models",
        "bcadv.defend",
        "bcadv.data",
        "bcadv.results",
        "pytorch_lightning",
        "mlflow",
        *JOB,
    ),
    "defend": (
        *("bcadv.config", "bcadv.data", "bcadv.models", "bcadv.callbacks", "bcadv.evaluate"),
        *("bcadv.results", "mlflow", *JOB),
    ),
    "data": (
        "bcadv.models",
        "bcadv.defend",
        "bcadv.perturb",
        "bcadv.callbacks",
        "bcadv.evaluate",
        "mlflow",
        *JOB,
    ),
    "models": (
        "bcadv.perturb",
        "bcadv.defend",
        "bcadv.callbacks",
        "bcadv.data",
        "bcadv.evaluate",
        "mlflow",
        *JOB,
    ),
    "metrics": (
        *("torch", "bcadv.models", "bcadv.data", "bcadv.perturb", "bcadv.evaluate", *JOB),
        "mlflow",
    ),
    "callbacks": ("bcadv.data", "bcadv.models", "bcadv.store", "mlflow", *JOB),
    "evaluate": ("bcadv.study", "mlflow", *JOB),
    "store": ("pytorch_lightning", "mlflow", "bcadv.models", "bcadv.evaluate", *JOB),
    # These know results and metrics, and nothing of how they came about.
    "study": (
        *("bcadv.models", "bcadv.perturb", "bcadv.data", "bcadv.evaluate", "bcadv.callbacks"),
        *("bcadv.config", "bcadv.plan", *JOB, *HEAVY, "matplotlib", "jinja2"),
    ),
    "report": (
        *("bcadv.models", "bcadv.perturb", "bcadv.data", "bcadv.evaluate", "bcadv.callbacks"),
        *("bcadv.config", "bcadv.plan", "bcadv.job", "bcadv.tracking", *HEAVY),
    ),
    "tracking": ("bcadv.perturb", "bcadv.data", "bcadv.evaluate", "bcadv.callbacks", "bcadv.job"),
}
# Whom the report is written for: the job's last step and the command line.
KNOW_THE_REPORT = {"job.py", "cli", "report"}


def imported(file: Path) -> set[str]:
    """Every module that a file names, at its top or in a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
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
        if (name == banned or name.startswith(f"{banned}.")) and not _its_own(room, name)
    ]
    assert wrong == []


def _its_own(room: str, name: str) -> bool:
    mine = "bcadv." + room.removesuffix(".py").replace("/", ".")
    return name == mine or name.startswith(f"{mine}.")


def test_only_the_job_and_the_command_line_know_the_report() -> None:
    wrong = [
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if file.relative_to(PACKAGE).parts[0] not in KNOW_THE_REPORT
        and any(n == "bcadv.report" or n.startswith("bcadv.report.") for n in imported(file))
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


MEANING = ("softmax", "argmax", "sigmoid", "log_softmax", "cross_entropy", "CrossEntropyLoss")


def test_what_outputs_mean_is_known_in_one_place() -> None:
    """Softmax and argmax elsewhere would be wrong for every other task, in silence."""
    wrong = [
        f"{file.relative_to(PACKAGE)}:{node.lineno} calls {node.attr}"
        for file in PACKAGE.rglob("*.py")
        if file.name != "task.py"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in MEANING
    ]
    assert wrong == []


def test_a_mistake_is_answered_without_loading_torch() -> None:
    """What the command line imports before it knows that a job is wanted."""
    code = "import sys, bcadv.run; print(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {*HEAVY, "numpy", "pandas"}
    assert "hydra" in loaded
