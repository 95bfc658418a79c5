"""One way to read a command line: ``name=value``, from a table that also makes help and answers.

Imports nothing heavy, so that help and a mistake take a moment.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bcadv.errors import BcadvError
from bcadv.text import shorten

WIDTH = 100
_COLUMN = 26
_SHOWN = 200
"""Characters of an argument that a message repeats."""

HELP = frozenset({"--help", "-h"})


@dataclass(frozen=True)
class Kind:
    """What an option takes.

    Attributes:
        shown: stands for a value in the help.
        what: a value is, for a sentence that begins with "give".
        read: makes a value of a text; raises ValueError, KeyError or OSError where it is none.
    """

    shown: str
    what: str
    read: Callable[[str], Any]


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _existing(text: str) -> Path:
    if not Path(text).is_dir():
        raise ValueError("there is no such folder")
    return Path(text)


TEXT = Kind("TEXT", "a text", str)
FILE = Kind("FILE", "a file", Path)
FOLDER = Kind("DIR", "a folder", Path)
EXISTING = Kind("DIR", "a folder that exists", _existing)
TRUTH = Kind("true|false", "true or false", _truth)


def number(low: float, high: float) -> Kind:
    """A number between two others, neither of which it may be."""

    def read(text: str) -> float:
        value = float(text)
        if not low < value < high:
            raise ValueError
        return value

    return Kind("NUMBER", f"a number between {low:g} and {high:g}", read)


def whole(low: int, high: int) -> Kind:
    """A whole number from one to another."""

    def read(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return Kind("NUMBER", f"a whole number from {low} to {high}", read)


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        name: on the command line.
        kind: of its value.
        words: what it does, in a sentence.
        default: its value where it is not given; of one that may be given several times, ``()``.
        several: whether it may be given several times; its value is then a tuple.
    """

    name: str
    kind: Kind
    words: str
    default: Any = None
    several: bool = False


@dataclass(frozen=True)
class Command:
    """What can be asked of a part of the program.

    Attributes:
        name: as a person types it, such as ``bcadv report``.
        words: what it does, in some sentences.
        options: that it has.
        examples: whole command lines, each with what it does.
        others: what else it takes, for the help, where it hands on options that it does not know.
        places: what it takes without a name, such as ``A B``.
    """

    name: str
    words: str
    options: tuple[Option, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    others: str | None = None
    places: str = ""

    def parse(self, arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """Reads a command line.

        Args:
            arguments: without the command's name.

        Returns:
            Every option with its value, and the arguments that are to be handed on.

        Raises:
            BcadvError: an argument that is none, an unknown option, one given twice, or a value
                that cannot be used; names it and what works.
        """
        known = {option.name: option for option in self.options}
        found: dict[str, Any] = {}
        others: list[str] = []
        for argument in arguments:
            name, equals, value = argument.partition("=")
            option = known.get(name)
            if option is None and self.others is not None:
                others.append(argument)
            elif option is None or not equals:
                raise BcadvError(self._unknown(argument))
            elif name in found and not option.several:
                raise BcadvError(f"{name} is given twice: leave one out.")
            else:
                one = _read(option, value)
                found[name] = (*found.get(name, ()), one) if option.several else one
        for name, option in known.items():
            if name not in found:
                # A folder may be missing even if nobody named it.
                given = option.default is None or option.several or option.kind is not EXISTING
                found[name] = option.default if given else _read(option, str(option.default))
        return found, others

    def _unknown(self, argument: str) -> str:
        """What an argument may have meant that is no option here."""
        name, equals, value = argument.partition("=")
        names = [option.name for option in self.options]
        plain = name.lstrip("-+~").replace("-", "_")
        there = f"{self.name} --help lists what there is."
        if plain in names:
            value = value or self._shown(plain)
            return f"{_cut(argument)} is not understood: write {plain}={_cut(value)}"
        near = get_close_matches(plain, names, n=1)
        hint = f"did you mean {near[0]}={_cut(value or self._shown(near[0]))}?" if near else there
        if not equals:
            return f"{_cut(argument) or 'an empty argument'} is not an option, name=value: {hint}"
        return f"unknown option {_cut(name)}: {hint}"

    def _shown(self, name: str) -> str:
        return next(option.kind.shown for option in self.options if option.name == name)

    def help(self) -> str:
        """What it does, its options and some examples, in lines of at most `WIDTH` characters."""
        usage = [f"{option.name}={option.kind.shown}" for option in self.options]
        usage += ["..."] if self.others and not self.places else []
        usage = [*([self.places] if self.places else []), *(f"[{word}]" for word in usage)]
        head = f"usage: {self.name} {' '.join(usage)}"
        lines = textwrap.wrap(head, WIDTH, subsequent_indent=" " * 8, break_on_hyphens=False)
        lines += ["", *textwrap.wrap(self.words, WIDTH)]
        if self.options or self.others:
            lines.append("")
        for option in self.options:
            lines += aligned(f"{option.name}={option.kind.shown}", _words(option), _COLUMN)
        if self.others:
            lines += aligned(self.places or "...", self.others, _COLUMN)
        if self.examples:
            lines.append("")
        for line, words in self.examples:
            lines += aligned(line, words, 56)
        return "\n".join(lines)


def from_flags(arguments: Sequence[str]) -> list[str]:
    """``--fold-lists X`` and ``--fold-lists=X`` as ``fold_lists=X``; all else as it is.

    Some modules took flags before there was one command.
    """
    found: list[str] = []
    for argument in arguments:
        if found and found[-1].startswith("--") and found[-1] not in HELP:
            found[-1] = f"{_plain(found[-1])}={argument}"
        elif argument.startswith("--") and argument not in HELP:
            name, equals, value = argument.partition("=")
            found.append(f"{_plain(name)}={value}" if equals else argument)
        else:
            found.append(argument)
    return found


def _plain(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def aligned(left: str, words: str, column: int) -> Iterator[str]:
    """A name and its words, which begin at a column and go on there; indented by two.

    Args:
        left: the name; the words begin below it where it is too long.
        words: any number.
        column: where they begin.
    """
    lines = textwrap.wrap(words, WIDTH - column)
    if len(left) + 4 > column:
        lines.insert(0, "")
    first, *rest = lines or [""]
    yield f"  {left:<{column - 2}}{first}".rstrip()
    yield from (f"{'':{column}}{line}" for line in rest)


def _words(option: Option) -> str:
    more = " May be given several times." if option.several else ""
    if option.default in (None, ()):
        return option.words + more
    default = option.default
    value = str(default).lower() if isinstance(default, bool) else str(default)
    return f"{option.words} Default: {value}.{more}"


def _read(option: Option, value: str) -> Any:
    shown = f"{option.name}={_cut(value)} cannot be used"
    if not value.strip():
        raise BcadvError(f"{shown}: it is empty. Give {option.kind.what}.")
    if "\x00" in value:
        raise BcadvError(
            f"{shown}: it holds a null character, which no name and no value can have."
        )
    try:
        return option.kind.read(value)
    except (ValueError, KeyError, OSError) as error:
        # Python's own words on a text that is no number help nobody.
        why = f"{error}; " if isinstance(error, ValueError) and option.kind is EXISTING else ""
        raise BcadvError(f"{shown}: {why}give {option.kind.what}.") from None


def _cut(text: str) -> str:
    return shorten(text, _SHOWN)
