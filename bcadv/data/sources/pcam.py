"""PatchCamelyon (Veeling et al. 2018): patches of lymph nodes with and without tumour, in HDF5."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bcadv.config import DataConfig
from bcadv.data.records import Record, Selection
from bcadv.data.sources.layout import named
from bcadv.errors import BcadvError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_STEM = "camelyonpatch_level_2_split_"
_PARTS = {"train": "train", "val": "valid", "test": "test"}
_CLASSES = ("normal", "tumour")


class PCamData(DataConfig):
    """The files of PatchCamelyon in a folder."""

    source: str = "pcam"

    def check(self) -> None:
        """A missing folder, or files that are not unpacked."""
        if self.root is None:
            raise BcadvError(
                f"data=pcam needs the folder of {_STEM}train_x.h5 and the like: add "
                "data.root=FOLDER."
            )
        if not self.is_reachable():
            raise BcadvError(f"data.root={self.root} is not a folder: give one that exists.")
        for part in _PARTS.values():
            for kind in "xy":
                _file(self.root, f"{part}_{kind}.h5")

    def find(self) -> Selection:
        """The images of the three parts."""
        self.check()
        assert self.root is not None
        return find(self.root)


def _file(root: Path, ending: str) -> Path:
    """The path of one of the files.

    Raises:
        BcadvError: it is missing, or compressed.
    """
    path = root / f"{_STEM}{ending}"
    if path.is_file():
        return path
    packed = path.with_name(f"{path.name}.gz")
    if packed.is_file():
        raise BcadvError(f"{packed} is compressed: unpack it with gunzip {packed.name}")
    there = named(sorted(p.name for p in root.glob("*.h5*")))
    raise BcadvError(f"{path} is missing: data.root={root} holds {there}")


def find(root: Path) -> Selection:
    """Finds the images of PatchCamelyon, with the parts of its authors.

    The slide of an image, which stands for its patient, is named by the files
    ``..._meta.csv`` where they are beside the others.

    Returns:
        The selection, ordered by ``image_id``, which is part and number, as in ``train/000017``.

    Raises:
        BcadvError: a file is missing or damaged, or two of them do not fit each other.
    """
    records: list[Record] = []
    for part in sorted(_PARTS):
        records += _records(root, part)
    found = Counter(record.label for record in records)
    unknown = sum(record.patient is None for record in records)
    said = (
        f"The slide is unknown for {unknown} of {len(records)} images: {_STEM}..._meta.csv beside "
        "the other files would say it."
    )
    return Selection(
        records=tuple(records),
        classes=_CLASSES,
        positive=(1,),
        found={name: found[name] for name in _CLASSES},
        notes=(said,) if unknown else (),
    )


def _records(root: Path, part: str) -> Iterator[Record]:
    from bcadv.data import containers

    name = _PARTS[part]
    images, labels = _file(root, f"{name}_x.h5"), _file(root, f"{name}_y.h5")
    try:
        n = containers.Hdf5(images, "x").shape[0]
        truth = _truth(labels, n)
    except (ValueError, OSError) as error:
        raise BcadvError(f"{images} and {labels.name} cannot be used: {error}.") from None
    slides = _slides(root / f"{_STEM}{name}_meta.csv", n)
    for i in range(n):
        yield Record(
            path=images,
            image_id=f"{part}/{i:06d}",
            label=_CLASSES[truth[i]],
            patient=slides[i],
            part=part,
            frame=i,
        )


def _truth(path: Path, n: int) -> npt.NDArray[np.int64]:
    """The class of each image.

    Raises:
        ValueError: the file holds something else.
    """
    import numpy as np

    from bcadv.data.containers import dataset

    found = np.asarray(dataset(path, "y"))
    if found.size != n:
        raise ValueError(f"{path.name} has {found.size} labels for {n} images")
    if not np.isin(found, (0, 1)).all():
        raise ValueError(f"{path.name} holds other labels than 0 and 1")
    return found.reshape(n).astype(np.int64)


def _slides(path: Path, n: int) -> list[str | None]:
    """The slide of each image, as far as the table of the authors is there.

    Raises:
        BcadvError: it is about other images.
    """
    if not path.is_file():
        return [None] * n
    try:
        with path.open(encoding="utf-8", newline="") as file:
            slides = [(row["wsi"] or "").strip() or None for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise BcadvError(f"{path} has no readable column 'wsi' ({error}): remove it") from None
    if len(slides) != n:
        raise BcadvError(f"{path} has {len(slides)} rows for {n} images: take that of this set")
    return slides
