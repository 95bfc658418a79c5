"""Finding and selecting BreakHis images."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from bcadv.data.records import SUBTYPES, parse_name
from bcadv.data.sources.breakhis import OFFICIAL_COUNTS, find
from bcadv.data.splits import official, paper
from bcadv.errors import BcadvError

ONE_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8ffff3f0005fe02fe0def46b80000000049454e44ae426082"
)

FEW = (
    "SOB_B_A-14-22549AB-100-001.png",
    "SOB_B_F-14-21998AB-100-001.png",
    "SOB_M_DC-14-2523-100-001.png",
    "SOB_M_DC-14-2523-40-001.png",
    "SOB_M_LC-14-15570-100-001.png",
)


def official_names(shared_data: Path) -> list[str]:
    rows = (shared_data / "breakhis_folds" / "dsfold1.txt").read_text().splitlines()
    return [row.split("|")[0] for row in rows]


def write(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(ONE_PIXEL)
    return folder


@pytest.mark.shared_data
def test_the_table_of_counts_is_that_of_the_official_lists(shared_data: Path) -> None:
    names = [parse_name(name) for name in official_names(shared_data)]
    counted = Counter((name.magnification, name.subtype) for name in names)
    table = {(m, s): n for m, row in OFFICIAL_COUNTS.items() for s, n in row.items()}
    assert counted == table


@pytest.mark.shared_data
def test_the_complete_data_set_gives_the_papers_counts(shared_data: Path, tmp_path: Path) -> None:
    write(tmp_path, *(n for n in official_names(shared_data) if "-100-" in n))
    chosen = find(tmp_path)
    assert chosen.found == chosen.expected == {"benign": 644, "malignant": 903}
    assert chosen.notes == ()
    split = paper(chosen.records, seed=0)
    counts = {
        part: Counter(chosen.records[i].label for i in members)
        for part, members in split.by_part().items()
    }
    assert counts["train"] == {"benign": 515, "malignant": 722}
    assert counts["val"] == {"benign": 64, "malignant": 90}
    assert counts["test"] == {"benign": 65, "malignant": 91}
    by_list = official(chosen.records, shared_data / "breakhis_folds", fold=2, seed=0)
    assert sum(map(len, by_list.by_part().values())) == 1547

    everything = find(tmp_path, subtypes="all", target="subtype")
    assert everything.classes == SUBTYPES
    assert everything.positive == (4, 5, 6, 7)
    assert dict(everything.found) == OFFICIAL_COUNTS[100]


@pytest.mark.shared_data
def test_the_official_tree_is_read_and_its_gaps_are_told(shared_data: Path) -> None:
    chosen = find(shared_data / "breakhis_100x_half")
    assert chosen.found == {"benign": 210, "malignant": 46}
    assert chosen.expected == {"benign": 644, "malignant": 903}
    (note,) = chosen.notes
    assert "benign 210 of 644" in note
    assert "malignant 46 of 903" in note
    assert "A 100X 65 of 113" in note
    assert chosen.classes == ("benign", "malignant")
    assert chosen.positive == (1,)
    names = [r.image_id for r in chosen.records]
    assert names == sorted(names)
    for record in chosen.records:
        folder = record.path.parents[1].name
        assert folder.endswith(str(record.slide))
        assert (record.label == "malignant") == ("malignant" in record.path.parts)


@pytest.mark.shared_data
def test_a_tree_and_a_flat_folder_give_the_same(shared_data: Path, tmp_path: Path) -> None:
    tree = find(shared_data / "breakhis_100x_original", subtypes="all", target="subtype")
    for record in tree.records:
        (tmp_path / record.path.name).symlink_to(record.path)
    flat = find(tmp_path, subtypes="all", target="subtype")
    assert [r.image_id for r in flat.records] == [r.image_id for r in tree.records]
    assert flat.classes == tree.classes


@pytest.mark.shared_data
def test_one_name_twice_is_refused_naming_both(shared_data: Path) -> None:
    with pytest.raises(BcadvError, match="twice") as caught:
        find(shared_data)
    assert "breakhis_100x_half" in str(caught.value)
    assert "breakhis_100x_original" in str(caught.value)


def test_the_selection_follows_magnification_and_subtypes(tmp_path: Path) -> None:
    write(tmp_path, *FEW, "._SOB_B_A-14-22549AB-100-001.png", "other.png")
    assert len(find(tmp_path).records) == 3
    assert len(find(tmp_path, magnification=None).records) == 4
    assert len(find(tmp_path, subtypes="all").records) == 4
    listed = find(tmp_path, subtypes=["LC", "A"], target="subtype")
    assert listed.classes == ("A", "LC")
    assert listed.positive == (1,)
    assert {r.subtype for r in listed.records} == {"A", "LC"}
    assert listed.expected == {"A": 113, "LC": 170}


def test_more_images_than_the_official_count_are_told(tmp_path: Path) -> None:
    surplus = [f"SOB_B_A-14-22549AB-100-{i:03d}.png" for i in range(114)]
    write(tmp_path, *surplus, "SOB_M_DC-14-2523-100-001.png")
    fewer, more = find(tmp_path).notes
    assert "NOT the complete" in fewer
    assert "MORE" in more
    assert "A 100X 114 of 113" in more


@pytest.mark.parametrize(
    ("arguments", "piece"),
    [
        ({"magnification": 50}, "data.magnification=50"),
        ({"subtypes": "some"}, "data.subtypes=some"),
        ({"subtypes": ["DC", "XX"]}, "'XX'"),
        ({"subtypes": []}, "empty"),
        ({"target": "colour"}, "data.target=colour"),
        ({"subtypes": ["DC"]}, "only the class 'malignant'"),
        ({"magnification": 400}, "2 of DC|1 of DC at 40X"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, arguments: dict[str, object], piece: str) -> None:
    write(tmp_path, *FEW)
    with pytest.raises(BcadvError, match=piece):
        find(tmp_path, **arguments)  # type: ignore[arg-type]


def test_a_name_that_is_none_is_refused_with_its_place(tmp_path: Path) -> None:
    write(tmp_path / "here", *FEW, "SOB_M_DC-14-2523-100.png")
    with pytest.raises(BcadvError, match=r"SOB_M_DC-14-2523-100\.png.*here"):
        find(tmp_path)


@pytest.mark.parametrize("exists", [False, True])
def test_no_images_say_at_once_where_to_get_them(tmp_path: Path, exists: bool) -> None:
    from bcadv.data.sources.download import missing_data_message

    root = tmp_path / "nowhere"
    if exists:
        write(root, "other.png")
    start = time.perf_counter()
    with pytest.raises(BcadvError) as caught:
        find(root)
    assert time.perf_counter() - start < 1
    assert str(caught.value) == missing_data_message(root)


def test_a_moved_tree_keeps_its_ids(tmp_path: Path) -> None:
    write(tmp_path / "one", *FEW)
    before = find(tmp_path / "one")
    shutil.move(tmp_path / "one", tmp_path / "two")
    after = find(tmp_path / "two")
    assert [r.image_id for r in before.records] == [r.image_id for r in after.records]
