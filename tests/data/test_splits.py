"""Splits, held to their properties."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcadv.data.records import Record, parse_name
from bcadv.data.splits import (
    Split,
    limit,
    official,
    paper,
    paper_counts,
    parts,
    patient,
    patient_cv,
    read_fold,
)
from bcadv.errors import BcadvError


def record(name: str, label: str, group: str | None = None, part: str | None = None) -> Record:
    return Record(Path(f"{name}.png"), name, label, patient=group, part=part)


def cohort(**groups: list[int]) -> list[Record]:
    """For each class the sizes of its patients."""
    return [
        record(f"{label}{g}_{i}", label, f"{label}{g}")
        for label, sizes in groups.items()
        for g, size in enumerate(sizes)
        for i in range(size)
    ]


def breakhis(names: list[str]) -> list[Record]:
    made = []
    for text in sorted(names):
        name = parse_name(text)
        label = "malignant" if name.malignant else "benign"
        made.append(
            Record(
                Path(text),
                name.image_id,
                label,
                patient=name.patient,
                slide=name.slide,
                subtype=name.subtype,
                magnification=name.magnification,
            )
        )
    return made


@pytest.fixture(scope="module")
def paper_records(shared_data: Path) -> list[Record]:
    """The paper's complete selection, without files."""
    names = [f"{name}.png" for name in read_fold(shared_data / "breakhis_folds", 1)]
    return [
        r
        for r in breakhis(names)
        if r.magnification == 100 and (r.label == "benign" or r.subtype == "DC")
    ]


def holds(records: list[Record], split: Split) -> None:
    """What every split of all records satisfies."""
    members = [i for part in split.by_part().values() for i in part]
    assert sorted(members) == list(range(len(records)))
    labels = {r.label for r in records}
    for part in split.by_part().values():
        assert {records[i].label for i in part} == labels


def names_of(records: list[Record], split: Split) -> dict[str, set[str]]:
    return {p: {records[i].image_id for i in rows} for p, rows in split.by_part().items()}


def patients_of(records: list[Record], members: tuple[int, ...]) -> set[str]:
    return {records[i].patient or records[i].image_id for i in members}


def test_the_rule_gives_the_papers_numbers() -> None:
    assert paper_counts(644) == (515, 64, 65)
    assert paper_counts(903) == (722, 90, 91)


@given(n=st.integers(3, 5000))
def test_the_rule_gives_about_80_10_10(n: int) -> None:
    train, val, test = paper_counts(n)
    assert train + val + test == n
    assert min(train, val, test) >= 1
    if n >= 10:
        assert abs(train - 0.8 * n) < 1
        assert abs(val - 0.1 * n) < 1
        assert abs(test - 0.1 * n) < 2


@given(a=st.integers(3, 60), b=st.integers(3, 60), seed=st.integers(0, 99))
def test_paper_splits_each_class_by_the_rule_whatever_the_order(a: int, b: int, seed: int) -> None:
    records = [record(f"a{i}", "a") for i in range(a)] + [record(f"b{i}", "b") for i in range(b)]
    split = paper(records, seed=seed)
    holds(records, split)
    for label, n in (("a", a), ("b", b)):
        counts = tuple(sum(records[i].label == label for i in p) for p in split.by_part().values())
        assert counts == paper_counts(n)
    shuffled = random.Random(seed).sample(records, len(records))
    assert names_of(shuffled, paper(shuffled, seed=seed)) == names_of(records, split)


def test_paper_depends_on_the_seed_and_needs_three_images() -> None:
    records = cohort(a=[30], b=[30])
    assert len({paper(records, seed=seed) for seed in range(5)}) == 5
    with pytest.raises(BcadvError, match="class 'b' has 2"):
        paper(cohort(a=[9], b=[2]), seed=0)


