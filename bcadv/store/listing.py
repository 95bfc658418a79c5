"""The stored models as a person asks for them: what each is, and which no job uses."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bcadv.arguments import EXISTING, TRUTH, Command, Option
from bcadv.console import say
from bcadv.store.models import Entry, Store
from bcadv.text import printable

COMMAND = Command(
    "bcadv models",
    "Lists the trained models that are kept: what each is, how it judges validation images after "
    "its last epoch, and how many jobs use it.",
    (
        Option("outputs", EXISTING, "The folder that holds models/.", Path("outputs")),
        Option("prune", TRUTH, "Remove the models that no job uses, after asking.", default=False),
        Option("yes", TRUTH, "Remove them without asking.", default=False),
    ),
    (("bcadv models prune=true", "what no job uses is removed once you agree"),),
)

_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60))


def run(options: Mapping[str, Any], others: Sequence[str]) -> int:
    """Lists or removes models; returns the exit status."""
    console, store = Console(), Store(options["outputs"])
    if not options["prune"]:
        show(store, console)
        return 0
    try:
        prune(store, console, ask=not options["yes"])
    except (EOFError, KeyboardInterrupt):
        console.print("Nothing was removed.")
        return 130
    return 0


def megabytes(size: int) -> str:
    """Bytes for a reader."""
    return f"{size / 1e6:.1f} MB"


def show(store: Store, console: Console) -> None:
    """Lists the stored models, the oldest first."""
    references = store.references()
    entries = store.entries()
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)  # to be copied
    for heading in ("defence", "seed", "images", "epochs", "val. acc.", "size", "age"):
        table.add_column(heading, overflow="fold")
    table.add_column("jobs", justify="right")
    for entry in entries:
        jobs = references.get(entry.folder.name, [])
        cells = (
            *(entry.folder.name, defence_of(entry.shape), _of(entry.shape, "seed")),
            *(_of(entry.shape, "data.source", "data.split"), _epochs(entry), _accuracy(entry)),
            *(megabytes(entry.size()), _age(entry), str(len(jobs))),
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    if entries:
        console.print(table)
    total = megabytes(sum(entry.size() for entry in entries))
    say(console, f"{len(entries)} stored models, {total}, in {store.root}.")


def _of(shape: Mapping[str, Any], *names: str) -> str:
    return " ".join(str(shape[name]) for name in names if shape.get(name) is not None) or "unknown"


def defence_of(shape: Mapping[str, Any]) -> str:
    """What the training did against attacks."""
    if not shape:
        return "unknown"
    objective = shape.get("objective")
    found = [] if objective in {None, "cross_entropy"} else [str(objective)]
    if shape.get("injection.perturbation") is not None:
        clipped = ", clipped" if shape["injection.perturbation"] == "gaussian_clipped" else ""
        share = shape.get("injection.probability")
        part = "" if share in {None, 1} else f" on {share} of the images"
        found.append(f"noise σ={shape.get('sigma')}{clipped}{part}")
    return ", ".join(found) or "undefended"


def _epochs(entry: Entry) -> str:
    record = entry.trained
    return "unfinished" if record is None else str(record["epochs"])


def _accuracy(entry: Entry) -> str:
    """Of the last epoch, on validation images, in per cent."""
    try:
        with entry.history.open(encoding="utf-8", newline="") as file:
            *_, last = csv.DictReader(file)
        return f"{100 * float(last['val_accuracy']):.1f} %"
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return "unknown"


def _age(entry: Entry) -> str:
    last = entry.checkpoint("last")
    seconds = time.time() - (last if last.exists() else entry.folder).stat().st_mtime
    for unit, length in _UNITS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "just now"


def prune(store: Store, console: Console, *, ask: bool) -> None:
    """Removes the models that no job folder refers to."""
    references = store.references()
    unused = [entry for entry in store.entries() if entry.folder.name not in references]
    if not unused:
        say(console, f"Every model in {store.root} is used by a job; nothing to remove.")
        return
    for entry in unused:
        say(console, f"{entry.folder.name}  {megabytes(entry.size())}  {_what(entry.shape)}")
    size = megabytes(sum(entry.size() for entry in unused))
    question = f"Remove these {len(unused)} models ({size}) that no job uses?"
    if ask and console.input(f"{question} [y/N] ", markup=False).strip().lower() != "y":
        console.print("Nothing was removed.")
        return
    references = store.references()  # a job may have come while the question stood
    for entry in unused:
        if entry.folder.name in references or not store.remove(entry):
            say(console, f"{entry.folder.name} is wanted by a job now and stays.")
    console.print("Done.")


def _what(shape: Mapping[str, Any]) -> str:
    return (
        f"{defence_of(shape)}, seed {_of(shape, 'seed')}, {_of(shape, 'data.source', 'data.split')}"
    )
