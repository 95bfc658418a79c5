"""What arms are called: briefly, uniquely, and by all that tells them apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bcadv.results.schema import Defence

_DEFENCE = ("defence", "injection.perturbation", "injection.probability", "sigma")
"""What the defence's own name says of a way of training."""

OBJECTIVE = ("objective", "objective.options")
"""What it says too where the objective is the defence; such a way of training is without them."""

_VARIANTS = {
    "as_trained": "BN as trained",
    "clean": "BN on clean",
    "noisy": "BN on noisy",
}

_SPLITS = {
    "paper": "split by image",
    "patient": "split by patient",
    "patient_cv": "cross-validation by patient",
    "official": "official split",
    "file": "split by a table",
}

_SHORT = {
    "data.split": lambda value: _SPLITS.get(value, f"{value} split"),
    "data.fold": lambda value: f"folds {value}" if "+" in str(value) else f"fold {value}",
    "classes": lambda value: "/".join(json.loads(value)),
    "checkpoint": lambda value: f"{value} epoch",
}


def variant_name(variant: str | None) -> str:
    """Short name of a choice of BatchNorm statistics; ``None``: the network has no such layer."""
    if variant is None:
        return "no BatchNorm"
    return _VARIANTS.get(variant, f"BN {variant}")


def differing(ways: Sequence[Mapping[str, Hashable]]) -> list[str]:
    """Options other than the defence in which ways of training differ."""
    return sorted(
        name
        for name in {option for way in ways for option in way} - {*_DEFENCE}
        if len({way.get(name) for way in ways if name in way or name not in OBJECTIVE}) > 1
    )


def made_unique(names: Sequence[str], more: Sequence[str]) -> list[str]:
    """Adds a word to names that occur several times."""
    times = Counter(names)
    pairs = zip(names, more, strict=True)
    return [f"{name}, {word}" if times[name] > 1 else name for name, word in pairs]


@dataclass(frozen=True)
class Named:
    """The names of an arm.

    Attributes:
        training: of its way of training.
        arm: the same with its BatchNorm statistics, where they need a word.
    """

    training: str
    arm: str


def names_of(
    ways: Sequence[Mapping[str, Hashable]],
    defences: Sequence[Defence],
    variants: Sequence[str | None],
) -> list[Named]:
    """Names of arms; two may share one only if the same settings trained them.

    Args:
        ways: of training, option -> value, one per arm.
        defences: of the models of each arm.
        variants: BatchNorm statistics of each arm; ``None`` of a network that has none.
    """
    # One undefended model needs no word on its statistics; beside a second one it does.
    several = any(
        defence.none and variant not in {"as_trained", None}
        for defence, variant in zip(defences, variants, strict=True)
    )
    names = []
    extras = _what_differs(ways)
    for defence, variant, extra in zip(defences, variants, extras, strict=True):
        told = variant is not None and (several or not defence.none)
        statistics = [variant_name(variant)] if told else []
        names.append(
            Named(
                ", ".join([defence.label, *extra]),
                ", ".join([defence.label, *statistics, *extra]),
            )
        )
    return names


def _what_differs(ways: Sequence[Mapping[str, Hashable]]) -> list[list[str]]:
    """The fewest options that tell apart what the arms have beside their names.

    Two arms of different defences that also differ in, say, the tested epoch must both say so:
    else the reader takes the difference for that of the defence.
    """
    options = sorted(differing(ways), key=_priority)
    chosen: list[str] = []
    whole = _parts(ways, options)
    for option in options:
        now = _parts(ways, chosen)
        if now == whole:
            break
        if _parts(ways, [*chosen, option]) > now:
            chosen.append(option)
    return [_said(way, chosen) for way in ways]


def _parts(ways: Sequence[Mapping[str, Hashable]], options: Sequence[str]) -> int:
    """How many ways of training these options tell apart."""
    return len({tuple(way.get(option) for option in options) for way in ways})


def _priority(option: str) -> tuple[int, str]:
    first = ("data.split", "data.fold", "data.source")
    if option in first:
        return first.index(option), option
    return (len(first) + (option == "positive"), option)


def _said(way: Mapping[str, Any], chosen: Sequence[str]) -> list[str]:
    return [
        _SHORT[option](way[option])
        if option in _SHORT
        else f"{option.removeprefix('data.')}={way[option]}"
        for option in chosen
        if option in way
    ]
