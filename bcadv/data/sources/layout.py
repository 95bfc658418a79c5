"""Which folder of a path is the part, the class and the patient."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bcadv.data.sources import words
from bcadv.errors import BcadvError
from bcadv.text import listed, shown

STEPS = ("part", "class", "patient", "*")
_MOST_CLASSES = 50
"""More folders than this are seldom classes: each may be a patient, a slide or a day."""
_FEW = 10
"""What stands in every folder may be the classes themselves where these are at most so many."""


@dataclass(frozen=True)
class Layout:
    """What each folder of a path below the root is, the first one first.

    Attributes:
        steps: of `STEPS`; ``*`` says nothing. Folders below the last one say nothing either.
    """

    steps: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Layout:
        """Reads a template such as ``part/class/patient``.

        Raises:
            BcadvError: another word, no class, or a word twice.
        """
        steps = tuple(text.strip("/").split("/"))
        count = Counter(steps)
        unknown = [step for step in steps if step not in STEPS]
        twice = [step for step in ("part", "class", "patient") if count[step] > 1]
        if unknown or twice or count["class"] != 1:
            why = (
                f"'{unknown[0]}' is none of {', '.join(STEPS)}"
                if unknown
                else f"'{twice[0]}' stands in it twice"
                if twice
                else "no folder is the class"
            )
            raise BcadvError(
                f"data.layout={text} cannot be used, {why}: name what each folder below data.root "
                "is, as in part/class, patient/class or */class (* for one that says nothing)."
            )
        return cls(steps)

    def __str__(self) -> str:
        return "/".join(self.steps)

    def read(self, folders: Sequence[str]) -> dict[str, str] | None:
        """Part, class and patient of a file in these folders; ``None``: it lies too high up."""
        if len(folders) < len(self.steps):
            return None
        return {
            step: folder for step, folder in zip(self.steps, folders, strict=False) if step != "*"
        }


def guess(paths: Iterable[tuple[str, ...]], root: str) -> Layout:
    """The layout that the names of folders speak for.

    Args:
        paths: folders of each file below the root, masks and the like left out.
        root: as the user calls it, for messages.

    Raises:
        BcadvError: the names contradict every reading, with the option that settles it.
    """
    paths = [path for path in paths if path]
    above: tuple[str, ...] = ()
    while len(top := {path[0] for path in paths}) == 1 and all(len(path) > 1 for path in paths):
        if any(words.part_of(name) for name in top):
            break
        # An archive within a folder of its own name.
        above, paths = (*above, "*"), [path[1:] for path in paths]
    if any(words.part_of(name) for name in top):
        _one_folder_a_part(top, root)
        _no_class_beside_parts(paths, root)
        inner = [path[1:] for path in paths if words.part_of(path[0]) and len(path) > 1]
        _settle(inner, root, (*above, "part"))
        return Layout((*above, "part", "class"))
    _settle(paths, root, above)
    return Layout((*above, "class"))


def _one_folder_a_part(top: Iterable[str], root: str) -> None:
    """Asks where two folders are called like one part.

    Raises:
        BcadvError: they are, with what settles it.
    """
    meant: dict[str, list[str]] = defaultdict(list)
    for name in sorted(top):
        part = words.part_of(name)
        if part is not None:
            meant[part].append(name)
    for part, names in meant.items():
        if len(names) > 1:
            raise BcadvError(
                f"data.root={root}: {named(names)} are both called like the {part} part: leave "
                "one out with data.exclude=[FOLDER/*], or say data.layout=part/class if they "
                "belong together"
            )


def _no_class_beside_parts(paths: Sequence[tuple[str, ...]], root: str) -> None:
    """Asks where folders beside the parts are, or hold, what the classes are called.

    Raises:
        BcadvError: one does; its images would be left out.
    """
    classes = {path[1] for path in paths if words.part_of(path[0]) and len(path) > 1}
    parts = sorted({path[0] for path in paths if words.part_of(path[0])})
    beside = {path[0] for path in paths if not classes.isdisjoint(path[:2])} - {*parts}
    if beside:
        names = sorted(beside)
        raise BcadvError(
            f"data.root={root}: {named(names)} beside {named(parts)}, called like parts of a "
            f"split, {'is or has' if len(names) == 1 else 'are or have'} the same classes: rename "
            f"what is a part to train, val or test, or leave it out with "
            f"data.exclude=[{names[0]}/*]"
        )


def _settle(paths: Sequence[tuple[str, ...]], root: str, above: tuple[str, ...]) -> None:
    """Asks where what would be the classes are something else by their names.

    Raises:
        BcadvError: they are, with the option that settles it.
    """
    below: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        below[path[0]].update(path[1:2])
    names = sorted(below)
    common = set().union(*below.values()) if below else set()
    shared = [name for name in names if len(below[name]) > 1]

    def asked(what: str, *options: str) -> BcadvError:
        settle = " or ".join(options)
        return BcadvError(
            f"data.root={root}: {what}, so it is not certain what the classes are. Say so with "
            f"{settle}; bcadv data shows what a job would take them for."
        )

    def template(*steps: str) -> str:
        return "data.layout=" + "/".join((*above, *steps))

    folds = [name for name in names if words.is_fold(name)]
    if folds:
        raise asked(
            f"{named(folds)} {'is' if len(folds) == 1 else 'are'} called like folds of a split",
            f"{template('*', 'class')} (the folds are put together)",
            f"{template('class')} if they are classes",
        )
    if len(names) > 1 and 2 <= len(common) <= _FEW and len(shared) > len(names) / 2:
        inner = named(sorted(common))
        if all(words.part_of(name) for name in common):
            raise asked(
                f"each of the folders {named(names)} holds {inner}, which are called like parts "
                "of a split",
                template("class", "part"),
            )
        raise asked(
            f"the folders {named(names)} hold folders of the same names, {inner}",
            f"{template('patient', 'class')} (the inner ones are the classes)",
            f"{template('class')} (the outer ones are)",
        )
    if len(names) > _MOST_CLASSES:
        raise asked(
            f"there would be {len(names)} classes, {named(names)}",
            f"{template('patient', 'class')} or the like",
            f"{template('class')} if each is a class",
        )
    if words.are_people(names):
        raise asked(
            f"the {len(names)} folders {named(names)} are called like patients, slides, "
            "days or places",
            template("patient", "class"),
            f"{template('class')} if each is a class",
        )
    hidden = [name for name in names if words.part_of(name)]
    if hidden:
        raise asked(
            f"the folders {named(names)} would be classes, and {named(hidden)} is called like a "
            "part of a split",
            template("part", "class"),
            template("class"),
        )


def named(names: Sequence[str], most: int = 6) -> str:
    """Names for a sentence, the first of many."""
    some = [f"'{shown(name)}'" for name in names[:most]]
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return listed([*some, *more]) or "none"
