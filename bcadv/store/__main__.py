"""``python -m bcadv.store [list | prune] [outputs=DIR]``: the stored models.

``list`` shows each with what it is and which jobs use it. ``prune`` removes those that no job
folder refers to, after asking; ``prune yes=true`` does not ask.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bcadv.errors import BcadvError
from bcadv.store.models import Entry, Store
from bcadv.text import printable

_SHOWN = ("data.source", "data.split", "injection.perturbation", "sigma", "seed")


def megabytes(size: int) -> str:
    """Bytes for a reader."""
    return f"{size / 1e6:.1f} MB"


def show(store: Store, console: Console) -> None:
    """Lists the stored models."""
    references = store.references()
    entries = store.entries()
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("model", "epochs", "what it is", "size", "jobs"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        jobs = references.get(entry.folder.name, [])
        cells = (entry.folder.name, _epochs(entry), _what(entry), megabytes(entry.size()))
        table.add_row(*map(Text, cells), str(len(jobs)))
    if entries:
        console.print(table)
    total = megabytes(sum(entry.size() for entry in entries))
    _say(console, f"{len(entries)} stored models, {total}, in {store.root}.")


def _say(console: Console, sentence: str) -> None:
    """Names of folders and settings are text, whatever brackets they hold."""
    console.print(printable(sentence), soft_wrap=True, markup=False, highlight=False)


def _epochs(entry: Entry) -> str:
    record = entry.trained
    return "unfinished" if record is None else str(record["epochs"])


def _what(entry: Entry) -> str:
    shape = entry.shape
    known = " ".join(f"{k}={shape[k]}" for k in _SHOWN if shape.get(k) is not None)
    return printable(known) or "unknown"


def prune(store: Store, console: Console, *, ask: bool) -> None:
    """Removes the models that no job folder refers to."""
    references = store.references()
    unused = [entry for entry in store.entries() if entry.folder.name not in references]
    if not unused:
        _say(console, f"Every model in {store.root} is used by a job; nothing to remove.")
        return
    for entry in unused:
        _say(console, f"{entry.folder.name}  {megabytes(entry.size())}  {_what(entry)}")
    size = megabytes(sum(entry.size() for entry in unused))
    question = f"Remove these {len(unused)} models ({size}) that no job uses?"
    if ask and console.input(f"{question} [y/N] ").strip().lower() != "y":
        console.print("Nothing was removed.")
        return
    references = store.references()  # a job may have come while the question stood
    for entry in unused:
        if entry.folder.name in references or not store.remove(entry):
            _say(console, f"{entry.folder.name} is wanted by a job now and stays.")
    console.print("Done.")


def main(arguments: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    console = Console()
    try:
        options = dict(item.split("=", 1) for item in arguments if "=" in item)
        verbs = [item for item in arguments if "=" not in item] or ["list"]
        unknown = set(options) - {"outputs", "yes"}
        if unknown or len(verbs) > 1 or verbs[0] not in {"list", "prune"}:
            wrong = ", ".join([*sorted(unknown), *verbs]) if unknown else " ".join(verbs)
            raise BcadvError(
                f"{wrong} is not understood: list or prune, with outputs=DIR, yes=true."
            )
        outputs = Path(options.get("outputs", "outputs"))
        if not outputs.is_dir():
            raise BcadvError(f"outputs={outputs} is not a folder: name the one that holds models/.")
        store = Store(outputs)
        if verbs == ["list"]:
            show(store, console)
        else:
            prune(store, console, ask=options.get("yes") != "true")
    except BcadvError as error:
        _say(Console(stderr=True), f"bcadv: {error}")
        return 2
    except (EOFError, KeyboardInterrupt):
        console.print("Nothing was removed.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
