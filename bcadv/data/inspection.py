"""What a data set was taken for and what its files hold: the content of ``bcadv data check json=``.

Plain values alone, so that the terminal, the page and the JSON say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from bcadv.data.audit import Audit

VERSION = 1
"""Of the JSON: raised whenever a field changes its meaning or goes."""


@dataclass(frozen=True)
class Folder:
    """A folder below the root, by its name.

    Attributes:
        role: what it was taken for.
        name: of the folder.
        meaning: the part or class that it stands for; ``None``: of a class that is left out.
        images: in folders of this name.
    """

    role: Literal["part", "class"]
    name: str
    meaning: str | None
    images: int


@dataclass(frozen=True)
class LeftOut:
    """Files that are no image of the set.

    Attributes:
        why: continues "they are left out".
        files: how many.
        example: path of one.
    """

    why: str
    files: int
    example: str


@dataclass(frozen=True)
class Class:
    """A class, or a finding where an image may show several.

    Attributes:
        name: of the class.
        images: that are of it, or show it.
        disease: whether it counts as the disease.
        parts: part of the split -> images; empty where there is no split.
        folders: part as the folders have it -> images; empty where none is named after a part.
    """

    name: str
    images: int
    disease: bool
    parts: Mapping[str, int]
    folders: Mapping[str, int]


@dataclass(frozen=True)
class Part:
    """A part of the split.

    Attributes:
        name: ``train``, ``val``, ``test``, or ``unused``.
        images: in it.
        patients: known ones.
        unknown: images whose patient is unknown.
    """

    name: str
    images: int
    patients: int
    unknown: int


@dataclass(frozen=True)
class Patients:
    """Whom the images are of.

    Attributes:
        known: number of patients.
        unknown: images whose patient is unknown.
        named_by: what says so; ``None``: nothing does.
        examples: image id -> the patient that it was taken for.
    """

    known: int
    unknown: int
    named_by: str | None
    examples: Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """Where an image stands.

    Attributes:
        image_id: of the image.
        part: of the split, or of the folders where there is no split; ``None``: in none.
        label: its class.
    """

    image_id: str
    part: str | None
    label: str


@dataclass(frozen=True)
class Size:
    """Width and height in pixels, as a viewer shows them, and how many images have them."""

    width: int
    height: int
    images: int
    example: str


@dataclass(frozen=True)
class Range:
    """The values that a sample of images uses.

    Attributes:
        white: the value that counts as white; black is 0.
        low: the lowest found.
        high: the highest found.
        images: looked at.
    """

    white: float
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Pixels:
    """What the files hold: from all their headers, and from the pixels of a sample.

    Attributes:
        formats: such as ``PNG`` -> images.
        modes: as Pillow calls them, such as ``L`` (grey) or ``RGB`` -> images.
        sizes: the most common ones, at most 20.
        different_sizes: how many there are.
        smallest: the one with the shortest side.
        largest: the one with most pixels.
        turned: images that an orientation tag turns or mirrors.
        ranges: of the sample, for each value of white.
        sampled: images whose pixels were looked at, drawn by the seed from every class alike.
        coloured: of these, how many have colours.
    """

    formats: Mapping[str, int]
    modes: Mapping[str, int]
    sizes: tuple[Size, ...]
    different_sizes: int
    smallest: Size | None
    largest: Size | None
    turned: int
    ranges: tuple[Range, ...]
    sampled: int
    coloured: int


@dataclass(frozen=True)
class Broken:
    """A file that cannot be read.

    Attributes:
        path: of the file.
        why: in words.
    """

    path: str
    why: str


@dataclass(frozen=True)
class Alike:
    """Sets of images that are the same.

    Attributes:
        sets: how many.
        images: in them.
        across_parts: sets that stand in more than one part.
        across_classes: sets that have more than one class.
        examples: at most 50 sets, those across parts first, then those across classes.
    """

    sets: int
    images: int
    across_parts: int
    across_classes: int
    examples: tuple[tuple[Place, ...], ...]


@dataclass(frozen=True)
class Giveaway:
    """What a file tells of its class without a look at what it shows.

    Attributes:
        property: of the file, such as ``format``.
        label: the class that it tells from the others.
        value: that tells so.
        inside: images of the class that have it.
        of: images of the class.
        outside: images of the other classes that have it.
        of_others: images of the other classes.
    """

    property: str
    label: str
    value: str
    inside: int
    of: int
    outside: int
    of_others: int


@dataclass(frozen=True)
class Doubt:
    """What a reader of later results would want to have known.

    Attributes:
        id: of its kind, such as ``patients_in_two_parts``.
        text: what was seen, a sentence or two.
        remedy: what settles it, a sentence.
        stops: whether a job with these options would not begin.
    """

    id: str
    text: str
    remedy: str
    stops: bool = False


@dataclass(frozen=True)
class Thumbnail:
    """A small image.

    Attributes:
        image_id: of the image.
        uri: it itself, as a data URI; empty where it cannot be decoded.
        width: of the small image, in pixels.
        height: likewise.
    """

    image_id: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Strip:
    """Some images of a class and a part.

    Attributes:
        label: the class.
        part: of the split or of the folders; ``None``: there is none.
        images: of that class and part there are.
        shown: some of them, drawn by the seed.
    """

    label: str
    part: str | None
    images: int
    shown: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Inspection:
    """A data set as a job with the same options would take it.

    Attributes:
        source: name of the source, as in ``data=``.
        words: what the images are.
        root: the folder; ``None``: the source has none.
        synthetic: whether they are painted by a program.
        kind: whether an image is of one class or may show several findings.
        images: how many.
        layout: what each folder below the root was taken for; ``None``: no folder says it.
        folders: the parts and classes among them.
        left_out: files that are no image of the set.
        classes: or findings.
        disease_by: who chose the classes that count as the disease.
        patients: whom they are of.
        split: the rule, as in ``data.split=``.
        fold: that is tested, where the split has folds.
        seed: of the split and of the sample.
        parts: of the split; empty where it cannot be made.
        overlap: what the parts share; ``None`` where there are none.
        notes: what the source has to say.
        pixels: what the files hold; ``None``: no file was looked at.
        broken: files whose header cannot be read, and those of the sample that cannot be decoded.
        duplicates: byte-identical files; ``None``: not looked for.
        near: images whose pixels are nearly equal; ``None``: not looked for.
        giveaways: properties of files that tell the classes apart.
        doubts: what speaks against this reading or these images.
        sheet: a few images of each class and part; not in the JSON.
    """

    source: str
    words: str
    root: str | None
    synthetic: bool
    kind: Literal["multiclass", "multilabel"]
    images: int
    layout: str | None
    folders: tuple[Folder, ...]
    left_out: tuple[LeftOut, ...]
    classes: tuple[Class, ...]
    disease_by: Literal["user", "source", "order"]
    patients: Patients
    split: str
    fold: int | None
    seed: int
    parts: tuple[Part, ...]
    overlap: Audit | None
    notes: tuple[str, ...]
    pixels: Pixels | None = None
    broken: tuple[Broken, ...] = ()
    duplicates: Alike | None = None
    near: Alike | None = None
    giveaways: tuple[Giveaway, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    sheet: tuple[Strip, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a job with these options would begin."""
        return not any(doubt.stops for doubt in self.doubts)

    def with_doubts(self, doubts: tuple[Doubt, ...]) -> Inspection:
        """The same with other doubts."""
        return replace(self, doubts=doubts)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; paths and names as they are."""
        values = asdict(replace(self, sheet=()))
        del values["sheet"]
        return {"version": VERSION, "usable": self.usable, **values}
