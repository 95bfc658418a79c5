"""What ``python -m bcadv.run --help`` says: every option in words, by section. Imports no torch.

The words of an option stand below its definition, as its docstring, and what it takes is its
``description``; those of a file of the conf tree are its first line.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic.fields import FieldInfo

from bcadv.arguments import aligned
from bcadv.config import Config, fields_of
from bcadv.data.catalog import SOURCES
from bcadv.defend.catalog import OBJECTIVES, Objective
from bcadv.explain import owners
from bcadv.mistakes import as_typed
from bcadv.models.catalog import NETWORKS
from bcadv.overrides import ADDED, groups
from bcadv.perturb.catalog import ATTACKS
from bcadv.perturb.corrupt.catalog import CORRUPTIONS
from bcadv.perturb.row import Attack
from bcadv.text import shorten, shown

_COLUMN = 34
_LONGEST_VALUE = 60
_CATALOGS: Mapping[str, Mapping[str, Attack | Objective]] = {
    "attack": ATTACKS,
    "objective_options": OBJECTIVES,
}
"""Sections whose options are those of a catalog's rows."""

_HEAD = """\
bcadv: can this medical image classifier be fooled, and does the defence really help?

Usage: bcadv run +experiment=baseline|defense [name=value ...]
       (python -m bcadv.run is the same command)

Each option stands with the value that it has here: --help data=folder shows what a job on your own
images would take. A list is written [a,b].
"""
_TAIL = """
Several values at once: -m sigma=0.05,0.1,0.2 runs a job for each, and so does +sweep=sigma.
--cfg job prints the whole configuration; --hydra-help lists Hydra's own flags.
"""


def register(conf: Path) -> None:
    """Lets the conf tree ask for the words, once or again.

    Args:
        conf: the conf tree.
    """

    def words(*, _root_: DictConfig) -> str:
        chosen = {str(k): str(v) for k, v in _root_.hydra.runtime.choices.items()}
        plain = OmegaConf.masked_copy(_root_, [str(key) for key in _root_ if key != "hydra"])
        values = OmegaConf.to_container(plain, resolve=True)
        assert isinstance(values, dict)
        # Hydra substitutes dollars in what it is given.
        return text(conf, chosen, values).replace("$", "$$")

    OmegaConf.register_new_resolver("help", words, replace=True)


def text(conf: Path, chosen: Mapping[str, str], values: Mapping[Any, Any]) -> str:
    """The whole of the help, in lines of at most `bcadv.arguments.WIDTH` characters.

    Args:
        conf: the conf tree.
        chosen: group of the conf tree -> the file that was chosen.
        values: of the options, as they were composed.
    """
    owned = owners(conf)
    lines = [_HEAD, *_choices(conf, chosen)]
    fields = fields_of(Config)
    alone = [name for name, field in fields.items() if not _is_section(name, field)]
    lines += ["", _about(Config), *_options("", alone, Config, values)]
    lines += ["", "What corruptions= can name:"]
    for row in CORRUPTIONS.values():
        lines += aligned(row.name, f"{row.words} After {row.source}.", _COLUMN)
    for name, field in fields.items():
        given = values.get(name) or {}
        if name in _CATALOGS:
            lines += _catalog(name, given)
        elif name not in alone:
            lines += _section(name, field.annotation, given, owned)
    return "\n".join([*lines, _TAIL])


def words_of(section: Any) -> dict[str, str]:
    """Each option of a section, also of those it builds on -> the docstring below it."""
    found: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        if kind.__module__.split(".")[0] not in {"pydantic", "builtins", "typing", "abc"}:
            found |= _docstrings(kind.__module__).get(kind.__name__, {})
    return found


@cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Each class of a module -> its attributes with a docstring."""
    source = inspect.getsource(sys.modules[module])
    return {
        node.name: {
            one.target.id: " ".join(other.value.value.split())
            for one, other in pairwise(node.body)
            if isinstance(one, ast.AnnAssign)
            and isinstance(one.target, ast.Name)
            and isinstance(other, ast.Expr)
            and isinstance(other.value, ast.Constant)
            and isinstance(other.value.value, str)
        }
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    }


def words_of_file(file: Path) -> str:
    """The first line of a file of the conf tree that says what it is; may be empty."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            return line.removeprefix("#").strip()
    return ""


def _choices(conf: Path, chosen: Mapping[str, str]) -> Iterator[str]:
    yield "What is chosen by name (a file of the conf tree each):"
    options = fields_of(Config)
    for group, names in groups(conf).items():
        # The defaults list of a group with a plus names none of its files.
        plus = "+" if group in ADDED else ""
        for name in names if len(names) > 1 or group not in options else ():
            mark = " (chosen)" if chosen.get(group) == name else ""
            words = words_of_file(conf / group / f"{name}.yaml")
            yield from aligned(f"{plus}{group}={name}{mark}", words, _COLUMN)


def _is_section(name: str, field: FieldInfo) -> bool:
    return name in _CATALOGS or hasattr(field.annotation, "model_fields")


def _section(
    name: str, section: Any, values: Mapping[Any, Any], owned: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    fields = fields_of(section)
    yield from ("", f"{name}: {_about(section)}")
    yield from _options(f"{name}.", [key for key in values if key in fields], section, values)
    elsewhere = [(owned.get(f"{name}.{key}", ()), key) for key in fields if key not in values]
    for choices in dict.fromkeys(tuple(owner) for owner, _ in elsewhere):
        more = [key for owner, key in elsewhere if tuple(owner) == choices]
        yield f"  with {' and '.join(choices) or 'a plus before the name'}:"
        yield from _options(f"{name}.", more, section, {})


def _options(
    prefix: str, names: Sequence[str], section: Any, values: Mapping[Any, Any]
) -> Iterator[str]:
    fields, words = fields_of(section), _words(section)
    for name in names:
        field = fields[name]
        value = values.get(name, field.get_default(call_default_factory=True))
        # What a truth value takes is seen from the one it has.
        takes = "" if field.annotation is bool else field.description
        said = " ".join(filter(None, (words.get(name), takes)))
        yield from aligned(f"{prefix}{name}={_brief(value)}", said, _COLUMN)


def _words(section: Any) -> dict[str, str]:
    kinds = [row.settings for rows in (SOURCES, NETWORKS) for row in rows.values()]
    found: dict[str, str] = {}
    for kind in (*(kind for kind in kinds if issubclass(kind, section)), section):
        found |= words_of(kind)
    return found


def _catalog(name: str, values: Mapping[Any, Any]) -> Iterator[str]:
    option = {"attack": "attacks", "objective_options": "objective"}[name]
    yield from ("", f"{name}: {words_of(Config)[name]} The rows are what {option}= can name.")
    for row in _CATALOGS[name].values():
        norms = f" Norms: {', '.join(row.norms)}." if isinstance(row, Attack) else ""
        yield from aligned(row.name, f"{row.words}{norms}", _COLUMN)
        given = values.get(row.name) or {}
        for one in row.options:
            value = _brief(given.get(one.name, one.default))
            yield from aligned(f"{name}.{row.name}.{one.name}={value}", one.description, _COLUMN)


def _about(section: Any) -> str:
    """The first paragraph of a section's own docstring."""
    return " ".join(str(section.__doc__).split("\n\n")[0].split())


def _brief(value: Any) -> str:
    return shorten(shown(as_typed(value)), _LONGEST_VALUE)
