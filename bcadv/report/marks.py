"""The red sign beside a number that a failed check makes suspect, and the note that explains it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import NamedTuple

from rich.text import Text

from bcadv.report.words import say
from bcadv.study.marks import Checks
from bcadv.text import shown

SIGN = "⚠"


class Note(NamedTuple):
    """What a sign stands for.

    Attributes:
        mark: the sign with its letter.
        text: which checks failed.
        anchor: of the finding on the first of them.
    """

    mark: str
    text: str
    anchor: str


def anchor(check: str) -> str:
    """Name of the finding on a check in links."""
    return f"check-{re.sub('[^a-z0-9]+', '-', check.lower())}"


@dataclass
class Notes:
    """Hands out signs: the same checks have the same letter, in the order of their first use.

    Attributes:
        asked: what each check asks for, by its id.
    """

    asked: Mapping[str, str]
    _marks: dict[Checks, str] = field(default_factory=dict)

    def mark(self, checks: Checks) -> str:
        """One sign for all checks that make a number suspect; nothing where there are none."""
        if not checks:
            return ""
        return self._marks.setdefault(checks, f"{SIGN}{_letters(len(self._marks))}")

    def beside(self, text: str, checks: Checks) -> str:
        """A text and its sign, if any."""
        return f"{text} {self.mark(checks)}".rstrip() if checks else text

    def known(self, used: Sequence[str]) -> list[Note]:
        """What those signs stand for that stand in some texts, in the order of the letters."""
        found = {mark for text in used for mark in re.findall(rf"{SIGN}[a-z]+", text)}
        return [
            Note(mark, say("suspect", checks=[self.asked.get(c, c) for c in of]), anchor(of[0]))
            for of, mark in self._marks.items()
            if mark in found
        ]

    @property
    def red(self) -> str:
        """Regular expression of the signs."""
        return "|".join(rf"{mark}(?![a-z])" for mark in self._marks.values()) or "$^"

    def coloured(self, text: str) -> Text:
        """The text for a terminal, its signs in red."""
        made = Text(shown(text))
        made.highlight_regex(self.red, "bold red")
        return made

    def legend(self, used: Sequence[str]) -> list[str]:
        """What the signs in some texts stand for, a line each."""
        return [f"{note.mark} {note.text}" for note in self.known(used)]


def _letters(number: int) -> str:
    """Letters in the order a, ..., z, aa, ab, and on."""
    more, last = divmod(number, len(ascii_lowercase))
    return (_letters(more - 1) if more else "") + ascii_lowercase[last]
