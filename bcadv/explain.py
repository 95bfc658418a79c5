"""Hydra's and OmegaConf's complaints as one sentence with a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

_UNKNOWN = re.compile(r"Could not override '(?P<name>[^']+)'")
_CHOICE = re.compile(
    r"Could not find '(?P<name>[^']+)' Available options in '(?P<group>[^']+)': (?P<choices>.*?)"
    r"(?: Config search path|$)"
)
_EXTRAS = {"joblib": "joblib", "submitit_slurm": "slurm", "submitit_local": "slurm", "ray": "ray"}
"""Name of Hydra's launcher -> the extra that brings its plugin."""
_LAUNCHER = re.compile(rf"Could not find 'hydra/launcher/(?P<name>{'|'.join(_EXTRAS)})'")
_FILE = re.compile(r"Could not find '(?P<name>[^']+)'")
_AMBIGUOUS = re.compile(r"Ambiguous value for argument '(?P<value>.+?)' 1\.")
_SWEEP = re.compile(r"Sweep parameters '(?P<value>.+)' requires --multirun")
_MERGING = re.compile(r"Error merging override (?P<value>.+)")
_NOWHERE = re.compile(r"Interpolation key '(?P<key>[^']+)' not found.*?full_key: (?P<name>\S+)")
_RESOLVER = re.compile(r"Unsupported interpolation type (?P<kind>\S+).*?full_key: (?P<name>\S+)")
_VARIABLE = re.compile(r"Environment variable '(?P<key>[^']+)' not found.*?full_key: (?P<name>\S+)")
_WRITE = "write the value itself, or ${oc.env:NAME} for a variable of the shell."
_HELP = "bcadv run --help lists them all"


def option_names(node: Any, prefix: str = "") -> list[str]:
    """The dotted name of every option of a configuration."""
    if not isinstance(node, Mapping) or not node:
        return [prefix]
    return [
        name
        for key, value in node.items()
        for name in option_names(value, f"{prefix}.{key}" if prefix else str(key))
    ]


def owners(conf: Path) -> dict[str, list[str]]:
    """Each option that only some files of a group have -> those files, as ``data=folder``."""
    found: dict[str, list[str]] = {}
    for file in sorted(conf.glob("*/*.yaml")):
        group = file.parent.name
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        # A file that brings settings of other groups names its own.
        everywhere = "@package _global_" in file.read_text(encoding="utf-8")
        own = content.get(group, {}) if everywhere else content
        if "defaults" in own:
            continue  # what it sets are options of the file that it builds on
        for name in option_names(own, group) if own else []:
            found.setdefault(name, []).append(f"{group}={file.stem}")
    return found


def near_name(name: str, options: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """The known option that a mistyped name is most like; never the name itself."""
    others = [option for option in options if option != name]
    near = get_close_matches(name, others, n=1, cutoff=cutoff)
    return near[0] if near else None


def explain(
    error: Exception, options: Iterable[str], owned: Mapping[str, Sequence[str]] | None = None
) -> str:
    """Says what is wrong with a command line.

    Args:
        error: what Hydra or OmegaConf raised.
        options: names to suggest from.
        owned: see `owners`.

    Returns:
        One sentence; the library's own words where they are not known here.
    """
    text = " ".join(str(error).split())
    if found := _UNKNOWN.search(text):
        return unknown(found["name"], options, owned or {})
    for pattern, answer in _ANSWERS:
        if found := pattern.search(text):
            return answer(found, error)
    for tail in (" See https://hydra.cc", " Set the environment variable", " full_key:"):
        text = text.split(tail)[0]
    return text


def _launcher(found: re.Match[str], _: Exception) -> str:
    extra = _EXTRAS[found["name"]]
    return f"this launcher needs a plugin that is not installed: pip install 'bcadv[{extra}]'."


def _choice(found: re.Match[str], _: Exception) -> str:
    choices = ", ".join(found["choices"].split())
    return f"there is no {found['name']}: {found['group']} can be {choices}."


def _file(found: re.Match[str], _: Exception) -> str:
    return f"there is no {found['name']} in the conf tree: {_HELP}."


def _several(found: re.Match[str], _: Exception) -> str:
    return (
        f"{found['value']} names several values: add -m to run a job for each, or write a list in "
        "brackets, or a text that holds a comma in quotes."
    )


def _merging(found: re.Match[str], error: Exception) -> str:
    cause = (str(error.__cause__ or "").splitlines() or [""])[0].rstrip(".")
    return f"{found['value']} cannot be used: {cause or 'another kind of value is expected'}."


def _nowhere(found: re.Match[str], _: Exception) -> str:
    return f"{found['name']} refers to ${{{found['key']}}}, and there is no such option: {_WRITE}"


def _resolver(found: re.Match[str], _: Exception) -> str:
    return f"{found['name']} refers to ${{{found['kind']}:...}}, which nobody knows: {_WRITE}"


def _variable(found: re.Match[str], _: Exception) -> str:
    return (
        f"{found['name']} refers to the variable {found['key']} of the shell, which is not set: "
        "set it, or write the value itself."
    )


_ANSWERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Exception], str]], ...] = (
    (_LAUNCHER, _launcher),
    (_CHOICE, _choice),
    (_FILE, _file),
    (_AMBIGUOUS, _several),
    (_SWEEP, _several),
    (_MERGING, _merging),
    (_NOWHERE, _nowhere),
    (_RESOLVER, _resolver),
    (_VARIABLE, _variable),
)


def unknown(name: str, options: Iterable[str], owned: Mapping[str, Sequence[str]]) -> str:
    """What a name may have meant that is no option of the chosen configuration."""
    plain = name.lstrip("+~")
    if plain in owned:
        where = " and ".join(owned[plain])
        return f"{plain} is an option of {where} alone: choose that, or leave {plain} out."
    if plain.startswith("hydra.launcher."):
        return (
            f"the chosen launcher has no option {plain}: choose another, as +launcher=joblib, or "
            f"leave {plain} out."
        )
    # Hydra's own are not among them.
    near = None if plain.startswith("hydra.") else near_name(name, options)
    hint = f"did you mean {near}?" if near else f"{_HELP}."
    return f"unknown option {name}: {hint}"
