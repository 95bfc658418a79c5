"""The tables that the field has, as they are published, with empty files in place of pixels."""

from __future__ import annotations

import ast
import gzip
import os
import time
import zipfile
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from bcadv.config import DataConfig
from bcadv.data.audit import audit
from bcadv.data.findings import cooccurrence
from bcadv.data.parts import split
from bcadv.data.records import Selection
from bcadv.errors import BcadvError
from tests.jobs import compose_config


def wheel(name: str) -> Path:
    """A table that torchxrayvision ships; importing it would take seconds."""
    spec = find_spec("torchxrayvision")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / name


NIH = "Data_Entry_2017_v2020.csv"
PADCHEST = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
CHEXPERT = "CheXpert-v1.0-small/train.csv"
SHIPPED = {
    NIH: wheel("Data_Entry_2017_v2020.csv.gz"),
    PADCHEST: wheel(f"{PADCHEST}.gz"),
    CHEXPERT: wheel("chexpert_train.csv.gz"),
    "train.csv": wheel("vinbigdata-train.csv.gz"),
    "stage_2_train_labels.csv": wheel("kaggle_stage_2_train_labels.csv.zip"),
}


def shipped(root: Path, name: str, rows: int | None) -> pd.DataFrame:
    """Writes the first rows of a real table to where its preset looks for it; and reads them."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    place = SHIPPED[name]
    if place.suffix == ".gz":
        whole = gzip.decompress(place.read_bytes()) if rows is None else _first(place, rows)
    else:
        with zipfile.ZipFile(place) as archive:
            whole = archive.read(archive.namelist()[0])
        if rows is not None:
            whole = b"".join(whole.splitlines(keepends=True)[: rows + 1])
    path.write_bytes(whole)
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _first(place: Path, rows: int) -> bytes:
    with gzip.open(place, "rb") as file:
        return b"".join(line for line, _ in zip(file, range(rows + 1), strict=False))


def touch(root: Path, names: Iterable[str]) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def settings(root: Path, *options: str) -> DataConfig:
    return compose_config(*options, f"data.root={root}").data


def per_finding(chosen: Selection, members: Iterable[int] | None = None) -> Counter[str]:
    rows = chosen.records if members is None else [chosen.records[i] for i in members]
    return Counter(name for record in rows for name in record.findings or ())


def held_to_pandas(
    config: DataConfig, shows: dict[str, set[str]], patients: dict[str, str] | None
) -> Selection:
    """Findings of each image, and those of each part of a split, against another computation."""
    chosen = config.find()
    assert {record.image_id: set(record.findings or ()) for record in chosen.records} == shows
    assert chosen.found == Counter(name for names in shows.values() for name in names)
    parts = split(config, chosen.records, seed=3)
    found = audit(chosen.records, parts)
    people = []
    for part, members in parts.by_part().items():
        ids = [chosen.records[i].image_id for i in members]
        expected = Counter(name for i in ids for name in shows[i])
        assert {n: c for n, c in found.counts[part].items() if n != "none"} == expected
        assert found.counts[part].get("none", 0) == sum(not shows[i] for i in ids)
        assert found.images[part] == len(ids)
        people.append({patients[i] for i in ids} if patients else set(ids))
    assert not people[0] & people[1]
    assert not people[2] & (people[0] | people[1])
    assert sum(map(len, parts.by_part().values())) == len(shows)
    together = cooccurrence(chosen.records, chosen.classes)
    one, other = chosen.classes[0], chosen.classes[1]
    assert together[0][0] == chosen.found[one]
    assert together[0][1] == together[1][0] == sum({one, other} <= s for s in shows.values())
    return chosen


def nih(frame: pd.DataFrame) -> tuple[dict[str, set[str]], dict[str, str], list[str]]:
    """What a table of NIH says of each image, and where the image lies."""
    files = [
        f"images_{i // 500 + 1:03d}/images/{name}" for i, name in enumerate(frame["Image Index"])
    ]
    ids = [file.removesuffix(".png") for file in files]
    named = [set(text.split("|")) - {"No Finding"} for text in frame["Finding Labels"]]
    patients = dict(zip(ids, frame["Patient ID"], strict=True))
    return dict(zip(ids, named, strict=True)), patients, files


def test_nih(tmp_path: Path) -> None:
    frame = shipped(tmp_path, NIH, 800)
    shows, patients, files = nih(frame)
    touch(tmp_path, files)
    chosen = held_to_pandas(settings(tmp_path, "data=nih"), shows, patients)
    assert {record.patient for record in chosen.records} == set(frame["Patient ID"])
    one = settings(tmp_path, "data=nih", "data.labels=[Pneumonia]").find()
    assert one.classes == ("no Pneumonia", "Pneumonia")
    assert one.found["Pneumonia"] == frame["Finding Labels"].str.contains("Pneumonia").sum()
    assert one.positive == (1,)


def test_nih_by_its_official_lists(tmp_path: Path) -> None:
    frame = shipped(tmp_path, NIH, 600)
    touch(tmp_path, frame["Image Index"])
    people = frame["Patient ID"].astype(int)
    frame.loc[people < 100, "Image Index"].to_csv(tmp_path / "a.txt", index=False, header=False)
    frame.loc[people >= 100, "Image Index"].to_csv(tmp_path / "b.txt", index=False, header=False)
    lists = f"data.lists={{train: {tmp_path}/a.txt, test: {tmp_path}/b.txt}}"
    config = settings(tmp_path, "data=nih", "data.split=parts", lists)
    chosen = config.find()
    parts = split(config, chosen.records, seed=0)
    assert {chosen.records[i].image_id for i in parts.test} == {
        name.removesuffix(".png") for name in frame.loc[people >= 100, "Image Index"]
    }
    assert audit(chosen.records, parts).patient_overlap_with_val == 0


def test_part_of_nih_is_enough(tmp_path: Path) -> None:
    """All 112,120 rows, of which some hundred have a file."""
    frame = shipped(tmp_path, NIH, None)
    touch(tmp_path / "images", frame["Image Index"][:400])
    chosen = settings(tmp_path, "data=nih", "data.missing=skip").find()
    assert len(chosen.records) == 400
    note = "400 of 112120 rows of Data_Entry_2017_v2020.csv are used; left out: 111720 rows whose"
    assert any(said.startswith(note) for said in chosen.notes)


@pytest.mark.long
def test_nih_whole(tmp_path: Path) -> None:
    frame = shipped(tmp_path, NIH, None)
    shows, patients, files = nih(frame)
    link(tmp_path, files)
    config = settings(tmp_path, "data=nih")
    began = time.process_time()
    chosen = config.find()
    parts = split(config, chosen.records, seed=0)
    audit(chosen.records, parts)
    assert time.process_time() - began < 10
    held_to_pandas(config, shows, patients)
    for members in (parts.val, parts.test):
        counts = per_finding(chosen, members)
        assert all(abs(counts[name] / n - 0.1) < 0.02 for name, n in chosen.found.items())


def link(root: Path, files: Iterable[str]) -> None:
    """Files that are one, as far as a file system lets it have names."""
    one = root / "0.bin"
    for i, name in enumerate(files):
        if i % 50_000 == 0:
            one = root / f"{i}.bin"
            one.touch()
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(one, root / name)


def chexpert(frame: pd.DataFrame, *, one: tuple[str, ...]) -> dict[str, set[str]]:
    findings = frame.columns[6:]
    cells = {name: list(frame[name]) for name in findings}
    return {
        path.removesuffix(".jpg"): {
            name
            for name in findings
            if float(cells[name][i] or 0) == (1 if name not in one else -1)
            or float(cells[name][i] or 0) == 1
        }
        for i, path in enumerate(frame["Path"])
    }


def test_chexpert(tmp_path: Path) -> None:
    frame = shipped(tmp_path, CHEXPERT, 1000)
    touch(tmp_path, frame["Path"])
    with pytest.raises(BcadvError, match=r"cells that are -1: .*data.uncertain=ignore\|zero\|one"):
        settings(tmp_path, "data=chexpert").find()
    patients = {path.removesuffix(".jpg"): path.split("/")[2] for path in frame["Path"]}
    policy = "data.uncertain=" + str(
        {name: "one" if name == "Edema" else "zero" for name in frame.columns[6:]}
    ).replace("'", "")
    config = settings(tmp_path, "data=chexpert", policy)
    chosen = held_to_pandas(config, chexpert(frame, one=("Edema",)), patients)
    assert {record.patient for record in chosen.records} == set(patients.values())
    unsure = settings(tmp_path, "data=chexpert", "data.uncertain=ignore").find()
    unknown = Counter(name for record in unsure.records for name in record.unknown)
    assert unknown == {
        name: n for name in frame.columns[6:] if (n := int((frame[name] == "-1.0").sum()))
    }


def test_chexpert_from_within_its_folder(tmp_path: Path) -> None:
    frame = shipped(tmp_path, CHEXPERT, 10)
    touch(tmp_path, frame["Path"])
    root = tmp_path / "CheXpert-v1.0-small"
    table = f"data.table={root}/train.csv"
    with pytest.raises(BcadvError, match=f"with data.root={tmp_path} it would be there"):
        settings(root, "data=chexpert", "data.uncertain=zero", table).find()


def test_padchest(tmp_path: Path) -> None:
    frame = shipped(tmp_path, PADCHEST, 1000)
    touch(tmp_path / "7", frame["ImageID"])
    shows, patients = {}, {}
    useless = {"exclude", "suboptimal study", "unchanged"}
    for image, text, patient in zip(
        frame["ImageID"], frame["Labels"], frame["PatientID"], strict=True
    ):
        names = (
            {n.strip() for n in ast.literal_eval(text)} - {""} if text.startswith("[") else set()
        )
        if names and not names & useless:
            shows["7/" + image.removesuffix(".png")] = names - {"normal"}
            patients["7/" + image.removesuffix(".png")] = patient
    assert 500 < len(shows) < 1000
    held_to_pandas(settings(tmp_path, "data=padchest"), shows, patients)


def test_vindr_cxr(tmp_path: Path) -> None:
    frame = shipped(tmp_path, "train.csv", None)
    images = sorted(set(frame["image_id"]))[:300]
    frame = frame[frame["image_id"].isin(images)]
    frame.to_csv(tmp_path / "train.csv", index=False)
    touch(tmp_path / "train", (f"{image}.dicom" for image in images))
    votes = frame.groupby(["image_id", "class_name"])["rad_id"].nunique()
    shows = {
        f"train/{image}": {n for n, v in votes[image].items() if v >= 2} - {"No finding"}
        for image in images
    }
    held_to_pandas(settings(tmp_path, "data=vindr_cxr"), shows, None)
    every = settings(tmp_path, "data=vindr_cxr", "data.agree=any", "data.rater=null").find()
    seen = frame[frame["class_name"] != "No finding"].groupby("class_name")["image_id"].nunique()
    assert every.found == seen.to_dict()


def test_rsna(tmp_path: Path) -> None:
    frame = shipped(tmp_path, "stage_2_train_labels.csv", 1200)
    touch(tmp_path, (f"{name}.dcm" for name in set(frame["patientId"])))
    chosen = settings(tmp_path, "data=rsna").find()
    ill = frame.groupby("patientId")["Target"].max()
    assert {r.image_id: r.label for r in chosen.records} == {
        image: "pneumonia" if target == "1" else "no pneumonia" for image, target in ill.items()
    }
    assert len(frame) > len(ill)
    assert {record.patient for record in chosen.records} == {None}
    assert chosen.classes[chosen.positive[0]] == "pneumonia"


def test_isic(tmp_path: Path) -> None:
    kinds = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
    rows = [(f"ISIC_{i:07d}", kinds[i % 8], f"BCN_{i // 2}" if i < 30 else "") for i in range(40)]
    truth = pd.DataFrame({"image": [row[0] for row in rows]})
    for kind in kinds:
        truth[kind] = [float(row[1] == kind) for row in rows]
    truth.to_csv(tmp_path / "ISIC_2019_Training_GroundTruth.csv", index=False)
    more = pd.DataFrame(rows, columns=["image", "kind", "lesion_id"]).drop(columns="kind")
    more.to_csv(tmp_path / "ISIC_2019_Training_Metadata.csv", index=False)
    touch(tmp_path / "ISIC_2019_Training_Input", (f"{row[0]}.jpg" for row in rows))
    chosen = settings(tmp_path, "data=isic").find()
    assert [(r.path.stem, r.label, r.patient or "") for r in chosen.records] == rows
    assert [chosen.classes[i] for i in chosen.positive] == ["BCC", "MEL", "SCC"]
    assert "UNK" not in chosen.classes


def test_messidor(tmp_path: Path) -> None:
    grades = ["0.0", "1.0", "2.0", "3.0", "4.0", ""]
    lines = [f"IM{i}.jpg,{grade},0,{int(bool(grade))}" for i, grade in enumerate(grades)]
    header = "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable"
    (tmp_path / "messidor_data.csv").write_text("\n".join([header, *lines]))
    touch(tmp_path, (f"IMAGES/IM{i}.JPG" for i in range(6)))
    chosen = settings(tmp_path, "data=messidor").find()
    assert {r.path.name: r.label for r in chosen.records} == {
        f"IM{i}.JPG": f"{i}" for i in range(5)
    }
    assert chosen.positive == (2, 3, 4)


def test_oct2017(tmp_path: Path) -> None:
    kinds = ("CNV", "DME", "DRUSEN", "NORMAL")
    touch(
        tmp_path,
        (
            f"{part}/{kind}/{kind}-{i}-1.jpeg"
            for kind in kinds
            for part in ("train", "test")
            for i in (7, 8)
        ),
    )
    chosen = settings(tmp_path, "data=oct2017").find()
    assert chosen.classes == kinds
    assert chosen.positive == (0, 1, 2)
    assert {(r.patient, r.part) for r in chosen.records} == {
        (p, s) for p in ("7", "8") for s in ("train", "test")
    }
