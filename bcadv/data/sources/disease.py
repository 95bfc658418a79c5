"""Which classes count as the disease, and what must be said where nobody chose them."""

from __future__ import annotations

from collections.abc import Sequence

from bcadv.data.sources import words
from bcadv.errors import BcadvError


def note_on_order(classes: tuple[str, ...], positive: tuple[int, ...]) -> tuple[str, ...]:
    """What must be said where nobody chose which class counts as the disease.

    Raises:
        BcadvError: the one that would count sounds healthy.
    """
    if not positive:
        return (
            "No class counts as the disease, so there is no sensitivity and no specificity: name "
            f"the classes that do, of {', '.join(classes)}, with data.positive=[...].",
        )
    chosen = classes[positive[0]]
    others = [name for name in classes if name != chosen]
    if words.sounds_healthy(chosen, others):
        raise BcadvError(
            f"which class is the disease? '{chosen}' would be, for its name comes last in the "
            "alphabet, and it sounds healthy: sensitivity and missed cases would be about it. Add "
            f"data.positive=[{others[0]}], or data.positive=[{chosen}] if it is the disease"
        )
    said = (
        f"'{chosen}' counts as the disease only because its name comes last in the alphabet; "
        "sensitivity, specificity and missed cases are about it. Set data.positive=[...] to one of "
        f"{', '.join(classes)}."
    )
    return (said,)


def positive_classes(classes: tuple[str, ...], positive: Sequence[str] | None) -> tuple[int, ...]:
    """Numbers of the classes that count as the disease: as named, else the second of two.

    Raises:
        BcadvError: a name that is no class, or all classes.
    """
    if positive is None:
        return (1,) if len(classes) == 2 else ()
    if {*positive} >= {*classes}:
        raise BcadvError(
            f"data.positive names every class, {', '.join(classes)}: one at least has to be the "
            "absence of the disease"
        )
    for name in positive:
        if name not in classes:
            raise BcadvError(
                f"data.positive names '{name}', which is none of the classes {', '.join(classes)}"
            )
    return tuple(sorted({classes.index(name) for name in positive}))
