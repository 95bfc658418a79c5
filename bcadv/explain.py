"""Hydra's and OmegaConf's complaints as one sentence with a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

_UNKNOWN = re.compile(r"Could not override '(?P<name>[^']+)'")
_CHOICE = re.compile(
    r"Could not find '(?P<name>[^']+)' Available options in '(?P<group>[^']+)': (?P<choices>.*?)"
    r"(?: Config search path|$)"
)
_LAUNCHER = re.compile(r"Could not find 'hydra/launcher/(?P<name>[^']+)'")
_EXTRAS = {"joblib": "joblib", "submitit_slurm": "slurm", "submitit_local": "slurm", "ray": "ray"}
"""Name of Hydra's launcher -> the extra that brings its plugin."""
_FILE = re.compile(r"Could not find '(?P<name>[^']+)'")
_AMBIGUOUS = re.compile(r"Ambiguous value for argument '(?P<value>[^']+)'")
_HELP = "python -m bcadv.run --help lists them all"


def option_names(node: Any, prefix: str = "") -> list[str]:
    """The dotted name of every option of a configuration."""
    if not isinstance(node, Mapping) or not node:
        return [prefix]
    return [
        name
        for key, value in node.items()
        for name in option_names(value, f"{prefix}.{key}" if prefix else str(key))
    ]


def explain(error: Exception, options: Iterable[str]) -> str:
    """Says what is wrong with a command line.

    Args:
        error: what Hydra or OmegaConf raised.
        options: names to suggest from.

    Returns:
        One sentence; the library's own words where they are not known here.
    """
    text = " ".join(str(error).split())
    if found := _UNKNOWN.search(text):
        near = get_close_matches(found["name"], list(options), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"{_HELP}."
        return f"unknown option {found['name']}: {hint}"
    if (found := _LAUNCHER.search(text)) and (extra := _EXTRAS.get(found["name"])):
        return f"this launcher needs a plugin that is not installed: pip install 'bcadv[{extra}]'."
    if found := _CHOICE.search(text):
        choices = ", ".join(found["choices"].split())
        return f"there is no {found['name']}: {found['group']} can be {choices}."
    if found := _FILE.search(text):
        return f"there is no {found['name']} in the conf tree: {_HELP}."
    if found := _AMBIGUOUS.search(text):
        return (
            f"{found['value']} names several values: add -m to run a job for each, "
            "or write a list in brackets."
        )
    return text.split(" See https://hydra.cc")[0].split(" Set the environment variable")[0]
