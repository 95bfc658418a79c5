"""The command line, argument by argument, before Hydra composes anything. Imports no torch.

Hydra refuses an argument with its parser's words, or takes it and fails on it later. Here each is
read alone, so that the answer names it and shows what would work.
"""

from __future__ import annotations

import re
import shlex
import types
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from math import ceil, prod
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    OverrideType,
    Quote,
    QuotedString,
    RangeSweep,
)
from hydra.errors import HydraException

from bcadv.config import Config, fields_of
from bcadv.errors import BcadvError
from bcadv.explain import near_name
from bcadv.text import is_utf8, shorten

MOST_JOBS = 10_000
"""Jobs of one sweep."""

_LONGEST = 100_000
_MOST_VALUES = 2000
"""Values of one argument: the time that Hydra's grammar takes grows with their square."""

_LONGEST_NAME = 200
_DEEPEST = 20
_SHOWN = 200
_NAME = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@:-]*")
ADDED = frozenset({"experiment", "sweep", "launcher"})
"""Groups that no job needs a choice of: Hydra wants a plus before them."""

_HYDRA_GROUPS = ("launcher", "sweeper", "job_logging", "hydra_logging", "help", "env", "output")


def quoted(text: str) -> str:
    """A text as Hydra's grammar and OmegaConf read it back unchanged, whatever it holds."""
    # OmegaConf would resolve ${...} after Hydra has read the value.
    literal = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)
    return _in_quotes(literal)


def fragment(name: str, value: str) -> str:
    """What to type in a shell so that an option gets a text as it stands.

    Args:
        name: of the option.
        value: a text; interpolations in it stay interpolations.
    """
    return shlex.quote(f"{name}={_in_quotes(value)}")


def groups(conf: Path) -> dict[str, list[str]]:
    """Each group of the conf tree, and its choices."""
    return {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
        for folder in sorted(conf.iterdir())
        if folder.is_dir()
    }


def with_plus(items: Sequence[str]) -> list[str]:
    """The arguments with a plus before ``experiment=``, ``sweep=`` and ``launcher=``.

    Hydra asks for it because the defaults name none of these groups, and takes nothing else
    by such a name. In other projects the defaults do, and people are used to leaving it out.
    """
    bare = tuple(f"{group}=" for group in ADDED)
    return [f"+{item}" if item.startswith(bare) else item for item in items]


def read(items: Sequence[str], conf: Path, options: Callable[[], Sequence[str]]) -> list[Override]:
    """Reads every argument and judges its form.

    Args:
        items: arguments without flags.
        conf: the conf tree.
        options: gives the names of the known options, should they be needed.

    Returns:
        Hydra's reading of each.

    Raises:
        BcadvError: one cannot be read, or cannot mean anything; names it and what works.
    """
    known = groups(conf)
    parser = OverridesParser.create()
    overrides = [_read(parser, item, options) for item in items]
    # Other places may hold other choices.
    more = any(item.startswith(("hydra.searchpath", "+hydra.searchpath")) for item in items)
    for override in overrides:
        _check_hydra(override)
        _check_group(override, known, more=more)
    return overrides


def _read(parser: OverridesParser, item: str, options: Callable[[], Sequence[str]]) -> Override:
    shown = shorten(item, _SHOWN)
    if len(item) > _LONGEST:
        raise BcadvError(
            f"{shown} has {len(item)} characters: put long lists into a file of the conf tree."
        )
    if item.count(",") >= _MOST_VALUES:
        raise BcadvError(
            f"{shown} has {item.count(',') + 1} values, more than {_MOST_VALUES}: write a range, "
            "as in seed=range(0,5000), or put long lists into a file of the conf tree."
        )
    if "\x00" in item:
        raise BcadvError(f"{shown} holds a null character, which no name and no value can have.")
    if not is_utf8(item):
        raise BcadvError(
            f"{shown} holds bytes that are not UTF-8: give the file or folder a name in UTF-8."
        )
    try:
        override = parser.parse_override(item)
        value = override.value()
        deep = _depth(value.list if isinstance(value, ChoiceSweep) else value) > _DEEPEST
    except RecursionError:
        deep = True
    except HydraException:
        raise BcadvError(_unreadable(item, options())) from None
    except ValueError as error:
        raise BcadvError(f"{shown} cannot be used: {str(error).split(';')[0]}.") from None
    if deep:
        raise BcadvError(f"{shown} is nested more than {_DEEPEST} deep: no option is.")
    if not override.key_or_group:
        raise BcadvError(f"{shown} names no option: an option is given as name=value.")
    if len(override.key_or_group) > _LONGEST_NAME:  # Hydra would look for a file of that name
        raise BcadvError(f"unknown option {shorten(override.key_or_group, _SHOWN)}.")
    return override


