"""Who is in the worst case, by preset; imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bcadv.perturb.row import Value


@dataclass(frozen=True)
class Member:
    """An attack of an ensemble.

    Attributes:
        name: its row in the catalog.
        options: its settings; what is missing has its default.
    """

    name: str
    options: Mapping[str, Value] = field(default_factory=dict)


def quick(classes: int) -> list[Member]:
    """Seconds per image on a CPU: what breaks most is tried, nothing is tried twice."""
    del classes
    return [Member("pgd", {"steps": 20})]


def standard(classes: int) -> list[Member]:
    """As strong as AutoAttack, and of use for two classes too."""
    del classes
    return [Member("pgd", {"steps": 20}), Member("pgd", {"steps": 100, "restarts": 5})]


def thorough(classes: int) -> list[Member]:
    """For a claim of robustness that is to be published."""
    return standard(classes)


PRESETS: Mapping[str, Callable[[int], list[Member]]] = {
    "quick": quick,
    "standard": standard,
    "thorough": thorough,
}
"""Name -> the members for a number of classes."""
