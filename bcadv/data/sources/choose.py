"""Which files below a folder are taken for images, and which are left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from bcadv.data.records import image_files
from bcadv.data.sources import words
from bcadv.errors import BcadvError

_PLAIN = frozenset(
    {".txt", ".csv", ".tsv", ".md", ".json", ".xml", ".html", ".yaml", ".yml", ".pdf", ".doc"}
    | {".docx", ".xls", ".xlsx", ".ini", ".db", ".log", ".py", ".ipynb", ".sh", ".zip", ".gz"}
)
"""Endings of what nobody takes for an image: not worth a word."""


_NO_PIXELS = frozenset(
    {".mpg", ".mpeg", ".h5", ".hdf", ".grb", ".grib", ".bufr", ".wmf", ".emf", ".ps", ".eps"}
)
"""Endings that Pillow knows and has no pixels of without another program."""


_DICOM = frozenset({".dcm", ".dicom", ".ima"})


@cache
def suffixes() -> frozenset[str]:
    """Endings of the files that are read: all that Pillow decodes itself, and DICOM."""
    from PIL import Image

    Image.init()
    readable = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return frozenset(readable - _NO_PIXELS) | _DICOM


def is_image(path: Path) -> bool:
    """Whether a file is read: by its ending, or as a DICOM file, which often has none.

    What looks like an ending may be the last number of the identifier that such a file is called.
    """
    end = path.suffix.lower()
    if end in suffixes():
        return not _is_index(path)
    return (end == "" or end[1:].isdigit()) and not _is_index(path) and _is_dicom(path)


def is_dicom(path: Path) -> bool:
    """Whether a file is read as a DICOM file."""
    return path.suffix.lower() in _DICOM or _is_dicom(path)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _is_index(path: Path) -> bool:
    """Whether a file is the list of the DICOM files beside it."""
    return path.name.upper().startswith("DICOMDIR")


@dataclass
class LeftOut:
    """Files that are left out, by why.

    Attributes:
        files: that somebody may take for images.
        plain: that nobody does, such as tables: listed, and not worth a note.
    """

    files: dict[str, list[Path]] = field(default_factory=dict)
    plain: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, why: str, path: Path) -> None:
        """Notes a file."""
        self.files.setdefault(why, []).append(path)

    def counts(self) -> tuple[tuple[str, int, str], ...]:
        """Every reason with its number of files and one of them."""
        return tuple(
            (why, len(paths), str(paths[0]))
            for why, paths in (*self.files.items(), *self.plain.items())
        )

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


def folders(path: Path, root: Path) -> tuple[str, ...]:
    """The folders between the root and a file."""
    return path.relative_to(root).parts[:-1]


def chosen(
    root: Path, include: Sequence[str] | None, exclude: Sequence[str], out: LeftOut
) -> list[Path]:
    """The images that patterns and endings leave.

    Raises:
        BcadvError: a pattern that matches nothing, or no image.
    """
    kept, endings = [], Counter[str]()
    used: set[str] = set()
    for path in sorted(image_files(root, None)):
        where = path.relative_to(root).as_posix()
        wanted = include is None or any(fnmatchcase(where, one) for one in include)
        used.update(one for one in include or () if fnmatchcase(where, one))
        against = [one for one in exclude if fnmatchcase(where, one)]
        used.update(against)
        end = path.suffix.lower()
        if not is_image(path):
            if _is_index(path):
                out.add("as a DICOMDIR, which lists other files", path)
            elif end in _PLAIN:
                out.plain.setdefault(f"for {end} is no image", []).append(path)
            else:
                endings[end or "no ending"] += 1
                out.add(f"for {end or 'having no ending'} is not read", path)
        elif against:
            out.add("as data.exclude says", path)
        elif not wanted:
            out.add("as data.include says", path)
        else:
            kept.append(path)
    for name, patterns in (("include", include or ()), ("exclude", exclude)):
        for one in patterns:
            if one not in used:
                raise BcadvError(
                    f"data.{name} has the pattern '{one}', which no path below {root} matches: "
                    "correct it (* stands for anything, slashes too), or leave it out"
                )
    if not kept:
        seen = ", ".join(f"{n} of {end}" for end, n in endings.most_common(5)) or "none at all"
        raise BcadvError(
            f"data.root={root} must hold a folder of images for each of at least two classes; "
            f"found none. Files there: {seen}{out.clause()}. Read are, among others, .png, .jpg, "
            ".tif, .bmp, .gif, .webp and .dcm"
        )
    return kept


def without_masks(files: Sequence[Path], root: Path, out: LeftOut) -> list[Path]:
    """Leaves out what is named like masks beside the images that they are masks of."""
    masked = [path for path in files if any(map(words.is_mask, folders(path, root)))]
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


def without_copies(files: Sequence[Path], root: Path, out: LeftOut) -> list[Path]:
    """Leaves out a copy of the whole set that lies inside of it, as some archives have one."""
    tops: dict[str, set[str]] = {}
    for path in files:
        where = folders(path, root)
        if where:
            tops.setdefault(where[0], set()).update(where[1:2])
    copies = {
        name
        for name, inner in tops.items()
        if len(tops) > 2
        and len(inner) > 1
        and inner >= set(tops) - {name}
        and not words.part_of(name)
    }
    kept = []
    for path in files:
        if copies.intersection(folders(path, root)[:1]):
            out.add("in a copy of the set inside of it", path)
        else:
            kept.append(path)
    return kept