@settings(max_examples=40)
@given(
    a=st.lists(st.integers(1, 9), min_size=3, max_size=12),
    b=st.lists(st.integers(1, 9), min_size=3, max_size=12),
    alone=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_no_patient_stands_in_two_parts(a: list[int], b: list[int], alone: int, seed: int) -> None:
    records = cohort(a=a, b=b) + [record(f"alone{i}", "a") for i in range(alone)]
    split = patient(records, seed=seed)
    holds(records, split)
    train, val, test = (patients_of(records, p) for p in split.by_part().values())
    assert not train & val
    assert not train & test
    assert not val & test
    shuffled = random.Random(seed).sample(records, len(records))
    assert names_of(shuffled, patient(shuffled, seed=seed)) == names_of(records, split)


@settings(max_examples=20)
@given(seed=st.integers(0, 999), share=st.sampled_from([0.1, 0.15, 0.2]))
def test_many_small_patients_come_out_as_asked(seed: int, share: float) -> None:
    records = cohort(a=[1, 2, 3, 4] * 10, b=[2, 3] * 20)
    split = patient(records, seed=seed, fractions=(1 - 2 * share, share, share))
    for label in "ab":
        n = sum(r.label == label for r in records)
        for part in (split.val, split.test):
            assert abs(sum(records[i].label == label for i in part) / n - share) <= 0.03


def test_images_without_a_patient_stand_alone() -> None:
    records = [record(f"{label}{i}", label) for label in "ab" for i in range(40)]
    split = patient(records, seed=0)
    holds(records, split)
    assert [len(part) for part in split.by_part().values()] == [64, 8, 8]


def test_a_patient_in_two_classes_stays_whole() -> None:
    records = cohort(a=[4] * 6, b=[4] * 6)
    records += [record(f"both{c}{i}", c, "both") for c in "ab" for i in range(3)]
    for seed in range(5):
        split = patient(records, seed=seed)
        holds(records, split)
        homes = [p for p in split.by_part().values() if "both" in patients_of(records, p)]
        assert len(homes) == 1


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (0.9, 0.1, 0.0), (1.1, 0.1, -0.2)])
def test_fractions_out_of_range_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(BcadvError, match="fractions="):
        patient(cohort(a=[1] * 9, b=[1] * 9), seed=0, fractions=fractions)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(BcadvError, match="class 'b' has 2 patient"):
        patient(cohort(a=[5] * 9, b=[9, 9]), seed=0)
    # Each class has three patients, yet no assignment gives every part all three classes.
    tied = [
        record(f"{c}{g}", c, g) for c, gs in (("a", "pqr"), ("b", "pqs"), ("c", "prs")) for g in gs
    ]
    with pytest.raises(BcadvError, match="put every class into each of 3 parts"):
        patient(tied, seed=0)


@pytest.mark.shared_data
def test_the_papers_selection_splits_by_patient(paper_records: list[Record]) -> None:
    splits = [patient(paper_records, seed=seed) for seed in range(4)]
    assert len(set(splits)) == 4
    for split in splits:
        holds(paper_records, split)
        assert not patients_of(paper_records, split.train) & patients_of(paper_records, split.test)
        for label, n in (("benign", 644), ("malignant", 903)):
            for part, share in zip(split.by_part().values(), (0.8, 0.1, 0.1), strict=True):
                have = sum(paper_records[i].label == label for i in part)
                assert abs(have / n - share) < 0.03


@pytest.mark.shared_data
@pytest.mark.parametrize("subtypes", ["paper", "all"])
def test_the_real_subset_splits_by_patient(shared_data: Path, subtypes: str) -> None:
    names = [p.name for p in (shared_data / "breakhis_100x_half").rglob("SOB_*.png")]
    records = [
        r for r in breakhis(names) if subtypes == "all" or r.label == "benign" or r.subtype == "DC"
    ]
    for seed in range(3):
        split = patient(records, seed=seed)
        holds(records, split)
        assert not patients_of(records, split.train) & patients_of(records, split.test)


