"""Images that may show several findings: how they are shared out and counted."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcadv.data.audit import audit, content
from bcadv.data.findings import cooccurrence
from bcadv.data.records import Record
from bcadv.data.splits import Split, limit, paper, parts, patient
from bcadv.errors import BcadvError


def record(
    name: str,
    *findings: str,
    patient: str | None = None,
    unknown: tuple[str, ...] = (),
    part: str | None = None,
) -> Record:
    label = "|".join(findings or ("none",))
    return Record(
        Path(name), name, label, patient=patient, findings=findings, unknown=unknown, part=part
    )


def cohort(seed: int, patients: int = 400) -> list[Record]:
    """Patients of one to nine images, and findings from frequent to rare that come together."""
    draw = random.Random(seed)
    chances = {"A": 0.3, "B": 0.1, "C": 0.05, "D": 0.02}
    made = []
    for p in range(patients):
        for i in range(draw.randint(1, 9)):
            shown = [name for name, chance in chances.items() if draw.random() < chance]
            made.append(record(f"{p}_{i}", *shown, patient=f"p{p}"))
    return made


@pytest.mark.parametrize("rule", [patient, paper])
def test_each_part_has_its_share_of_each_finding(rule: object) -> None:
    assert callable(rule)
    records = cohort(1)
    totals = Counter(name for r in records for name in r.strata)
    assert 20 < totals["D"] < 80
    split = rule(records, seed=5)
    assert sorted(split.train + split.val + split.test) == list(range(len(records)))
    for members in (split.val, split.test):
        counts = Counter(name for i in members for name in records[i].strata)
        for name, total in totals.items():
            assert counts[name] / total == pytest.approx(0.1, abs=0.02 + 3 / total)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
def test_patients_stay_together_whatever_the_order(seed: int, order: random.Random) -> None:
    records = cohort(seed, patients=40)
    shuffled = records[:]
    order.shuffle(shuffled)
    split, other = patient(records, seed=seed), patient(shuffled, seed=seed)
    for part, members in split.by_part().items():
        names = {records[i].image_id for i in members}
        assert names == {shuffled[i].image_id for i in other.by_part()[part]}
    sides = [{records[i].patient for i in members} for members in split.by_part().values()]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_another_seed_is_another_split() -> None:
    records = cohort(1)
    assert patient(records, seed=1).test != patient(records, seed=2).test


def test_a_finding_of_three_patients_stands_in_every_part() -> None:
    rare = [record(f"x{k}", "A", "X", patient=f"x{k}") for k in range(3)]
    split = patient([*cohort(2), *rare], seed=0)
    found = audit([*cohort(2), *rare], split)
    assert [found.counts[part]["X"] for part in ("train", "val", "test")] == [1, 1, 1]
    assert found.lacking == {}


def test_a_finding_of_one_patient_makes_no_split_impossible() -> None:
    records = [*cohort(3), *(record(f"x{k}", "X", patient="x") for k in range(4))]
    split = patient(records, seed=0)
    found = audit(records, split)
    [lacks] = set(found.lacking.values())
    assert lacks == ("X",)
    assert len(found.lacking) == 2
    assert "shows 1 of the findings: X." in found.sentence()


def test_each_image_is_counted_once_and_each_finding_too() -> None:
    records = [record("a", "A", "B"), record("b"), record("c", "A"), record("d", "B", "A")]
    found = audit(records, Split((0, 1), (2,), (3,)))
    assert found.images == {"train": 2, "val": 1, "test": 1}
    assert found.counts == {
        "train": {"A": 1, "B": 1, "none": 1},
        "val": {"A": 1},
        "test": {"A": 1, "B": 1},
    }
    assert "the 1 test images come from" in found.sentence()
    assert cooccurrence(records, ("A", "B")) == ((3, 2), (2, 2))


def test_own_parts_may_lack_a_finding_and_no_images() -> None:
    records = [
        record("a", "A", part="train"),
        record("b", "B", part="val"),
        record("c", part="test"),
    ]
    assert parts(records, seed=0) == Split((0,), (1,), (2,))
    with pytest.raises(BcadvError, match="the train part has no image"):
        parts([records[0], records[2]], seed=0)


def test_findings_of_one_patient_each_are_shared_out_as_images() -> None:
    records = [record(f"{i}", f"F{i}", patient=f"{i}") for i in range(100)]
    split = patient(records, seed=0)
    assert [len(members) for members in split.by_part().values()] == [80, 10, 10]
    assert split.test != patient(records, seed=1).test


def test_images_are_not_counted_out_finding_by_finding() -> None:
    records = cohort(1)
    split = patient(records, seed=0)
    with pytest.raises(BcadvError, match=r"data.per_class counts images of one class each"):
        limit(records, split, {"train": {"A": 3}}, seed=0)


def test_what_nobody_knows_is_part_of_the_content() -> None:
    one, other = record("a", "A"), record("a", "A", unknown=("B",))
    assert content([one], {"a": "x"}) != content([other], {"a": "x"})
