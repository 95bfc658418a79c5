"""The command line: ``bcadv report runs=DIR``. Loads nothing before the verb is known."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from bcadv import __version__
from bcadv.arguments import HELP, aligned
from bcadv.cli.catalog import VERBS
from bcadv.errors import BcadvError
from bcadv.text import printable, shorten

_HEAD = """\
usage: bcadv VERB [name=value ...]

Can this medical image classifier be fooled, how easily, and does the defence really help?
"""
_TAIL = """
bcadv VERB --help says what a verb takes. To begin: bcadv run +experiment=baseline
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the name of the program; ``None``: those of this process.

    Returns:
        The exit status: 2 for what cannot be understood or used.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return _answer(given)
    except BcadvError as error:
        sys.stderr.write(f"bcadv: {printable(shorten(str(error)))}\n")
        return 2
    except KeyboardInterrupt:
        return 130


def _answer(arguments: list[str]) -> int:
    if not arguments or arguments[0] in HELP:
        sys.stdout.write(_help())
        return 0
    if arguments[0] in {"--version", "-V"}:
        sys.stdout.write(f"bcadv {__version__}\n")
        return 0
    name, *rest = arguments
    if name not in VERBS:
        raise BcadvError(_unknown(name))
    verb = VERBS[name]
    places = dict.fromkeys([verb.place, *verb.second.values()])
    if rest and rest[0] in verb.second:
        places = {verb.second[rest.pop(0)]: None}
    modules = [import_module(place) for place in places]
    module = modules[0]
    options, others = {}, rest
    if not verb.hands_on:
        if not HELP.isdisjoint(rest):
            sys.stdout.write("\n".join(f"{one.COMMAND.help()}\n" for one in modules))
            return 0
        options, others = module.COMMAND.parse(rest)
    status: int = module.run(options, others)
    return status


def _help() -> str:
    verbs = [line for verb in VERBS.values() for line in aligned(verb.name, verb.words, 11)]
    return "\n".join([_HEAD, *verbs, _TAIL])


def _unknown(name: str) -> str:
    """What a first word may have meant that is no verb."""
    shown = shorten(name, 200) or "an empty argument"
    if "=" in name:
        return f"{shown} stands where a verb is expected: write bcadv run {shown}"
    near = get_close_matches(name.lstrip("-"), VERBS, n=1)
    hint = f"did you mean bcadv {near[0]}?" if near else f"there are {', '.join(VERBS)}."
    return f"there is no verb {shown}: {hint}"