@pytest.mark.shared_data
@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_official_follows_the_list(
    paper_records: list[Record], shared_data: Path, fold: int
) -> None:
    folder = shared_data / "breakhis_folds"
    split = official(paper_records, folder, fold=fold, seed=0)
    holds(paper_records, split)
    rows = (folder / f"dsfold{fold}.txt").read_text().splitlines()
    tested = {name.removesuffix(".png") for name, *_, part in (r.split("|") for r in rows)
              if part == "test"}  # fmt: skip
    for part, members in split.by_part().items():
        for i in members:
            assert (paper_records[i].image_id in tested) == (part == "test")
    assert not patients_of(paper_records, split.train) & patients_of(paper_records, split.val)
    assert 0.05 < len(split.val) / len(split.train + split.val) < 0.15


@pytest.mark.shared_data
def test_official_refuses_what_the_list_does_not_name(
    paper_records: list[Record], shared_data: Path
) -> None:
    strangers = breakhis(["SOB_B_A-14-22549AB-100-998.png", "SOB_B_A-14-22549AB-100-999.png"])
    with pytest.raises(BcadvError, match=r"2 of 1549 .* SOB_B_A-14-22549AB-100-998"):
        official([*paper_records, *strangers], shared_data / "breakhis_folds", fold=1, seed=0)


def test_a_wrong_fold_or_list_is_refused(tmp_path: Path) -> None:
    for fold in (0, 6):
        with pytest.raises(BcadvError, match=f"data.fold={fold}"):
            read_fold(tmp_path, fold)
    with pytest.raises(BcadvError, match=r"data\.folds_dir"):
        read_fold(tmp_path, 1)
    good = "SOB_B_A-14-22549AB-100-001.png|100|1|train"
    malformed = ("nonsense", good.replace("train", "val"), good.replace("|1|", "|2|"))
    for bad, problem in (*((row, "is not name") for row in malformed), (good, "twice")):
        (tmp_path / "dsfold1.txt").write_text(f"{good}\n{bad}\n")
        with pytest.raises(BcadvError, match=f"line 2: .*{problem}"):
            read_fold(tmp_path, 1)


def with_parts(*names: str) -> list[Record]:
    return [
        record(f"{part}/{label}/{g}/{i}", label, f"{part}{label}{g}", part)
        for part in names
        for label in "ab"
        for g in range(6)
        for i in range(3)
    ]


def test_parts_keeps_the_sources_own_parts() -> None:
    records = with_parts("train", "val", "test")
    split = parts(records, seed=0)
    holds(records, split)
    for part, members in split.by_part().items():
        assert {records[i].part for i in members} == {part}


def test_parts_carves_validation_out_of_training_by_patient() -> None:
    records = with_parts("train", "test")
    split = parts(records, seed=0, val_fraction=0.2)
    holds(records, split)
    assert {records[i].part for i in split.test} == {"test"}
    assert not patients_of(records, split.train) & patients_of(records, split.val)
    assert len(split.val) == 6


def test_parts_needs_parts() -> None:
    for records, piece in (
        (cohort(a=[3, 3, 3], b=[3, 3, 3]), "18 images stand in no part"),
        (with_parts("train"), "no test part"),
        (with_parts("test"), "no train part"),
    ):
        with pytest.raises(BcadvError, match=piece):
            parts(records, seed=0)
    with pytest.raises(BcadvError, match="val_fraction"):
        parts(with_parts("train", "test"), seed=0, val_fraction=1.0)


def test_a_part_without_a_class_is_refused() -> None:
    records = [r for r in with_parts("train", "val", "test") if (r.part, r.label) != ("val", "b")]
    with pytest.raises(BcadvError, match=r"the val part .* no image of class 'b'"):
        parts(records, seed=0)


