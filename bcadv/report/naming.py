"""What arms are called: briefly, uniquely, and by all that tells them apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from bcadv.report.table import variant_name

_HOW = ("injection.perturbation", "injection.probability")
NOISE = (*_HOW, "sigma")
"""What makes a way of training a defence."""

_SHORT = {
    "data.split": lambda value: {"paper": "split by image"}.get(value, f"{value} split"),
    "injection.probability": lambda value: f"noise on {100 * value:g} % of images",
    "injection.perturbation": lambda value: str(value).replace("_", " "),
    "classes": lambda value: "/".join(json.loads(value)),
    "checkpoint": lambda value: f"{value} epoch",
}


def sigma_of(way: Mapping[str, Any]) -> float | None:
    """Standard deviation of the training noise; ``None`` where there is none.

    Args:
        way: of training, option -> value.
    """
    sigma = way.get("sigma")
    return None if sigma is None or way.get("injection.perturbation") is None else float(sigma)


def made_unique(names: Sequence[str], more: Sequence[str]) -> list[str]:
    """Adds a word to names that occur several times."""
    times = Counter(names)
    pairs = zip(names, more, strict=True)
    return [f"{name}, {word}" if times[name] > 1 else name for name, word in pairs]


def names_of(ways: Sequence[Mapping[str, Hashable]], variants: Sequence[str]) -> list[str]:
    """Names of arms; two may share one only if the same settings trained them.

    Args:
        ways: of training, option -> value, one per arm.
        variants: BatchNorm statistics of each arm.
    """
    # One undefended model needs no word on its statistics; beside a second one it does.
    several = any(
        sigma_of(way) is None and variant != "as_trained"
        for way, variant in zip(ways, variants, strict=True)
    )
    names = []
    for way, variant, extra in zip(ways, variants, _what_differs(ways), strict=True):
        sigma = sigma_of(way)
        words = ["undefended" if sigma is None else f"noise σ={sigma:g}"]
        words += [variant_name(variant)] if sigma is not None or several else []
        names.append(", ".join([*words, *extra]))
    return names


def _what_differs(ways: Sequence[Mapping[str, Hashable]]) -> list[list[str]]:
    """The fewest options that tell apart what the arms have beside their names.

    Two arms of different sigma that also differ in, say, the tested epoch must both say so: else
    the reader takes the difference for that of sigma.
    """
    options = sorted({option for way in ways for option in way} - {*NOISE}, key=_priority)
    chosen: list[str] = []
    whole = _parts(ways, options)
    for option in options:
        now = _parts(ways, chosen)
        if now == whole:
            break
        if _parts(ways, [*chosen, option]) > now:
            chosen.append(option)
    defended = [way for way in ways if sigma_of(way) is not None]
    chosen += [option for option in _HOW if len({way.get(option) for way in defended}) > 1]
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
    words = []
    for option in chosen:
        value = way.get(option)
        if option not in way or (option in _HOW and value is None):
            continue
        if option in _SHORT:
            words.append(_SHORT[option](value))
        else:
            words.append(f"{option.removeprefix('data.')}={value}")
    return words
