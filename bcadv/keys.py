"""What makes two jobs the same, and two results: the names they go by. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bcadv.config import canonical
from bcadv.data.catalog import SOURCES
from bcadv.data.records import image_files
from bcadv.data.sources.choose import suffixes
from bcadv.store.code import PACKAGE, version_of_files
from bcadv.store.fingerprint import digest, flatten

_IGNORED = ("resume", "reuse", "tracking", "paths")
"""What may differ between a job and its repetition: none of it changes a result."""

_PLACES = ("data.root", "data.folds_dir", "model.weights_url")
"""Where something lies or comes from. What lies there counts by its content."""

_NOT_MEASURING = {
    *("report", "tracking", "run.py", "sweep.py", "explain.py", "options.py", "conf"),
    *("console.py", "text.py", "resume.py", "overrides.py", "files.py", "hydra_patches.py"),
    *("help.py", "arguments.py", "cli", "__main__.py", "interrupt.py", "mistakes.py", "keys.py"),
    *("badge.py", "opening.py", "progress.py", "sweep_table.py", "study"),
}
"""What asks for a job, says how it goes, or shows its results: none of it changes a number."""


def job_key(raw: Mapping[str, Any]) -> str:
    """Names a job among others: every option that can change its results, and whose images.

    A folder below the output folder counts by its place there, so that all of it may be moved.
    That of synthetic tissue does not count: its options say what is painted into it.
    """
    settings = _settings(raw)
    outputs = Path(str(_option(raw, "paths.outputs") or ""))
    for name in _PLACES:
        place = _option(raw, name)
        if place is not None and not (name == "data.root" and _synthetic(raw)):
            settings[name] = _below(Path(str(place)), outputs)
    return digest(settings)[:16]


def _settings(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Every option that can change a result, by dotted name, without places."""
    kept = {key: value for key, value in canonical(raw).items() if key not in _IGNORED}
    return {name: value for name, value in flatten(kept).items() if name not in _PLACES}


def _option(raw: Mapping[str, Any], name: str) -> Any:
    section, _, option = name.partition(".")
    return (raw.get(section) or {}).get(option)


def _synthetic(raw: Mapping[str, Any]) -> bool:
    row = SOURCES.get(str(_option(raw, "data.source")))
    return row is not None and row.synthetic


def _below(place: Path, outputs: Path) -> str:
    """A place as seen from the output folder where it lies in it, else as it was given."""
    try:
        return f"outputs:{place.absolute().relative_to(outputs.absolute()).as_posix()}"
    except ValueError:
        return str(place)


def measuring_code() -> str:
    """Version of the code that results come from."""
    places = sorted(
        path.name
        for path in PACKAGE.iterdir()
        if path.name not in _NOT_MEASURING and (path.suffix == ".py" or path.is_dir())
    )
    return version_of_files(tuple(places))


def result_key(raw: Mapping[str, Any]) -> str:
    """Names what a job measures; equal keys, equal results.

    The settings without places, the version of the code, and the images themselves.
    """
    parts = [digest(_settings(raw))[:16], measuring_code()]
    if not _synthetic(raw):
        parts.append(_files(str(_option(raw, "data.root")), suffixes()))
        folds = _option(raw, "data.folds_dir")
        if folds is not None:
            parts.append(_files(str(folds), frozenset({".txt"})))
    table = str(_option(raw, "data.split") or "")
    if table.lower().endswith(".csv"):
        parts.append(digest([_state(Path(table))])[:16])
    return "-".join(parts)


@cache
def _files(root: str, suffixes: frozenset[str]) -> str:
    """Names the files below a folder by place, size and time, which is enough to see a change."""
    files = sorted(image_files(Path(root), suffixes))
    return digest([[str(path.relative_to(root)), *_state(path)] for path in files])[:16]


def _state(path: Path) -> tuple[int, int]:
    """Size and time of a file; of one that cannot be reached, as a dangling link, none."""
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)
