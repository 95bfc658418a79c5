"""What pydantic finds wrong with a configuration, in sentences a person can act on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from bcadv.text import shorten

FieldsOf = Callable[[Any], Mapping[str, FieldInfo]]

_SHOWN = 200
"""Characters of a value that a message repeats."""


def sentences(error: ValidationError, root: Any, fields_of: FieldsOf) -> list[str]:
    """A sentence per mistaken option, with its value, what is wrong and the remedy.

    Args:
        error: of the validation.
        root: the class that was validated.
        fields_of: gives the fields of a section.
    """
    # A union reports each of its branches; one sentence per option is enough.
    findings = error.errors(include_url=False, include_context=False)
    said = list(dict.fromkeys(_sentence(finding, root, fields_of) for finding in findings))
    by_option = {sentence.split("=")[0]: sentence for sentence in said[::-1]}
    return list(by_option.values())[::-1]


def _sentence(error: Any, root: Any, fields_of: FieldsOf) -> str:
    """Turns one of pydantic's findings into: value, place, what is wrong, remedy."""
    location = [part for part in error["loc"] if isinstance(part, str)]
    model = root
    names: list[str] = []
    remedy = ""
    # Pydantic's location goes on into unions and items; only the option's own name helps a person.
    for part in location:
        fields = fields_of(model)
        if part not in fields:
            if error["type"] == "extra_forbidden":
                near = get_close_matches(part, list(fields), n=1)
                name = shorten(".".join([*names, part]), _SHOWN)
                hint = f"did you mean {'.'.join([*names, near[0]])}?" if near else "remove it."
                return f"unknown option {name}: {hint}"
            break
        names.append(part)
        remedy = fields[part].description or ""
        model = fields[part].annotation
    name = ".".join(names)
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return shorten(message) + ("" if message.endswith(("?", ".")) else ".")
    if error["type"] == "extra_forbidden":
        return f"{name} is no option of what was chosen here: remove it."
    if error["type"] == "missing":
        return f"{name} is missing, and every job needs it. {remedy}".strip()
    message = (message[0].lower() + message[1:]).removesuffix(" for <class 'pathlib.Path'>")
    given = error["input"]
    shown = shorten(as_typed(given), _SHOWN)
    if error["type"] in {"path_type", "string_type"} and isinstance(given, int | float):
        # Hydra read a name of digits as a number.
        remedy += f" A text that reads as a number goes in quotes: '{name}=\"{given}\"'"
    return f"{name}={shown} cannot be used: {message}. {remedy}".strip()


def as_typed(value: Any) -> str:
    """A value as it stands on a command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(as_typed, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{as_typed(one)}' for key, one in value.items())}}}"
    return str(value)
