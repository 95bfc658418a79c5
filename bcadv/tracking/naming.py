"""What a run is called, and what MLflow shows as its source. Pure; reads the sweep's record."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bcadv.results.files import SWEEP_RECORD
from bcadv.text import brief, shown

_LONGEST_SETTING = 60
_LONGEST_NAME = 240
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def run_name(experiment: str, params: Mapping[str, Any], folder: Path) -> str:
    """Says what was done: ``defense σ=0.1 seed=0``.

    Sigma is named where training saw noise. A job of a sweep is also named by the other settings
    in which the jobs of the sweep differ, and begins with its number, because MLflow's tables cut
    names at their end: ``#3 defense σ=0.1 seed=0 eps_px=4``.

    Args:
        experiment: name of the question.
        params: the settings that the job uses, by dotted name.
        folder: of the job; one that is a mere number lies in its sweep's.
    """
    said = {}
    noise = params.get("injection.perturbation") is not None
    if noise and params.get("injection.probability") != 0 and "sigma" in params:
        said["sigma"] = f"σ={params['sigma']:g}"
    if "seed" in params:
        said["seed"] = f"seed={params['seed']}"
    words = [experiment, *said.values()]
    if folder.name.isdigit():
        varied = _varied(folder.parent / SWEEP_RECORD, int(folder.name))
        own = f"experiment={experiment}"  # is named already
        words = [f"#{folder.name}", *words]
        words += [text for option, text in varied.items() if option not in said and text != own]
    return brief(shown(" ".join(words)), _LONGEST_NAME)


def _varied(record: Path, number: int) -> dict[str, str]:
    """Option -> ``option=value`` as on the command line, of what is not common to all jobs."""
    try:
        raw = json.loads(record.read_text(encoding="utf-8"))
        jobs = [[str(item) for item in job["overrides"]] for job in raw["jobs"]]
        own = jobs[number]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {}  # another sweeper than Hydra's keeps no such record
    common = set(own).intersection(*jobs)
    return {
        item.partition("=")[0].lstrip("+"): brief(item.lstrip("+"), _LONGEST_SETTING)
        for item in own
        if item not in common
    }


def source_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """What MLflow's pages show as the source of a run, and its version.

    Args:
        tags: of the run; ``git_commit`` may be a commit, with ``-dirty`` where files were changed.
    """
    found = {"mlflow.source.name": "python -m bcadv.run", "mlflow.source.type": "LOCAL"}
    commit = tags.get("git_commit", "").removesuffix("-dirty")
    if _COMMIT.fullmatch(commit):
        found["mlflow.source.git.commit"] = commit
    return found
