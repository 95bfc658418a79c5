"""Any data set laid out in folders: their names say the class, perhaps the part and the patient."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from bcadv.config import DataConfig
from bcadv.data import words
from bcadv.data.layout import Layout, guess, listed
from bcadv.data.records import Record, Selection, image_files
from bcadv.errors import BcadvError
from bcadv.section import Name, as_list_or_none
from bcadv.text import shown

_PLAIN = frozenset(
    {".txt", ".csv", ".tsv", ".md", ".json", ".xml", ".html", ".yaml", ".yml", ".pdf", ".doc"}
    | {".docx", ".xls", ".xlsx", ".ini", ".db", ".log", ".py", ".ipynb", ".sh", ".zip", ".gz"}
)
"""Endings of what nobody takes for an image: not worth a word."""


@cache
def suffixes() -> frozenset[str]:
    """Endings of the files that are read: all that Pillow opens."""
    from PIL import Image

    Image.init()
    readable = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return frozenset(readable - {".mpg", ".mpeg", ".pdf"})


Names = Annotated[tuple[Name, ...] | None, BeforeValidator(as_list_or_none)]


class FolderData(DataConfig):
    """What the names of files and folders say."""

    source: str = "folder"
    layout: str | None = Field(
        default=None, description="Give what each folder is, as in part/class or patient/class."
    )
    """What each folder below data.root is, of part, class, patient and *; null: told by names."""
    include: Names = Field(default=None, description="Give patterns of paths, as in */images/*.")
    """Patterns of paths below data.root, one of which every file has to match; null: all do."""
    exclude: Names = Field(default=None, description="Give patterns of paths, as in */masks/*.")
    """Patterns of paths below data.root of what is left out."""
    class_map: dict[Name, Name | None] | None = Field(
        default=None, description="Give {folder: class}, with null for one to leave out."
    )
    """Other names of classes, to rename or to merge them; null as a name leaves a class out."""
    group_regex: str | None = Field(
        default=None, description="Give a regular expression with one group."
    )
    """Finds the patient in a file's name, or in its path if it has a slash: its one group, or the
    group named patient; null: unknown."""
    positive: Names = Field(default=None, description="Give class names.")
    """Classes that count as the disease; null: the second of two, unless it sounds healthy."""

    def check(self) -> None:
        """A missing folder, a regular expression and a layout that are none."""
        if self.root is None:
            raise BcadvError(
                "data=folder needs to know where the images lie: add data.root=FOLDER, "
                "a folder per class (optionally below train/, val/ and test/)."
            )
        if not self.is_reachable():
            raise BcadvError(f"data.root={self.root} is not a folder: give one that exists.")
        compile_groups(self.group_regex)
        if self.layout is not None:
            Layout.of(self.layout)

    def find(self) -> Selection:
        """The images of each class folder."""
        if self.root is None:
            raise BcadvError("data=folder needs data.root=FOLDER.")
        return find(
            self.root,
            layout=self.layout,
            include=self.include,
            exclude=self.exclude or (),
            class_map=self.class_map,
            group_regex=self.group_regex,
            positive=self.positive,
        )


def find(
    root: Path,
    *,
    layout: str | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    class_map: Mapping[str, str | None] | None = None,
    group_regex: str | None = None,
    positive: Sequence[str] | None = None,
) -> Selection:
    r"""Finds the images below a folder, and takes their class, part and patient from its folders.

    Without a ``layout`` names decide: folders called like parts (``Training``, ``test_set``) stand
    above the classes, and where names contradict the reading nothing is guessed.

    Example of a ``group_regex``, for the chest X-ray pneumonia set (Kermany et al. 2018), whose
    pneumonia files name a person and whose normal files name a study:
    ``^(person\d+|(?:NORMAL2-)?IM-\d+)``.

    Args:
        root: the folder.
        layout: what each folder below it is; see `Layout`.
        include: patterns of paths below the root, of which a file has to match one.
        exclude: patterns of paths of files that are left out.
        class_map: class folder -> name of the class, or ``None`` to leave it out.
        group_regex: searched in each file name, or in its path below the root if it has a slash;
            its one group, or its group named ``patient``, is the patient. A file it does not match
            has no known patient. ``None``: none is known.
        positive: names of the positive classes. ``None``: of two classes the second in
            alphabetical order, of more none.

    Returns:
        The selection, ordered by ``image_id``, the path below the root without its ending.

    Raises:
        BcadvError: no such folder, fewer than two classes, names that contradict every reading, a
            disease that nobody named and that sounds healthy, an option that cannot be used or
            fits nothing, or two files with one ``image_id``.
    """
    if not root.is_dir():
        raise BcadvError(f"data.root={root} is not a folder: set it to the folder of the images")
    pattern = compile_groups(group_regex)
    told = None if layout is None else Layout.of(layout)
    if told is not None and pattern is not None and "patient" in told.steps:
        raise BcadvError(
            f"data.layout={layout} and data.group_regex={group_regex} both name the patient: leave "
            "one of them out"
        )
    out = LeftOut()
    files = _chosen(root, include, exclude, out)
    if told is None:
        files = _without_masks(files, root, out)
        files = _without_copies(files, root, out)
    read = told or guess((_folders(path, root) for path in files), str(root))
    _check_map(class_map, files, root, read)
    records = list(
        _records(files, root, read, out, class_map or {}, pattern, asked=told is not None)
    )
    records.sort(key=lambda record: (record.image_id, record.path))
    for one, other in pairwise(records):
        if one.image_id == other.image_id:
            raise BcadvError(
                f"{one.path} and {other.path} differ in their ending alone, so one name would "
                "stand for two images: rename or remove one"
            )

    found = Counter(record.label for record in records)
    classes = tuple(sorted(found))
    if len(classes) < 2:
        raise BcadvError(
            f"data.root={root} must hold a folder of images for each of at least two classes, on "
            f"top or below train and test; found {_inventory(found)}{out.clause()}"
        )
    if told is None:
        _same_in_parts(records, root)
    unknown = sum(record.patient is None for record in records)
    if pattern is not None and unknown == len(records):
        raise BcadvError(
            f"data.group_regex={group_regex} matches none of the {len(records)} file names, for "
            f"instance '{records[0].path.name}': {_mended(pattern, records)}"
        )
    notes = out.notes()
    if unknown:
        notes.append(f"The patient is unknown for {unknown} of {len(records)} images.")
    chosen = _positive(classes, positive)
    if positive is None:
        notes += _note_on_order(classes, chosen)
    return Selection(
        records=tuple(records),
        classes=classes,
        positive=chosen,
        positive_by="order" if positive is None else "user",
        found={label: found[label] for label in classes},
        notes=tuple(notes),
        layout=str(read),
    )


def _records(
    files: Iterable[Path],
    root: Path,
    read: Layout,
    out: LeftOut,
    class_map: Mapping[str, str | None],
    pattern: re.Pattern[str] | None,
    *,
    asked: bool,
) -> Iterator[Record]:
    """What the path of each file says."""
    by_path = pattern is not None and "/" in pattern.pattern
    for path in files:
        said = read.read(_folders(path, root))
        part = None
        if said is not None and "part" in said:
            part = _part(said["part"], path, read if asked else None)
        if said is None or ("part" in said and part is None):
            out.add("in no class folder", path)
            continue
        label = class_map.get(said["class"], said["class"])
        if label is None:
            out.add("of a class that data.class_map leaves out", path)
            continue
        where = path.relative_to(root)
        yield Record(
            path=path,
            image_id=where.with_suffix("").as_posix(),
            label=label,
            patient=said.get("patient")
            or _patient(pattern, where.as_posix() if by_path else path.name),
            part=part,
        )


@dataclass
class LeftOut:
    """Files that are left out, by why."""

    files: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, why: str, path: Path) -> None:
        """Notes a file."""
        self.files.setdefault(why, []).append(path)

    def notes(self) -> list[str]:
        """A sentence for each reason."""
        return [
            f"{len(paths)} {'file is' if len(paths) == 1 else 'files are'} left out, {why}, for "
            f"instance {paths[0]}."
            for why, paths in self.files.items()
        ]

    def clause(self) -> str:
        """The same, to end a sentence with."""
        return "".join(f"; left out, {why}: {len(paths)}" for why, paths in self.files.items())


def _folders(path: Path, root: Path) -> tuple[str, ...]:
    return path.relative_to(root).parts[:-1]


def _chosen(
    root: Path, include: Sequence[str] | None, exclude: Sequence[str], out: LeftOut
) -> list[Path]:
    """The images that patterns and endings leave."""
    readable = suffixes()
    chosen, endings = [], Counter[str]()
    used: set[str] = set()
    for path in sorted(image_files(root, None)):
        where = path.relative_to(root).as_posix()
        wanted = include is None or any(fnmatchcase(where, one) for one in include)
        used.update(one for one in include or () if fnmatchcase(where, one))
        against = [one for one in exclude if fnmatchcase(where, one)]
        used.update(against)
        end = path.suffix.lower()
        if end not in readable:
            if end not in _PLAIN:
                endings[end or "no ending"] += 1
                out.add(f"for {end or 'having no ending'} is not read", path)
        elif against:
            out.add("as data.exclude says", path)
        elif not wanted:
            out.add("as data.include says", path)
        else:
            chosen.append(path)
    for name, patterns in (("include", include or ()), ("exclude", exclude)):
        for one in patterns:
            if one not in used:
                raise BcadvError(
                    f"data.{name} has the pattern '{one}', which no path below {root} matches: "
                    "correct it (* stands for anything, slashes too), or leave it out"
                )
    if not chosen:
        seen = ", ".join(f"{n} of {end}" for end, n in endings.most_common(5)) or "none at all"
        raise BcadvError(
            f"data.root={root} must hold a folder of images for each of at least two classes; "
            f"found none. Files there: {seen}{out.clause()}. Read are, among others, .png, .jpg, "
            ".tif, .bmp, .gif and .webp"
        )
    return chosen


def _without_masks(files: Sequence[Path], root: Path, out: LeftOut) -> list[Path]:
    """Leaves out what is named like masks beside the images that they are masks of."""
    masked = [path for path in files if any(map(words.is_mask, _folders(path, root)))]
    hidden = set(masked) if len(masked) < len(files) else set()
    for path in sorted(hidden):
        out.add("in a folder that is called like one of masks", path)
    stems = {(path.parent, path.stem) for path in files}
    for path in files:
        image = words.without_mask(path.stem)
        if path not in hidden and image is not None and (path.parent, image) in stems:
            hidden.add(path)
            out.add("called like a mask of another file", path)
    return [path for path in files if path not in hidden]


def _without_copies(files: Sequence[Path], root: Path, out: LeftOut) -> list[Path]:
    """Leaves out a copy of the whole set that lies inside of it, as some archives have one."""
    tops: dict[str, set[str]] = {}
    for path in files:
        folders = _folders(path, root)
        if folders:
            tops.setdefault(folders[0], set()).update(folders[1:2])
    copies = [
        name
        for name, inner in tops.items()
        if len(tops) > 2 and len(inner) > 1 and inner >= set(tops) - {name}
    ]
    kept = []
    for path in files:
        if set(_folders(path, root)[:1]) & set(copies):
            out.add("in a copy of the set inside of it", path)
        else:
            kept.append(path)
    return kept


def _part(folder: str, path: Path, told: Layout | None) -> str | None:
    """The part that a folder is called after."""
    part = words.part_of(folder)
    if part is None and told is not None:
        raise BcadvError(
            f"data.layout={told} has the part where {path} has '{shown(folder)}', which is called "
            "like none (train, val or test): rename the folder, leave it out with data.exclude, or "
            "write * for part"
        )
    return part


def _check_map(
    class_map: Mapping[str, str | None] | None, files: Iterable[Path], root: Path, read: Layout
) -> None:
    said = (read.read(_folders(path, root)) for path in files)
    folders = {each["class"] for each in said if each}
    for name in class_map or ():
        if name not in folders:
            raise BcadvError(
                f"data.class_map names '{name}', which is none of the folders "
                f"{listed(sorted(folders))}"
            )


def _same_in_parts(records: Sequence[Record], root: Path) -> None:
    """Asks where a part lacks a class.

    Raises:
        BcadvError: one does.
    """
    parts: dict[str, set[str]] = {}
    for record in records:
        if record.part is not None:
            parts.setdefault(record.part, set()).add(record.label)
    classes = set().union(*parts.values())
    lacking = {part: sorted(classes - labels) for part, labels in parts.items()}
    said = [f"{part} has no {listed(labels)}" for part, labels in lacking.items() if labels]
    if len(parts) > 1 and said:
        raise BcadvError(
            f"data.root={root}: not every part has every class: {'; '.join(said)}. Rename or merge "
            "them with data.class_map={OLD: NEW}, leave them out with data.class_map={OLD: null}, "
            "or say data.layout=part/class if it is meant so"
        )


def compile_groups(group_regex: str | None) -> re.Pattern[str] | None:
    """The pattern that finds the patient in a file's name.

    Raises:
        BcadvError: it is no regular expression, or has not exactly one group for the patient.
    """
    if group_regex is None:
        return None
    try:
        pattern = re.compile(group_regex)
    except re.error as error:
        raise BcadvError(
            f"data.group_regex={group_regex} is not a regular expression: {error}"
        ) from None
    if "patient" not in pattern.groupindex and pattern.groups != 1:
        raise BcadvError(
            f"data.group_regex={group_regex} has {pattern.groups} groups: it needs exactly one, "
            "the patient, or one named (?P<patient>...)"
        )
    return pattern


def _mended(pattern: re.Pattern[str], records: Sequence[Record]) -> str:
    """What to do about a pattern that matches no file."""
    # Who comes from a language with escapes in its texts doubles every backslash.
    single = pattern.pattern.replace("\\\\", "\\")
    try:
        found = any(_patient(re.compile(single), record.path.name) for record in records)
    except (re.error, IndexError):
        found = False
    if found:
        return f"with each backslash once, {single}, it would match"
    return "correct it, or set it to null"


def _patient(pattern: re.Pattern[str] | None, name: str) -> str | None:
    match = None if pattern is None else pattern.search(name)
    if match is None:
        return None
    return match["patient"] if "patient" in match.re.groupindex else match[1]


def _note_on_order(classes: tuple[str, ...], positive: tuple[int, ...]) -> tuple[str, ...]:
    """What must be said where nobody chose which class counts as the disease."""
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


def _positive(classes: tuple[str, ...], positive: Sequence[str] | None) -> tuple[int, ...]:
    if positive is None:
        return (1,) if len(classes) == 2 else ()
    for name in positive:
        if name not in classes:
            raise BcadvError(
                f"data.positive names '{name}', which is none of the classes {', '.join(classes)}"
            )
    return tuple(sorted({classes.index(name) for name in positive}))


def _inventory(found: Counter[str]) -> str:
    return ", ".join(f"'{label}' with {n}" for label, n in found.items()) or "none"