@settings(max_examples=25)
@given(data=st.data(), seed=st.integers(0, 99))
def test_limit_cuts_to_exact_numbers_and_breaks_at_most_one_patient(
    data: st.DataObject, seed: int
) -> None:
    records = cohort(a=[4] * 12, b=[4] * 12)
    split = patient(records, seed=seed)
    n = data.draw(st.integers(1, sum(records[i].label == "a" for i in split.train)))
    cut = limit(records, split, {"train": {"a": n}}, seed=seed)
    assert (cut.val, cut.test) == (split.val, split.test)
    assert set(cut.train) <= set(split.train)
    kept = Counter(records[i].patient for i in cut.train if records[i].label == "a")
    assert kept.total() == n
    assert sum(size != 4 for size in kept.values()) <= 1
    assert sum(records[i].label == "b" for i in cut.train) == sum(
        records[i].label == "b" for i in split.train
    )


@pytest.mark.parametrize(
    ("per_class", "piece"),
    [
        ({"training": {"a": 1}}, "'training'"),
        ({"train": {"c": 1}}, "'c'"),
        ({"test": {"a": 99}}, "asks for 99"),
        ({"test": {"a": 0}}, "asks for 0"),
    ],
)
def test_limit_refuses_what_it_cannot_give(
    per_class: dict[str, dict[str, int]], piece: str
) -> None:
    records = cohort(a=[3] * 9, b=[3] * 9)
    with pytest.raises(BcadvError, match=piece):
        limit(records, patient(records, seed=0), per_class, seed=0)


@given(
    a=st.lists(st.integers(1, 40), min_size=5, max_size=14),
    b=st.lists(st.integers(1, 9), min_size=5, max_size=14),
    folds=st.integers(3, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_folds_test_every_image_once_by_a_model_that_never_saw_its_patient(
    a: list[int], b: list[int], folds: int, seed: int
) -> None:
    records = cohort(a=a, b=b)
    tested: list[int] = []
    for fold in range(1, folds + 1):
        split = patient_cv(records, folds=folds, fold=fold, seed=seed)
        holds(records, split)
        sides = [patients_of(records, part) for part in split.by_part().values()]
        assert sum(map(len, sides)) == len(set.union(*sides))
        tested += split.test
    assert sorted(tested) == list(range(len(records)))


def test_folds_do_not_depend_on_the_order_of_the_records() -> None:
    records = cohort(a=[3] * 9, b=[4] * 7)
    for fold in (1, 2, 3):
        there = names_of(records, patient_cv(records, folds=3, fold=fold, seed=5))
        back = records[::-1]
        assert there == names_of(back, patient_cv(back, folds=3, fold=fold, seed=5))


def test_folds_are_about_as_large_as_each_other() -> None:
    records = cohort(a=[5] * 40, b=[3, 4, 5, 6] * 12)
    for fold in range(1, 6):
        test = patient_cv(records, folds=5, fold=fold, seed=1).test
        for label, n in (("a", 200), ("b", 216)):
            share = sum(records[i].label == label for i in test) / n
            assert abs(share - 0.2) < 0.06


def test_more_folds_than_patients_are_refused() -> None:
    records = cohort(a=[5] * 9, b=[9, 9, 9])
    with pytest.raises(BcadvError, match=r"class 'b' has 3 patient.*4 folds.*fewer data\.folds"):
        patient_cv(records, folds=4, fold=1, seed=0)
    for fold, folds in ((0, 3), (4, 3), (1, 2)):
        with pytest.raises(BcadvError, match=f"data.fold={fold} of data.folds={folds} does not"):
            patient_cv(records, folds=folds, fold=fold, seed=0)


def test_seeds_make_other_folds_of_few_unequal_patients() -> None:
    records = cohort(a=[3, 17, 5, 9, 2, 11, 4], b=[8, 2, 21, 6, 7])
    made = {
        tuple(patient_cv(records, folds=5, fold=f, seed=seed).test for f in range(1, 6))
        for seed in range(6)
    }
    assert len(made) > 3
