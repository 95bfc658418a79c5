"""The audit finds what was planted, and what is known of the official lists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bcadv.data.audit import audit, audit_official, content
from bcadv.data.cache import build
from bcadv.data.records import Record
from bcadv.data.sources.breakhis import find
from bcadv.data.sources.folder import find as find_folder
from bcadv.data.splits import Split, paper, patient
from bcadv.errors import BcadvError


def record(name: str, group: str | None, slide: str | None = None, label: str = "a") -> Record:
    return Record(Path(name), name, label, patient=group, slide=slide)


RECORDS = [
    record("t0", "p1", "p1A"),
    record("t1", "p2", "p2A", "b"),
    record("v0", "p3", "p3A"),
    record("e0", "p1", "p1B"),
    record("e1", "p2", "p2A"),
    record("e2", "p3", "p3B", "b"),
    record("e3", "p4", "p4A"),
]
SPLIT = Split(train=(0, 1), val=(2,), test=(3, 4, 5, 6))
DIGESTS = {"t0": "x", "t1": "y", "v0": "z", "e0": "x", "e1": "w", "e2": "w", "e3": "z"}


def test_what_was_planted_is_found() -> None:
    found = audit(RECORDS, SPLIT, DIGESTS)
    assert found.counts == {"train": {"a": 1, "b": 1}, "val": {"a": 1}, "test": {"a": 3, "b": 1}}
    assert found.shared_images == ()
    assert found.shared_slides == ("p2A",)
    assert found.shared_patients == ("p1", "p2")
    assert found.test_images_shared == 2
    assert found.patient_overlap == 0.5
    assert found.patient_overlap_with_val == 0.75
    # e1 and e2 are alike too, but on one side.
    assert found.duplicates == (
        (("train", "t0"), ("test", "e0")),
        (("val", "v0"), ("test", "e3")),
    )
    assert "2 of 4 test images (50.0%)" in found.sentence()
    assert "(2 patients)" in found.sentence()
    assert "4 images have a byte-identical copy" in found.sentence()
    assert json.loads(json.dumps(found.as_dict()))["patient_overlap"] == 0.5


def test_a_clean_split_is_called_clean() -> None:
    found = audit(RECORDS, Split((0,), (1,), (6,)), {k: k for k in DIGESTS})
    assert found.patient_overlap == 0.0
    assert found.duplicates == ()
    assert found.sentence() == "No known patient of the 1 test images is also in training."


def test_unknown_patients_are_not_taken_for_strangers() -> None:
    records = [record("t", None), record("v", None), record("e", None)]
    found = audit(records, Split((0,), (1,), (2,)))
    assert found.patient_overlap is None
    assert found.patient_overlap_with_val is None
    assert found.shared_patients == ()
    assert found.duplicates is None
    assert "unknown" in found.sentence()

    some = [record("t", "p"), record("v", None), record("e", "p"), record("f", None)]
    found = audit(some, Split((0,), (1,), (2, 3)))
    assert found.patient_overlap == 0.5
    assert "unknown for 1 training and test images" in found.sentence()
    some.append(record("u", None))
    assert "unknown for 2 training and test" in audit(some, Split((0, 4), (1,), (2, 3))).sentence()

    # Training knows none, validation one who is tested.
    found = audit([record("t", None), record("v", "p"), record("e", "p")], Split((0,), (1,), (2,)))
    assert (found.patient_overlap, found.patient_overlap_with_val) == (None, 1.0)


def test_an_image_in_two_parts_is_found() -> None:
    found = audit(RECORDS, Split((0, 1), (2,), (0, 6)))
    assert found.shared_images == ("t0",)
    assert "1 image(s) stand in more than one part, for instance t0" in found.sentence()


@pytest.mark.shared_data
def test_the_real_subset_leaks_by_image_and_not_by_patient(shared_data: Path) -> None:
    records = find(shared_data / "breakhis_100x_half", subtypes="all").records
    by_image = audit(records, paper(records, seed=0)).patient_overlap
    assert by_image is not None
    assert by_image > 0.9
    assert audit(records, patient(records, seed=0)).patient_overlap == 0.0


@pytest.mark.shared_data
def test_byte_identical_chest_x_rays_are_found(shared_data: Path, tmp_path: Path) -> None:
    person = r"^(person\d+|(?:NORMAL2-)?IM-\d+)"
    everything = find_folder(shared_data / "chest_xray_224", group_regex=person).records
    contents: dict[bytes, list[Record]] = {}
    for r in everything:
        contents.setdefault(r.path.read_bytes(), []).append(r)
    alike = [group for group in contents.values() if len(group) > 1]
    assert sum(len(group) - 1 for group in alike) == 32

    records = [r for group in alike for r in group] + list(everything[::40])
    records = sorted(set(records), key=lambda r: r.image_id)
    digests = build(records, tmp_path, resize=8, progress=False).digests
    split = paper(records, seed=0)
    part_of = {records[i].image_id: p for p, rows in split.by_part().items() for i in rows}
    across = {
        tuple(sorted(r.image_id for r in group))
        for group in alike
        if len({part_of[r.image_id] for r in group}) > 1
    }
    assert across
    found = audit(records, split, digests)
    assert found.duplicates is not None
    assert {tuple(sorted(i for _, i in group)) for group in found.duplicates} == across
    # All but one pair of copies are of one person, so a split by person parts at most that pair.
    by_person = audit(records, patient(records, seed=0), digests).duplicates
    assert by_person is not None
    assert len(by_person) <= 1


def test_a_data_set_is_its_images_and_their_classes() -> None:
    digests = {each.image_id: f"digest of {each.image_id}" for each in RECORDS}
    one = content(RECORDS, digests)
    renamed = [record(f"new {each.image_id}", None, label=each.label) for each in RECORDS]
    known = {f"new {name}": digest for name, digest in digests.items()}
    assert content(reversed(renamed), known) == one
    assert content(RECORDS[1:], digests) != one
    assert content(RECORDS, digests | {"t0": "another"}) != one
    assert content([record("t0", "p1", label="b"), *RECORDS[1:]], digests) != one


@pytest.mark.shared_data
def test_the_official_lists_overlap_as_known(shared_data: Path) -> None:
    overlaps = audit_official(shared_data / "breakhis_folds")
    assert [len(overlaps[fold]["shared_slides"]) for fold in range(1, 6)] == [1, 0, 1, 0, 1]
    assert [len(overlaps[fold]["shared_cases"]) for fold in range(1, 6)] == [8, 6, 7, 7, 6]
    assert overlaps[1]["shared_slides"] == ("14-13412",)


def test_missing_lists_are_told(tmp_path: Path) -> None:
    with pytest.raises(BcadvError, match=r"dsfold1\.txt"):
        audit_official(tmp_path)
