"""The commands of a Markdown page, and what makes each of them small enough to be run by a test."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep

from bcadv.run import MULTIRUN
from tests.conftest import REPOSITORY
from tests.jobs import TISSUE

PROGRAMS = frozenset({"make", "python", "pip", "srun", "bcadv", "mlflow", "jupyter", "git", "."})
"""A piece of code within a sentence is a command if it begins with one of these."""

JOB = ("python", "-m", "bcadv.run")
_JOBS = (JOB, ("python", "-m", "bcadv", "run"), ("bcadv", "run"))
"""What begins a command that runs a job."""

SMALLER = {
    "data.crop": "32",
    "model.weights": "null",
    "model.block_config": "[1,1]",
    "model.growth_rate": "4",
    "model.init_features": "4",
    "trainer.max_epochs": "1",
    "trainer.precision": "32",
    "trainer.accelerator": "cpu",
    "trainer.threads": "1",
    "trainer.devices": "1",
    "trainer.nodes": "1",
    "evaluation.n_boot": "100",
    "evaluation.examples": "1",
    "tracking.enabled": "false",
}
"""What is appended to every job: a smaller network on smaller images for one epoch, alone."""


@dataclass(frozen=True)
class Written:
    """A command as it stands on the page.

    Attributes:
        words: as a shell reads them.
        remark: the comment behind it.
    """

    words: tuple[str, ...]
    remark: str

    def __str__(self) -> str:
        return shlex.join(self.words)


def commands(page: str) -> list[Written]:
    """Every command of a page, in its order: lines with a prompt, and code within sentences."""
    found: list[Written] = []
    blocks = re.compile(r"^```(\w*)\n(.*?)^```\n", re.S | re.M)
    end = 0
    for block in [*blocks.finditer(page), None]:
        prose = page[end : block.start() if block else len(page)]
        for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose):
            words = code.split()
            if words[0] in PROGRAMS and (len(words) > 1 or words == ["make"]):
                found.append(_written(code))
        if block:
            end = block.end()
            if block[1] == "console":
                lines = block[2].replace("\\\n", " ").splitlines()
                found += [_written(line[2:]) for line in lines if line.startswith("$ ")]
    # One that stands twice is run once; whatever is said behind it counts.
    once: dict[tuple[str, ...], Written] = {}
    for written in found:
        if not once.get(written.words, written).remark or written.words not in once:
            once[written.words] = written
    return list(once.values())


def _written(line: str) -> Written:
    words = tuple(shlex.split(line, comments=True))
    return Written(words, line.partition("  # ")[2].strip())


def programs(written: Written) -> list[list[str]]:
    """What a command starts of this project: itself, or the lines of its target of the Makefile."""
    words = list(written.words)
    if words[0] == "srun":
        words = words[words.index("python") :]
    if words[0] != "make":
        return [words]
    # What an outer make was told is none of the inner one's business.
    world = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "ARGS"))}
    done = subprocess.run(
        ["make", "--dry-run", *words[1:]],
        cwd=REPOSITORY,
        env=world,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.replace("\\\n", " ").splitlines()
    place = ".venv/bin/"
    ours = [line for line in lines if line.startswith((f"{place}python -m bcadv", f"{place}bcadv"))]
    return [shlex.split(line.removeprefix(place)) for line in ours]


def parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What begins the command of a job, and its settings; of another command there are none."""
    for begin in _JOBS:
        if tuple(words[: len(begin)]) == begin and "--help" not in words:
            return list(begin), list(words[len(begin) :])
    return list(words), []


def smaller(words: Sequence[str]) -> list[str]:
    """The settings of a job made small: what is appended wins over what is written.

    Of each option that is swept only the first value is left. A launcher gives way to Hydra's own:
    tests/test_launchers.py starts every one of them.
    """
    items = [item for item in words if not item.startswith(("+launcher=", "hydra.launcher."))]
    flags = [] if len(items) == len(words) or any(f in items for f in MULTIRUN) else ["-m"]
    names = {item.lstrip("+").partition("=")[0] for item in items}
    more = {f"{name}={value}" for name, value in SMALLER.items()}
    more |= set(TISSUE) if "data" not in names else {"data.resize=32"}
    if "eps_px" not in names:
        more.add("eps_px=[0,8]" if not _sweeps(items, "epsilon") else "eps_px=8")
    if _sweeps(items, "sigma"):
        more.add("sigma=0.05")
    if _sweeps(items, "seed"):
        more.add("seed=0")
    if _sweeps(items, "folds"):
        more.add("data.folds=3")  # of a few patients
    parser = OverridesParser.create()
    for item in items:
        if "=" in item and isinstance(value := parser.parse_override(item).value(), ChoiceSweep):
            more.add(f"{item.partition('=')[0]}={value.list[0]}")
    return [*flags, *items, *sorted(more)]


def replaced(items: Sequence[str]) -> bool:
    """Whether `smaller` leaves out or overrides something that is written."""
    given = {item.partition("=")[0] for item in items}
    return not set(items) <= set(smaller(items)) or bool(given & SMALLER.keys())


def _sweeps(items: Sequence[str], name: str) -> bool:
    return any(item.startswith("+sweep=") and name in item for item in items)