def _depth(value: Any) -> int:
    """Lists and mappings around the innermost value."""
    level, depth = [value], 0
    while level:
        inner = [
            child
            for node in level
            if isinstance(node, (list, dict))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        nested = any(isinstance(node, (list, dict)) for node in level)
        level, depth = inner, depth + nested
    return depth


def _unreadable(item: str, options: Sequence[str]) -> str:
    """What is wrong with an argument that Hydra's grammar refuses."""
    shown = shorten(item, _SHOWN)
    name, equals, value = item.partition("=")
    plain = name.lstrip("+~")
    if not item.strip():
        return "an empty argument is no option: an option is given as name=value."
    if not _NAME.fullmatch(name) or not equals:
        near = near_name(name, options)
        hint = f"did you mean {near}=...?" if near and not equals else "as in sigma=0.1."
        return f"{shown} is not an option with a value, name=value: {hint}"
    if _field(plain) is None and plain not in options and not name.startswith(("+", "hydra.")):
        near = near_name(name, options)
        hint = f"did you mean {near}?" if near else "bcadv run --help lists them all."
        return f"unknown option {shorten(name, _SHOWN)}: {hint}"
    if value == "~" or value.startswith("~/"):
        try:
            value = str(Path(value).expanduser())
        except RuntimeError:
            return f"{shown} cannot be used: no home folder is known here; write a whole path."
    works = _that_works(name, value)
    if works is None:
        field = _field(plain)
        works = f"brackets and quotes go in pairs. {(field and field.description) or ''}".strip()
    else:
        works = f"write {shorten(works)}"
    return f"{shown} cannot be read as it stands: {works}"


def _that_works(name: str, value: str) -> str | None:
    """The same argument in quotes, for a shell; ``None`` where the option takes no free text."""
    field = _field(name)
    kinds = {str} if field is None else _types(field.annotation)
    alone = kinds if field is None else _alone(field.annotation)
    if tuple in kinds and str in kinds and (value.startswith("[") or str not in alone):
        texts = [_unquoted(piece.strip()) for piece in value.strip("[]").split(",")]
        pieces = ",".join(_in_quotes(text) for text in texts if text)
        return shlex.quote(f"{name}=[{pieces}]") if pieces else None
    return fragment(name, _unquoted(value)) if {str, Path} & alone else None


def _unquoted(text: str) -> str:
    quotes = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quotes else text


def _in_quotes(text: str) -> str:
    return str(QuotedString(text, Quote.double).with_quotes())


def _field(name: str) -> Any:
    model: Any = Config
    field = None
    for part in name.lstrip("+~").split("."):
        field = fields_of(model).get(part)
        if field is None:
            return None
        model = field.annotation
    return field


def _types(annotation: Any) -> set[Any]:
    origin = get_origin(annotation)
    if origin is Literal:
        return set()
    inner = {kind for part in get_args(annotation) for kind in _types(part)}
    return inner | {origin or annotation}


def _alone(annotation: Any) -> set[Any]:
    """The types that a value may be itself, outside of a list."""
    united = get_origin(annotation) in {Union, types.UnionType}
    return set(get_args(annotation)) if united else {annotation}


def _check_hydra(override: Override) -> None:
    """What Hydra would take for its own settings and stumble over."""
    key, line = override.key_or_group, shorten(str(override.input_line), _SHOWN)
    value = override.value()
    if key in {"hydra.run.dir", "hydra.sweep.dir"} and not str(value or "").strip():
        raise BcadvError(f"{line} cannot be used: it is empty. Give a folder.")
    if key == "hydra":
        raise BcadvError(
            f"{line} cannot be used: set one of Hydra's options, as in hydra.run.dir=."
        )
    parts = key.split(".")
    group = len(parts) == 2 and parts[0] == "hydra" and parts[1] in _HYDRA_GROUPS
    if group and not isinstance(value, dict):
        raise BcadvError(f"{line} cannot be used: write hydra/{parts[1]}={value}")


def _check_group(override: Override, known: Mapping[str, Sequence[str]], *, more: bool) -> None:
    """An argument that chooses a file of the conf tree names one."""
    key, line = override.key_or_group, shorten(str(override.input_line), _SHOWN)
    if key not in known:
        return
    choices = f"{key} can be {', '.join(known[key])}"
    if override.type == OverrideType.DEL:
        raise BcadvError(f"{line} cannot be used: {choices}, and one of them is needed.")
    if override.type in {OverrideType.ADD, OverrideType.FORCE_ADD} and key not in ADDED:
        raise BcadvError(f"{line} cannot be used: write {line.lstrip('+')}, where {choices}.")
    value = override.value()
    values: list[Any]
    if isinstance(value, ChoiceSweep):
        values = value.list
    elif override.is_sweep_override():
        return
    else:
        values = [value]
    for one in values:
        name = one.text if isinstance(one, QuotedString) else one
        if isinstance(name, list) and name:
            every = ",".join(map(str, name))
            given = str(override.input_line).split("=")[0]
            raise BcadvError(
                f"{line} cannot be used: {choices}, one for each job. For a job with each, add -m "
                f"and write {given}={every}"
            )
        if not isinstance(name, str) or (name not in known[key] and not more):
            raise BcadvError(f"{line} cannot be used: {choices}.")


def twice(overrides: Sequence[Override]) -> list[str]:
    """A sentence for each option that is given more than once."""
    counts = Counter(override.get_key_element().lstrip("+~") for override in overrides)
    last = {
        override.get_key_element().lstrip("+~"): shorten(str(override.input_line), _SHOWN)
        for override in overrides
    }
    return [
        f"{name} is given {count} times: the last one counts, {last[name]}"
        for name, count in counts.items()
        if count > 1
    ]


def settled(overrides: Sequence[Override]) -> list[str]:
    """The arguments with every range and every shuffled list written out.

    A range of floats is counted in decimals: Hydra adds in binary, where 0.1 + 2 · 0.1 is not 0.3.
    A shuffled list would be shuffled once to judge the jobs and again to run them.
    """
    return [_settled(override) for override in overrides]


def _settled(override: Override) -> str:
    value = override.value()
    if isinstance(value, (RangeSweep, ChoiceSweep)):
        values: Iterable[str] = ()
        if value.shuffle:
            values = override.sweep_string_iterator()
        elif isinstance(value, RangeSweep) and _has_floats(value):
            values = _decimals(value)
        if listed := ",".join(values):
            return f"{override.get_key_element()}={listed}"
    return str(override.input_line)


def _has_floats(numbers: RangeSweep) -> bool:
    return any(isinstance(one, float) for one in (numbers.start, numbers.stop, numbers.step))


def _decimals(numbers: RangeSweep) -> list[str]:
    start, stop, step = (Decimal(str(n)) for n in (numbers.start, numbers.stop, numbers.step))
    count = len(list(islice(numbers.range(), MOST_JOBS + 1)))
    values = [start + i * step for i in range(count)]
    # Binary rounding can put one value too many or too few at the end.
    inside = [v for v in values if (v < stop if step > 0 else v > stop)]
    return [str(float(value)) for value in inside]


def count_jobs(overrides: Sequence[Override], params: Iterable[Override] = ()) -> int:
    """How many jobs a sweep has, counted without making a list of them.

    Raises:
        BcadvError: more than `MOST_JOBS`.
    """
    sizes = {}
    for override in (*params, *overrides):
        name = override.get_key_element().lstrip("+~")
        if isinstance(override.value(), (Glob, IntervalSweep)):
            raise BcadvError(
                f"{override.input_line} cannot be used: write the values out, as in {name}=A,B."
            )
        sizes[name] = 1
        if override.is_sweep_override() and override.is_discrete_sweep():
            value = override.value()
            if isinstance(value, RangeSweep):
                if not value.step:
                    raise BcadvError(f"{override.input_line} cannot be used: its step is 0.")
                # The length of a range is known without going through it.
                distance = Decimal(str(value.stop)) - Decimal(str(value.start))
                sizes[name] = max(0, ceil(distance / Decimal(str(value.step))))
            else:
                sizes[name] = sum(1 for _ in islice(override.sweep_iterator(), MOST_JOBS + 1))
    count = prod(sizes.values())
    if count > MOST_JOBS:
        raise BcadvError(
            f"this is a sweep of more than {MOST_JOBS} jobs: sweep over fewer values at a time."
        )
    if count == 0:
        empty = next(name for name, size in sizes.items() if size == 0)
        raise BcadvError(f"{empty} gets no value at all: give the range another start or stop.")
    return count
