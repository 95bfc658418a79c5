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
    """Seconds per image on a CPU: what breaks most, and once more from another kind of start."""
    return [_FIRST, Member("apgd", {"steps": 50, "start": "output", **_loss(classes)})]


def standard(classes: int) -> list[Member]:
    """As strong as AutoAttack, and made for two classes too.

    With two classes the margin and cross entropy have one gradient sign, and the losses that
    AutoAttack takes beside them need more classes: variety comes from five starts of three kinds,
    from attacks that look for the boundary from its other side, and from one without gradients.
    With more classes each of the likeliest is aimed at as well.
    """
    if classes == 2:
        first = [Member("apgd", {"steps": 100, "restarts": 5, **_loss(classes)})]
        fab = Member("fab", {"steps": 100, "restarts": 3})
    else:
        first = [
            Member("apgd", {"steps": 100, "restarts": 2, **_loss(classes)}),
            Member("apgd", {"steps": 100, "targets": min(9, classes - 1)}),
        ]
        # Each boundary that a step looks at costs it a gradient.
        fab = Member("fab", {"steps": 100, "restarts": 1, "candidates": 5})
    square = Member("square", {"queries": 2000, "frugal": True})
    return [_FIRST, *first, fab, Member("fmn", {"steps": 40}), square]


def thorough(classes: int) -> list[Member]:
    """For a claim of robustness that is to be published: all of `standard`, and more of each."""
    return [
        *standard(classes),
        Member("apgd", {"steps": 200, "restarts": 10, "start": "random"}),
        Member("fab", {"steps": 200, "restarts": 5}),
        Member("cw"),
        Member("square", {"queries": 20_000}),
        Member("hopskipjump", {"queries": 10_000}),
    ]


_FIRST = Member("pgd", {"steps": 20})
"""Breaks most of what can be broken for a tenth of the time of what follows."""


def _loss(classes: int) -> Mapping[str, Value]:
    """With several classes cross entropy is better than the margin at leaving the true one."""
    return {"surrogate": "margin" if classes == 2 else "cross_entropy"}


PRESETS: Mapping[str, Callable[[int], list[Member]]] = {
    "quick": quick,
    "standard": standard,
    "thorough": thorough,
}
"""Name -> the members for a number of classes."""
