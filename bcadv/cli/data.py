"""``bcadv data``: what a job would take its images for, before anything is trained."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcadv.arguments import FILE, FOLDER, TRUTH, Command, Option
from bcadv.data.sources.download import OPTIONS
from bcadv.errors import BcadvError
from bcadv.files import write_atomically
from bcadv.text import shorten

if TYPE_CHECKING:
    from bcadv.config import Config

COMMAND = Command(
    "bcadv data",
    "Shows what a job of the same options would take its images for: which folders for parts, "
    "classes and patients, which files it leaves out, what the files hold, what the parts of the "
    "split have in common, and what speaks against it all. bcadv data check [FOLDER] is the same; "
    "FOLDER stands for data=folder data.root=FOLDER. Trains nothing; the exit status is 2 where a "
    "job would not begin. bcadv data overlap A B compares two sets. With download=, fetches "
    "BreakHis instead.",
    (
        Option("html", FILE, "Also write a page with a few images of each class and part."),
        Option("json", FILE, "Also write all of it as JSON; - writes that alone, to the terminal."),
        Option(
            "near",
            TRUTH,
            "Also look for images whose pixels are nearly equal; decodes every one.",
            default=False,
        ),
        Option("download", FOLDER, "Fetch BreakHis (4 GB) into this folder, or go on fetching it."),
        *OPTIONS,
    ),
    (
        ("bcadv data check chest_xray html=check.html", "your own images, with a page"),
        ("bcadv data data=breakhis data.split=patient", "BreakHis, no patient on two sides"),
        ("bcadv data download=data/breakhis", "BreakHis is fetched"),
    ),
    others="Any option of bcadv run: its --help lists them under data.",
)

TERMINAL = Path("-")
"""What json= is given to write to the terminal."""


def run(options: Mapping[str, Any], others: Sequence[str]) -> int:
    """Shows the data, or fetches BreakHis; returns the exit status.

    Raises:
        BcadvError: options that do not go together or cannot be used, or no such images.
    """
    from bcadv.data.sources.download import fetch

    if options["download"] is not None:
        unused = [*others, *(f"{name}=" for name in ("html", "json", "near") if options[name])]
        if unused:
            raise BcadvError(f"{unused[0]} cannot be used with download=: leave one of them out.")
        return fetch(options["download"], options)
    for option in OPTIONS:
        if options[option.name] != option.default:
            raise BcadvError(f"{option.name}= is about fetching BreakHis: add download=DIR to it.")
    return _check(_config(with_root(others)), options)


def _check(config: Config, options: Mapping[str, Any]) -> int:
    from rich.console import Console

    from bcadv.cli.inspection import show
    from bcadv.console import say
    from bcadv.data.inspect import inspect

    page, content = options["html"], options["json"]
    writable(page, content)
    seen = inspect(config.data, seed=config.seed, near=options["near"], sheet=page is not None)
    write_json(content, seen.as_dict())
    if page is not None:
        from bcadv.cli.data_page import html

        write(page, html(seen), "html")
    console = Console(stderr=content == TERMINAL)
    if content != TERMINAL:
        show(console, seen)
    for name, path in (("Page", page), ("JSON", content)):
        if path not in (None, TERMINAL):
            say(console, f"{name}: {path}")
    return 0 if seen.usable else 2


def writable(page: Path | None, content: Path | None) -> None:
    """Refuses places that nothing can be written to, before any work.

    Raises:
        BcadvError: a folder, none above it, or one file for two things.
    """
    if page is not None and page == TERMINAL:
        raise BcadvError("html=- cannot be used: give a file, as in html=check.html.")
    for name, path in (("html", page), ("json", content)):
        if path in (None, TERMINAL):
            continue
        if path.is_dir():
            raise BcadvError(f"{name}={path} is a folder: give a file in it.")
        if not path.parent.is_dir():
            raise BcadvError(f"{name}={path}: there is no folder {path.parent}; make it first.")
    if page is not None and page == content:
        raise BcadvError(f"html={page} and json={content} are one file: give two.")


def write_json(path: Path | None, content: Mapping[str, Any]) -> None:
    """Writes plain values, to the terminal where the path is ``-``."""
    if path is None:
        return
    # Escapes for all that is not ASCII, so that any name fits any stream.
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    if path == TERMINAL:
        sys.stdout.write(text)
    else:
        write(path, text, "json")


def write(path: Path, text: str, option: str) -> None:
    """Writes a file whole.

    Raises:
        BcadvError: it cannot be written.
    """
    try:
        write_atomically(path, text)
    except OSError as error:
        raise BcadvError(
            f"{option}={path} cannot be written ({error.strerror}): give another file."
        ) from None


def with_root(arguments: Sequence[str]) -> list[str]:
    """The options of a job, of which the first may be a mere folder.

    Raises:
        BcadvError: a word that is neither an option nor a folder, or two places of images.
    """
    from bcadv.overrides import quoted

    if not arguments:
        return []
    first, *rest = arguments
    shown = shorten(first, 200) or "an empty argument"
    if first and Path(first).is_dir():
        if any(one.startswith("data.root=") for one in rest):
            raise BcadvError(f"{shown} and data.root= both say where the images lie: leave one out")
        chosen = [] if any(one.startswith("data=") for one in rest) else ["data=folder"]
        return [*chosen, f"data.root={quoted(first)}", *rest]
    if "=" in first or first.startswith(("-", "+", "~")):
        return list(arguments)
    if first and Path(first).is_file():
        raise BcadvError(
            f"{shown} is a file: give the folder of the images, or say what the file is with "
            "options such as data=table data.table=FILE"
        )
    raise BcadvError(
        f"{shown} is neither a folder nor an option, name=value, nor one of check and overlap"
    )


def _config(overrides: Sequence[str]) -> Config:
    """The configuration of a job.

    Raises:
        BcadvError: there is none of these options.
    """
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from bcadv.config import validate
    from bcadv.explain import explain, owners
    from bcadv.overrides import read, with_plus
    from bcadv.run import compose_job, conf_dir, every_option, settings

    given = with_plus(overrides)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        read(given, conf_dir(), every_option)
        try:
            return validate(settings(compose_job(given)))
        except (HydraException, OmegaConfBaseException) as error:
            said = explain(error, every_option(), owners(conf_dir()))
            raise BcadvError(said) from None
