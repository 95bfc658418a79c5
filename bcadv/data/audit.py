"""How far the test part of a split is independent of what the model was trained on."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bcadv.data.records import Record, parse_name
from bcadv.data.splits import FOLDS, Split, read_fold


@dataclass(frozen=True)
class Audit:
    """What the parts of a split have in common.

    Attributes:
        images: images per part.
        counts: images per part and class, or finding, of which an image may show several.
        lacking: findings that no image of a part shows; of one class per image, no part lacks one.
        shared_images: image ids that stand in more than one part.
        shared_slides: slides with images in training and in test.
        shared_patients: patients with images in training and in test.
        unknown_patients: images per part whose patient is unknown.
        patients: known patients per part.
        test_images_shared: test images whose patient is also in training.
        patient_overlap: the same as a share of all test images, in [0, 1]; a lower bound where
            patients are unknown, ``None`` where training or test knows none at all.
        patient_overlap_with_val: like ``patient_overlap``, for training and validation together.
        duplicates: sets of byte-identical images that stand in more than one part, as
            (part, image id); ``None`` where contents were not compared.
    """

    images: Mapping[str, int]
    counts: Mapping[str, Mapping[str, int]]
    lacking: Mapping[str, tuple[str, ...]]
    shared_images: tuple[str, ...]
    shared_slides: tuple[str, ...]
    shared_patients: tuple[str, ...]
    unknown_patients: Mapping[str, int]
    patients: Mapping[str, int]
    test_images_shared: int
    patient_overlap: float | None
    patient_overlap_with_val: float | None
    duplicates: tuple[tuple[tuple[str, str], ...], ...] | None

    def as_dict(self) -> dict[str, Any]:
        """The audit as plain values, ready for JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """The leakage between the parts in plain English."""
        said = [self._about_patients()]
        for part, names in self.lacking.items():
            some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            said.append(f"No {part} image shows {len(names)} of the findings: {some}.")
        if self.shared_images:
            said.append(
                f"{len(self.shared_images)} image(s) stand in more than one part, for instance "
                f"{self.shared_images[0]}."
            )
        if self.duplicates:
            copies = sum(len(group) for group in self.duplicates)
            (part, one), (other_part, other) = _across(self.duplicates[0])
            said.append(
                f"{copies} images have a byte-identical copy in another part, for instance {one} "
                f"({part}) and {other} ({other_part})."
            )
        return " ".join(said)

    def _about_patients(self) -> str:
        n = self.images["test"]
        if self.patient_overlap is None:
            return (
                f"Whether the {n} test images come from patients who are also in training is "
                "unknown: the source names no patients."
            )
        unsure = self.unknown_patients["train"] + self.unknown_patients["test"]
        caveat = (
            f" The patient is unknown for {unsure} training and test images, so the true number "
            "may be higher."
            if unsure
            else ""
        )
        if not self.test_images_shared:
            return f"No known patient of the {n} test images is also in training.{caveat}"
        return (
            f"{self.test_images_shared} of {n} test images ({self.patient_overlap:.1%}) come from "
            f"a patient who is also in training ({len(self.shared_patients)} patients), so the "
            f"results say little about patients the model has never seen.{caveat}"
        )


def audit(
    records: Sequence[Record], split: Split, digests: Mapping[str, str] | None = None
) -> Audit:
    """Measures what the parts of a split share.

    Args:
        records: the images.
        split: their parts.
        digests: content digest of the file per image id; ``None`` compares no contents.

    Raises:
        KeyError: ``digests`` lacks an image of the split.
    """
    members = {part: [records[i] for i in rows] for part, rows in split.by_part().items()}
    train, val, test = members["train"], members["val"], members["test"]
    train_patients, test_patients = (
        _known(r.patient for r in train),
        _known(r.patient for r in test),
    )
    val_patients = _known(r.patient for r in val)
    shared = train_patients & test_patients
    n_shared = sum(r.patient in shared for r in test)
    seen = train_patients | val_patients
    n_with_val = sum(r.patient in seen for r in test)
    in_parts = Counter(i for rows in members.values() for i in {r.image_id for r in rows})
    return Audit(
        images={part: len(rows) for part, rows in members.items()},
        counts={
            part: dict(sorted(Counter(name for r in rows for name in r.strata).items()))
            for part, rows in members.items()
        },
        lacking=_lacking(members),
        shared_images=tuple(sorted(i for i, n in in_parts.items() if n > 1)),
        shared_slides=tuple(sorted(_known(r.slide for r in train) & _known(r.slide for r in test))),
        shared_patients=tuple(sorted(shared)),
        unknown_patients={
            part: sum(r.patient is None for r in rows) for part, rows in members.items()
        },
        patients={part: len(_known(r.patient for r in rows)) for part, rows in members.items()},
        test_images_shared=n_shared,
        patient_overlap=n_shared / len(test) if train_patients and test_patients else None,
        patient_overlap_with_val=(n_with_val / len(test) if seen and test_patients else None),
        duplicates=None if digests is None else _duplicates(members, digests),
    )


def content(records: Iterable[Record], digests: Mapping[str, str]) -> str:
    """Digest of a data set: equal for the same images in the same classes.

    Names, places and parts do not count: the same images are one data set, however they are split.

    Args:
        records: all images.
        digests: content digest of the file per image id.
    """
    images = sorted(
        ("?".join((record.label, *record.unknown)), digests[record.image_id]) for record in records
    )
    return hashlib.sha256(json.dumps(images).encode()).hexdigest()


def audit_official(folds_dir: Path) -> dict[int, dict[str, tuple[str, ...]]]:
    """Measures what training and test share in the five lists published with BreakHis.

    The lists are called patient-level. They separate full slide ids (all but one), yet letters
    behind a case number tell slides of one case apart, and cases do stand on both sides.

    Returns:
        Per fold, ``shared_slides`` (full ids with letters) and ``shared_cases`` (without).

    Raises:
        BcadvError: a list is missing or malformed.
    """
    overlaps = {}
    for fold in FOLDS:
        sides: dict[str, list[str]] = {"train": [], "test": []}
        for name, part in read_fold(folds_dir, fold).items():
            sides[part].append(name)
        train, test = ([parse_name(name) for name in sides[part]] for part in ("train", "test"))
        overlaps[fold] = {
            "shared_slides": tuple(sorted({n.slide for n in train} & {n.slide for n in test})),
            "shared_cases": tuple(sorted({n.patient for n in train} & {n.patient for n in test})),
        }
    return overlaps


def _lacking(members: Mapping[str, Sequence[Record]]) -> dict[str, tuple[str, ...]]:
    shown = {
        part: {name for r in rows for name in r.findings or ()} for part, rows in members.items()
    }
    every = set[str]().union(*shown.values())
    return {part: tuple(sorted(every - names)) for part, names in shown.items() if every - names}


def _known(keys: Iterable[str | None]) -> set[str]:
    return {key for key in keys if key is not None}


def _duplicates(
    members: Mapping[str, Sequence[Record]], digests: Mapping[str, str]
) -> tuple[tuple[tuple[str, str], ...], ...]:
    alike: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for part, rows in members.items():
        for record in rows:
            alike[digests[record.image_id]].append((part, record.image_id))
    return tuple(tuple(group) for group in alike.values() if len({part for part, _ in group}) > 1)


def _across(group: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], tuple[str, str]]:
    """Two members of a set of alike images that stand in different parts."""
    return group[0], next(member for member in group if member[0] != group[0][0])
