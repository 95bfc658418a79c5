"""A set of MedMNIST (Yang et al. 2023, "MedMNIST v2"), or any .npz file laid out like one."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pydantic import Field

from bcadv.config import DataConfig
from bcadv.data.records import NO_FINDING, PARTS, Record, Selection
from bcadv.data.sources.disease import note_on_order, positive_classes
from bcadv.data.sources.folder import Names
from bcadv.data.sources.layout import named
from bcadv.errors import BcadvError
from bcadv.section import Name

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Arrays: TypeAlias = Mapping[str, tuple[npt.NDArray[np.int64], tuple[int, int]]]
    """Part -> labels, (n, columns), and height and width of its images."""


class MedMnistData(DataConfig):
    """Which images of a file to take, and what their numbers mean."""

    source: str = "medmnist"
    class_map: dict[Name, Name | None] | None = Field(
        default=None, description="Give {class: class}, with null for one to leave out."
    )
    """Other names of classes, to rename or to merge them; null as a name leaves a class out."""
    labels: Names = Field(default=None, description="Give a list of findings.")
    """Findings that count, where an image may show several; one gives two classes."""
    positive: Names = Field(default=None, description="Give class names.")
    """Classes that count as the disease; null: those of the set, where it is known."""

    def check(self) -> None:
        """A missing file."""
        if self.root is None:
            raise BcadvError(
                "data=medmnist needs the file: add data.root=FILE.npz, for instance "
                "pneumoniamnist.npz."
            )
        if self.root.is_dir():
            there = sorted(path.name for path in self.root.glob("*.npz"))
            raise BcadvError(
                f"data.root={self.root} is a folder: name the .npz file. It holds {named(there)}."
            )
        if not self.root.is_file():
            raise BcadvError(f"data.root={self.root} is no file: give one that exists.")
        if self.root.suffix.lower() != ".npz":
            raise BcadvError(f"data.root={self.root} is no .npz file: give one of MedMNIST.")

    def find(self) -> Selection:
        """The images of the file."""
        self.check()
        assert self.root is not None
        found = find(
            self.root, class_map=self.class_map, labels=self.labels, positive=self.positive
        )
        return replace(found, notes=(*found.notes, *self._note_on_size()))

    def _note_on_size(self) -> tuple[str, ...]:
        """That images are enlarged, which adds pixels and no detail."""
        assert self.root is not None
        side = min(_arrays(self.root)["train"][1])
        if self.resize is None or self.resize <= side:
            return ()
        return (
            f"Images are enlarged: their shorter side has {side} pixels, and data.resize="
            f"{self.resize}. A model sees interpolated pixels, and eps is a change of those.",
        )


@dataclass(frozen=True)
class Card:
    """What is known of a set.

    Attributes:
        classes: what the numbers mean.
        positive: classes that count as the disease.
        several: whether an image may show several of them.
        why: what must be said of the choice of the disease.
    """

    classes: tuple[str, ...]
    positive: tuple[str, ...] = ()
    several: bool = False
    why: str = ""


_ORGANS = Card(
    (
        *("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver"),
        *("lung-left", "lung-right", "pancreas", "spleen"),
    )
)

CARDS: Mapping[str, Card] = {
    "pathmnist": Card(
        (
            *("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle"),
            *("normal colon mucosa", "cancer-associated stroma"),
            "colorectal adenocarcinoma epithelium",
        ),
        ("colorectal adenocarcinoma epithelium",),
        why="The stroma beside a cancer does not count as the disease; data.positive changes that.",
    ),
    "chestmnist": Card(
        (
            *("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule"),
            *("pneumonia", "pneumothorax", "consolidation", "edema", "emphysema", "fibrosis"),
            *("pleural", "hernia"),
        ),
        several=True,
    ),
    "dermamnist": Card(
        (
            *("actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma"),
            *("benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi"),
            "vascular lesions",
        ),
        (
            *("actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma"),
            "melanoma",
        ),
        why="Actinic keratoses, which precede a cancer, count as the disease, for they share a "
        "class with carcinoma in situ; data.positive changes that.",
    ),
    "octmnist": Card(
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        ("choroidal neovascularization", "diabetic macular edema", "drusen"),
    ),
    "pneumoniamnist": Card(("normal", "pneumonia"), ("pneumonia",)),
    "retinamnist": Card(
        ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4"),
        ("grade 2", "grade 3", "grade 4"),
        why="Grades 2 to 4 of diabetic retinopathy count as the disease: those that are referred.",
    ),
    "breastmnist": Card(("malignant", "normal or benign"), ("malignant",)),
    "bloodmnist": Card(
        (
            *("basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte"),
            *("monocyte", "neutrophil", "platelet"),
        )
    ),
    "tissuemnist": Card(
        (
            *("collecting duct or connecting tubule", "distal convoluted tubule"),
            *("glomerular endothelial cells", "interstitial endothelial cells", "leukocytes"),
            *("podocytes", "proximal tubule segments", "thick ascending limb"),
        )
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}
"""By the name of the file without its size (MedMNIST, info.py)."""

_LAST = 65535
"""The largest number of a class; what lies above is damage, or no label."""

COUNTS: Mapping[str, tuple[int, int, int]] = {
    "pathmnist": (89996, 10004, 7180),
    "chestmnist": (78468, 11219, 22433),
    "dermamnist": (7007, 1003, 2005),
    "octmnist": (97477, 10832, 1000),
    "pneumoniamnist": (4708, 524, 624),
    "retinamnist": (1080, 120, 400),
    "breastmnist": (546, 78, 156),
    "bloodmnist": (11959, 1712, 3421),
    "tissuemnist": (165466, 23640, 47280),
}
"""Images of train, val and test as published (MedMNIST 2.1.0, info.py); of the organs they differ
between versions."""

_SIZE = re.compile(r"_(28|64|128|224)$")


def find(
    path: Path,
    *,
    class_map: Mapping[str, str | None] | None = None,
    labels: Sequence[str] | None = None,
    positive: Sequence[str] | None = None,
) -> Selection:
    """Finds the images of a file in the layout of MedMNIST, with its own parts.

    Args:
        path: of the file, called as its authors do (``bloodmnist.npz``, ``bloodmnist_64.npz``), so
            that its numbers have names; classes of other files are called by their numbers.
        class_map: other names of classes; ``None`` as a name leaves one out.
        labels: findings that count, where images show several; one gives two classes.
        positive: names of the positive classes.

    Returns:
        The selection, ordered by ``image_id``, which is part and number, as in ``train/000017``.

    Raises:
        BcadvError: the file cannot be read, holds volumes, or labels that do not fit its images;
            an option names no class.
    """
    arrays = _arrays(path)
    card = _card(path, arrays)
    for option, names in (("class_map", class_map), ("labels", labels)):
        for name in names or ():
            if name not in {*card.classes, *(class_map or {}).values()}:
                raise BcadvError(
                    f"data.{option} names '{name}', which is none of the classes "
                    f"{named(card.classes, 20)}"
                )
    if labels is not None and not card.several:
        raise BcadvError("data.labels is for sets whose images show several findings: leave it out")
    records = tuple(_records(path, card, arrays, class_map or {}))
    height, width = arrays["train"][1]
    notes = (
        f"{path.name}: images of {width} x {height} pixels, split as its authors do. It does not "
        "say whose images they are, so patients are unknown.",
        *_note_on_counts(path, arrays),
    )
    if card.several:
        return _of_findings(records, card, class_map or {}, labels, notes)
    return _of_classes(records, card, class_map or {}, positive, notes)


def _note_on_counts(path: Path, arrays: Arrays) -> tuple[str, ...]:
    """That a file holds other numbers of images than the published one of its name."""
    official = COUNTS.get(_SIZE.sub("", path.stem.lower()))
    here = tuple(len(arrays[part][0]) if part in arrays else 0 for part in PARTS)
    if official is None or here == official:
        return ()
    numbers = [" / ".join(f"{n:,}" for n in of) for of in (here, official)]
    return (
        f"{path.name} holds {numbers[0]} images to train, validate and test; the published set of "
        f"this name holds {numbers[1]}: results on it cannot be compared with published ones.",
    )


def _arrays(path: Path) -> Arrays:
    """The parts of a file.

    Raises:
        BcadvError: it is no file of this layout.
    """
    from bcadv.data import containers

    try:
        with containers.open_npz(path) as archive:
            there = [name.removesuffix(".npy") for name in containers.members(archive)]
            arrays = {part: _part(archive, part) for part in PARTS if f"{part}_images" in there}
    except (ValueError, OSError) as error:
        raise BcadvError(f"{path} cannot be used: {error}.") from None
    if "train" not in arrays:
        raise BcadvError(
            f"{path} has no train_images, as sets of MedMNIST do: it holds {named(sorted(there))}."
        )
    if len({labels.shape[1] for labels, _ in arrays.values()}) > 1:
        raise BcadvError(f"{path}: the labels of its parts have different numbers of columns.")
    return arrays


def _part(archive: zipfile.ZipFile, part: str) -> tuple[npt.NDArray[np.int64], tuple[int, int]]:
    """Labels of a part, and height and width of its images.

    Raises:
        ValueError or OSError: they do not fit each other, or cannot be read.
    """
    import numpy as np

    from bcadv.data import containers

    name = f"{part}_labels"
    images = containers.images_of(archive, f"{part}_images")
    if f"{name}.npy" not in containers.members(archive):
        raise ValueError(f"it has {part}_images and no {name}")
    labels = containers.small(archive, name)
    if labels.dtype.kind not in "iubf" or not np.array_equal(labels, np.rint(labels)):
        raise ValueError(f"{name} holds {labels.dtype}, and not whole numbers")
    labels = labels.reshape(-1, 1) if labels.ndim == 1 else labels
    if labels.ndim != 2 or len(labels) != images.shape[0]:
        raise ValueError(f"{name} has the shape {labels.shape}, for {images.shape[0]} images")
    if labels.size and not (labels.min() >= 0 and labels.max() <= _LAST):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"{name} holds {wrong}; classes are numbered from 0 to at most {_LAST}")
    return labels.astype(np.int64), (images.shape[1], images.shape[2])


def _card(path: Path, arrays: Arrays) -> Card:
    """What is known of the set, or that its numbers are the names.

    Raises:
        BcadvError: its labels are not those of the set that it is called after.
    """
    columns = arrays["train"][0].shape[1]
    top = max(int(labels.max(initial=0)) for labels, _ in arrays.values())
    name = _SIZE.sub("", path.stem.lower())
    known = CARDS.get(name)
    if known is None and columns == 1:
        return Card(tuple(map(str, range(top + 1))))
    card = known or Card(tuple(map(str, range(columns))), several=True)
    wanted, most = (len(card.classes), 1) if card.several else (1, len(card.classes) - 1)
    if columns != wanted or top > most:
        called = f"it is called like {name}, whose labels" if known else "labels of several columns"
        raise BcadvError(
            f"{path} cannot be used: {called} have {wanted} column(s) of 0 to {most}, and here "
            f"they have {columns} of 0 to {top}."
        )
    return card


def _records(
    path: Path, card: Card, arrays: Arrays, class_map: Mapping[str, str | None]
) -> Iterator[Record]:
    """The images by their names; those of classes that are left out are not among them."""
    names = [class_map.get(name, name) for name in card.classes]
    first, begin = {}, 0
    for part, (labels, _) in arrays.items():
        first[part], begin = begin, begin + len(labels)
    for part in sorted(arrays):
        for i, row in enumerate(arrays[part][0].tolist()):
            findings = None
            label = names[row[0]]
            if card.several:
                found = (name for name, one in zip(names, row, strict=True) if one and name)
                findings = tuple(dict.fromkeys(found))
                label = "|".join(findings) or NO_FINDING
            if label is not None:
                yield Record(
                    path=path,
                    image_id=f"{part}/{i:06d}",
                    label=label,
                    part=part,
                    frame=first[part] + i,
                    findings=findings,
                )


def _of_classes(
    records: tuple[Record, ...],
    card: Card,
    class_map: Mapping[str, str | None],
    positive: Sequence[str] | None,
    notes: tuple[str, ...],
) -> Selection:
    found = Counter(record.label for record in records)
    # In the authors' order, in which grades rise.
    order = dict.fromkeys(class_map.get(name, name) for name in card.classes)
    classes = tuple(name for name in order if name is not None and found[name])
    if len(classes) < 2:
        raise BcadvError(f"images of {named(classes)} alone are no two classes to tell apart")
    own = [class_map.get(name, name) for name in card.positive]
    own = [name for name in dict.fromkeys(own) if name in classes]
    by_card = positive is None and bool(own)
    disease = positive_classes(classes, [str(name) for name in own] if by_card else positive)
    if by_card and card.why:
        notes = (*notes, card.why)
    elif positive is None and not by_card:
        notes = (*notes, *note_on_order(classes, disease))
    return Selection(
        records=records,
        classes=classes,
        positive=disease,
        positive_by="user" if positive is not None else "source" if by_card else "order",
        found={label: found[label] for label in classes},
        notes=notes,
    )


def _of_findings(
    records: tuple[Record, ...],
    card: Card,
    class_map: Mapping[str, str | None],
    labels: Sequence[str] | None,
    notes: tuple[str, ...],
) -> Selection:
    names = dict.fromkeys(class_map.get(name, name) for name in card.classes)
    kept = tuple(n for n in names if n is not None and (labels is None or n in labels))
    if len(kept) == 1:
        [one] = kept
        classes = (f"no {one}", one)
        records = tuple(
            replace(r, label=classes[one in (r.findings or ())], findings=None) for r in records
        )
        found = Counter(record.label for record in records)
        return Selection(records, classes, (1,), {c: found[c] for c in classes}, notes=notes)
    shown = [tuple(name for name in r.findings or () if name in kept) for r in records]
    found = Counter(name for of in shown for name in of)
    return Selection(
        records=tuple(
            replace(record, label="|".join(of) or NO_FINDING, findings=of)
            for record, of in zip(records, shown, strict=True)
        ),
        classes=kept,
        positive=tuple(range(len(kept))),
        found={name: found[name] for name in kept},
        notes=notes,
        kind="multilabel",
    )
