"""What a row of the catalog of attacks says; imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

Norm = Literal["inf", "2", "1", "0"]
Plain = bool | int | float | str | None
Value = Plain | Mapping[str, Plain]
Access = Literal["white box", "black box, scores", "black box, decisions", "transfer"]
Family = Literal["gradient", "minimal norm", "black box", "transfer", "worst case", "foreign"]

_NOTHING = object()


@dataclass(frozen=True)
class Option:
    """A setting of an attack, ``attack.<attack>.<name>``, or of a training objective.

    Attributes:
        name: the field of its class.
        default: its default there.
        kind: of value.
        description: what it does, for a person.
        low: smallest value allowed.
        high: largest value allowed.
        optional: whether ``null`` is allowed.
        choices: that there are, of a choice.
    """

    name: str
    default: Value
    kind: Literal["whole number", "number", "true or false", "choice", "text", "settings"]
    description: str
    low: float = -math.inf
    high: float = math.inf
    optional: bool = False
    choices: tuple[str, ...] = ()

    def checked(self, value: object, place: str) -> Value:
        """A value of the right kind and range.

        Raises:
            ValueError: it is neither; says what is.
        """
        taken: Any = self._taken(value)
        if taken is not _NOTHING:
            return taken  # type: ignore[no-any-return]
        ends = [f"from {self.low:g}"] if self.low > -math.inf else []
        ends += [f"to {self.high:g}"] if self.high < math.inf else []
        what = {
            "true or false": self.kind,
            "choice": f"one of {', '.join(self.choices)}",
            "settings": "names with a number, true, false, a text or null each, as {steps: 50}",
        }.get(self.kind, " ".join(["a", self.kind, *ends]))
        null = ", or null" if self.optional else ""
        if self.kind == "text" and isinstance(value, float):
            null += f"; what looks like a number stands in quotes, {place}='\"12e34\"'"
        raise ValueError(f"{place}={str(value)[:60]} cannot be used: give {what}{null}")

    def _taken(self, value: object) -> Any:
        """The value as it is used; `_NOTHING` where it cannot be."""
        if value is None:
            return None if self.optional else _NOTHING
        found: object = _NOTHING
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.kind == "true or false":
            found = value if isinstance(value, bool) else _NOTHING
        elif self.kind == "choice":
            found = value if value in self.choices else _NOTHING
        elif self.kind == "settings":
            if isinstance(value, Mapping) and all(map(_is_setting, value.items())):
                # In one order, so that what means the same is the same.
                found = dict(sorted(value.items())) or None
        elif self.kind == "text":
            if isinstance(value, str) and value.strip():
                found = value
            elif number and isinstance(value, int):
                # The command line reads digits as a number; of 12e34 the text is lost by then.
                found = str(value)
        elif number and math.isfinite(value) and self.low <= value <= self.high:  # type: ignore[arg-type,operator]
            if self.kind == "number":
                found = value
            elif value == int(value):  # type: ignore[call-overload]
                found = int(value)  # type: ignore[call-overload]
        return found


def _is_setting(item: tuple[object, object]) -> bool:
    name, value = item
    finite = not isinstance(value, float) or math.isfinite(value)
    return isinstance(name, str) and isinstance(value, Plain) and finite


def checked(
    options: Sequence[Option], given: Mapping[str, Any], place: str, owner: str
) -> dict[str, Value]:
    """Every option with its value: the one given, or the default.

    Args:
        options: that there are.
        given: name -> value.
        place: where they stand on the command line.
        owner: of the options, for a sentence.

    Raises:
        ValueError: an unknown option, or a value that cannot be used.
    """
    known = {option.name: option for option in options}
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {place}.{near[0]}?"
                if near
                else f"{owner} has {', '.join(known) or 'no options'}"
            )
            raise ValueError(f"unknown option {place}.{name}: {hint}")
    return {
        name: option.checked(given.get(name, option.default), f"{place}.{name}")
        for name, option in known.items()
    }


@dataclass(frozen=True)
class Attack:
    """A row of the catalog.

    Attributes:
        name: in files and on the command line.
        place: of its class, ``module:class``.
        label: what people call it; may name options, as in ``PGD-{steps}``.
        words: what it does, in one line.
        access: what it knows of the model.
        family: of attacks; one of minimal norm serves every radius with one run.
        how: what it does, for a sentence; may name options.
        norms: that it exists in.
        steps: along how many gradients in a row it goes, unless its option ``steps`` says so.
        options: its settings.
        less: what those of its methods know that know less than `access`: a pattern of the names
            that its option ``method`` has for them, by what they know.
        model_option: that of its options which names a stored model. Its class has a field of this
            name for the model itself, which whoever builds the attack has to load.
    """

    name: str
    place: str
    label: str
    words: str
    access: Access
    family: Family
    how: str
    norms: tuple[Norm, ...]
    steps: int | None = None
    options: tuple[Option, ...] = ()
    less: Mapping[Access, str] = field(default_factory=dict)
    model_option: str | None = None

    def settings(self, given: Mapping[str, Any]) -> dict[str, Value]:
        """Every option with its value: the one given, or the default.

        Raises:
            ValueError: an unknown option, or a value that cannot be used.
        """
        return checked(self.options, given, f"attack.{self.name}", self.name)

    def label_of(self, norm: Norm, settings: Mapping[str, Value]) -> str:
        """What people call it with these settings, without its strength."""
        label = self.label.format(**settings)
        return label if norm == "inf" else f"{label} L{norm}"

    def access_of(self, settings: Mapping[str, object]) -> Access:
        """What it knows of the model with these settings."""
        method = str(settings.get("method", ""))
        fits = (access for access, names in self.less.items() if re.fullmatch(names, method))
        return next(fits, self.access)

    def how_of(self, settings: Mapping[str, Value]) -> str:
        """What it knows and does, for a sentence."""
        return f"{self.access_of(settings)}, {self.how.format(**settings)}"

    def steps_of(self, settings: Mapping[str, Value]) -> int | None:
        """Along how many gradients in a row it goes; an attack that uses none has none."""
        steps = settings.get("steps", self.steps)
        return int(steps) if isinstance(steps, int | float) else None
