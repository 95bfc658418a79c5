"""Which image is trained on, validated on, tested on: seeded and checked.

Whatever is drawn depends on the seed and on the names of the images alone: not on the order of the
records, the platform or the version of a library.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bcadv.data import findings
from bcadv.data.deal import assign, by, carve, group_of, lot
from bcadv.data.records import PARTS, Record
from bcadv.errors import BcadvError

FOLDS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Split:
    """Positions in the list of records, ascending, per part."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]

    def by_part(self) -> dict[str, tuple[int, ...]]:
        """The three parts under their names, in the order of `PARTS`."""
        return {"train": self.train, "val": self.val, "test": self.test}


def paper_counts(n: int) -> tuple[int, int, int]:
    """How the paper cuts a class of ``n`` images into training, validation and test.

    Li & Liu 2023 print 515/64/65 for 644 and 722/90/91 for 903 images and name no rule. Eight
    tenths and one tenth, both rounded down, and the rest for the test gives exactly these. Below
    ten images, validation and test still get one each.

    Raises:
        ValueError: ``n`` is less than 3.
    """
    if n < 3:
        raise ValueError(f"{n} images cannot be cut into three parts")
    val = max(1, n // 10)
    train = min(8 * n // 10, n - val - 1)
    return train, val, n - train - val


def paper(records: Sequence[Record], *, seed: int) -> Split:
    """Splits by image, class by class, into the paper's proportions.

    One patient's images stand in several parts: that is what the paper did, and what the audit
    measures. See `paper_counts`. Where images may show several findings, each finding is cut into
    eight tenths and twice one tenth, as near as images with several allow.

    Raises:
        BcadvError: a class has fewer than three images.
    """
    if findings.several(records):
        alone = {record.image_id: [i] for i, record in enumerate(records)}
        order = partial(lot, seed)
        return checked(records, *findings.assign(records, alone, (0.8, 0.1, 0.1), order))
    placed: list[list[int]] = [[], [], []]
    for label, members in sorted(by(records, range(len(records)), lambda r: r.label).items()):
        if len(members) < 3:
            raise BcadvError(
                f"class '{label}' has {len(members)} image(s): data.split=paper needs at least "
                "three per class, one for each part"
            )
        members.sort(key=lambda i: lot(seed, records[i].image_id))
        train, val, _ = paper_counts(len(members))
        placed[0] += members[:train]
        placed[1] += members[train : train + val]
        placed[2] += members[train + val :]
    return checked(records, *placed)


def patient(
    records: Sequence[Record],
    *,
    seed: int,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> Split:
    """Splits by patient: all images of a patient stand in one part.

    Among seeded random assignments of whole patients it takes the first in which every class's
    share of validation and of test is within two percentage points of the fraction asked for, else
    the one whose worst share is nearest. Images without a known patient each count as a patient.
    Parts that the source fixes are ignored.

    Args:
        records: the images.
        seed: of the draw.
        fractions: share of each class's images for training, validation and test; positive, sum 1.

    Raises:
        BcadvError: the fractions are out of range, or a class has too few patients to stand in
            all three parts.
    """
    if min(fractions) <= 0 or not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise BcadvError(f"fractions={list(fractions)} must be three positive shares that sum to 1")
    return checked(records, *assign(records, range(len(records)), fractions, seed))


def patient_cv(
    records: Sequence[Record], *, folds: int, fold: int, seed: int, val_fraction: float = 0.1
) -> Split:
    """Splits for cross-validation by patient: one of several parts of the patients is the test.

    The parts depend on the seed and the number of folds alone, so that over all folds every image
    is tested exactly once, by a model that has seen no image of its patient. Validation is drawn by
    patient from the others.

    Args:
        records: the images.
        folds: number of parts, at least 3: all but one have to hold training and validation.
        fold: which of them is tested, from 1.
        seed: of the draw.
        val_fraction: share of each class's other images that becomes validation.

    Raises:
        BcadvError: no such fold, or a class has too few patients to stand in every part.
    """
    if folds < 3 or not 1 <= fold <= folds:
        raise BcadvError(
            f"data.fold={fold} of data.folds={folds} does not exist: there are 3 folds or more, "
            "numbered from 1"
        )
    dealt = assign(records, range(len(records)), (1 / folds,) * folds, seed, parts="folds")
    test = dealt.pop(fold - 1)
    rest = sorted(i for part in dealt for i in part)
    train, val = carve(records, rest, seed, val_fraction)
    return checked(records, train, val, test)


def official(
    records: Sequence[Record],
    folds_dir: Path,
    *,
    fold: int,
    seed: int,
    val_fraction: float = 0.1,
) -> Split:
    """Splits as one of the five lists published with BreakHis, validation drawn by patient.

    The lists name all magnifications, so any selection of BreakHis can be split by them. They
    have no validation part; it is taken from the list's training images. They are called
    patient-level and part full slide ids, but letters behind a case number tell slides of one case
    apart, so that cases stand on both sides: the audit counts them.

    Args:
        records: BreakHis images.
        folds_dir: folder of ``dsfold1.txt`` to ``dsfold5.txt``.
        fold: 1 to 5.
        seed: of the validation draw.
        val_fraction: share of each class's training images that becomes validation.

    Raises:
        BcadvError: no such fold or list, a malformed list, or images that it does not name.
    """
    listed = read_fold(folds_dir, fold)
    unlisted = [r.image_id for r in records if r.image_id not in listed]
    if unlisted:
        raise BcadvError(
            f"{len(unlisted)} of {len(records)} images are not in the official list of fold "
            f"{fold} in {folds_dir}, the first is {unlisted[0]}: data.split=official is for "
            "original BreakHis images alone"
        )
    train = [i for i, r in enumerate(records) if listed[r.image_id] == "train"]
    test = [i for i, r in enumerate(records) if listed[r.image_id] == "test"]
    train, val = carve(records, train, seed, val_fraction)
    return checked(records, train, val, test)


def read_fold(folds_dir: Path, fold: int) -> dict[str, str]:
    """Reads an official BreakHis list with rows ``name|magnification|fold|train or test``.

    Returns:
        ``train`` or ``test`` per image id, in the order of the list.

    Raises:
        BcadvError: no such fold or list, or a malformed row.
    """
    if fold not in FOLDS:
        raise BcadvError(f"data.fold={fold} does not exist: BreakHis has the folds 1 to 5")
    path = folds_dir / f"dsfold{fold}.txt"
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BcadvError(
            f"cannot read the official list {path} ({error}): set data.folds_dir to the folder "
            "of dsfold1.txt to dsfold5.txt"
        ) from None
    listed: dict[str, str] = {}
    for line, row in enumerate(rows, start=1):
        match row.strip().split("|"):
            case [name, _, number, ("train" | "test") as part] if number == str(fold):
                image_id = name.removesuffix(".png")
            case _:
                raise BcadvError(
                    f"{path}, line {line}: '{row}' is not name|magnification|{fold}|train or test"
                )
        if image_id in listed:
            raise BcadvError(f"{path}, line {line}: {image_id} stands in the list twice")
        listed[image_id] = part
    return listed


def parts(records: Sequence[Record], *, seed: int, val_fraction: float = 0.1) -> Split:
    """Splits as the source itself does; draws validation from its training part if it has none.

    Args:
        records: images with their ``part`` set.
        seed: of the validation draw.
        val_fraction: share of each class's training images that becomes validation, taken by
            whole patients, where the source has no validation part.

    Raises:
        BcadvError: an image has no part, or there is no training or no test part.
    """
    members = by(records, range(len(records)), lambda r: r.part or "none")
    missing = [part for part in ("train", "test") if part not in members]
    if "none" in members or missing:
        what = (
            f"{len(members['none'])} images stand in no part"
            if "none" in members
            else f"there is no {missing[0]} part"
        )
        raise BcadvError(
            f"data.split=parts needs a source with its own train and test folders, but {what}: "
            "choose data.split=patient or data.split=paper"
        )
    if "val" in members:
        return checked(records, members["train"], members["val"], members["test"])
    train, val = carve(records, members["train"], seed, val_fraction)
    return checked(records, train, val, members["test"])


def limit(
    records: Sequence[Record],
    split: Split,
    per_class: Mapping[str, Mapping[str, int]],
    *,
    seed: int,
) -> Split:
    """Cuts the parts of a split to given numbers of images per class.

    Patients are taken whole, in seeded order, until the number is reached; the last one may be
    cut short, and what is cut off stands in no part. So a split by patient stays one.

    Args:
        records: the images.
        split: the split to cut.
        per_class: part -> class -> number of images, e.g.
            ``{"train": {"NORMAL": 515, "PNEUMONIA": 722}}``. Parts and classes not named stay
            whole.
        seed: of the draw.

    Raises:
        BcadvError: an unknown part or class, more images asked for than there are, or images that
            may show several findings, so that no number of one leaves the others alone.
    """
    if findings.several(records):
        raise BcadvError(
            "data.per_class counts images of one class each, and these may show several findings: "
            "leave it out, or choose one finding with data.labels=[X]"
        )
    labels = {record.label for record in records}
    cut = {part: list(members) for part, members in split.by_part().items()}
    for part, wanted in per_class.items():
        if part not in cut:
            raise BcadvError(f"data.per_class names the part '{part}': choose {', '.join(PARTS)}")
        for label, n in wanted.items():
            members = [i for i in cut[part] if records[i].label == label]
            if label not in labels:
                raise BcadvError(
                    f"data.per_class names the class '{label}' in {part}, but the classes are "
                    f"{', '.join(sorted(labels))}"
                )
            if not 1 <= n <= len(members):
                raise BcadvError(
                    f"data.per_class asks for {n} images of '{label}' in {part}, where there are "
                    f"{len(members)}: ask for a number from 1 to that"
                )
            members.sort(
                key=lambda i: (lot(seed, group_of(records[i])), lot(seed, records[i].image_id))
            )
            dropped = set(members[n:])
            cut[part] = [i for i in cut[part] if i not in dropped]
    return checked(records, cut["train"], cut["val"], cut["test"])


def checked(
    records: Sequence[Record], train: Iterable[int], val: Iterable[int], test: Iterable[int]
) -> Split:
    """Makes the split and holds it to what every split must satisfy.

    Raises:
        BcadvError: a part lacks a class; or is empty, where images may show several findings, of
            which rare ones cannot stand in every part.
    """
    split = Split(tuple(sorted(train)), tuple(sorted(val)), tuple(sorted(test)))
    labels = [] if findings.several(records) else sorted({record.label for record in records})
    for part, members in split.by_part().items():
        have = {records[i].label for i in members}
        if not members:
            raise BcadvError(f"the {part} part has no image: choose another data.split or seed")
        lacking = [label for label in labels if label not in have]
        if lacking:
            raise BcadvError(
                f"the {part} part ({len(members)} images) has no image of class '{lacking[0]}': "
                "choose another data.split or seed, or add images"
            )
    return split
