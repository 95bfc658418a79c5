"""``bcadv data``: what a job would take its images for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bcadv.cli.data import COMMAND, run
from bcadv.cli.main import main
from bcadv.data.audit import audit
from bcadv.data.parts import split
from bcadv.data.sources.folder import FolderData


@pytest.fixture
def xray(tmp_path: Path) -> Path:
    """A folder per part and class; nothing decodes these files, and two of them are alike."""
    for part, patients in (("train", range(10)), ("test", range(8, 12))):
        for label in ("NORMAL", "[red]PNEUMONIA"):
            folder = tmp_path / part / label
            folder.mkdir(parents=True)
            for patient in patients:
                (folder / f"p{patient}_1.png").write_bytes(f"{part}{label}{patient}".encode())
    (tmp_path / "test" / "NORMAL" / "p11_1.png").write_bytes(b"trainNORMAL0")
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    assert main(["data", *line]) == 0
    return capsys.readouterr().out


def test_it_shows_classes_patients_and_parts(
    xray: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = shown(capsys, "data=folder", f"data.root={xray}", r'data.group_regex="^(p\d+)_"')
    assert f"(data=folder), in {xray}: 28 images." in said
    assert "\n  NORMAL: 14 images\n" in said
    assert "\n  [red]PNEUMONIA: 14 images, counts as the disease, only because its name" in said
    assert "Patients: 12.\n" in said
    assert "for instance test/NORMAL/p10_1: class NORMAL, patient p10, part test\n" in said
    assert "\n   test: 8 images (4 NORMAL, 4 [red]PNEUMONIA), of 4 patients\n" in said
    config = FolderData(root=xray, split="parts", group_regex=r"^(p\d+)_")
    records = config.find().records
    assert audit(records, split(config, records, seed=0)).sentence() in said
    assert "byte-identical" not in said


def test_files_that_are_alike_are_found_on_demand(
    xray: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["data=folder", f"data.root={xray}", "duplicates=true"]
    assert "2 images have a byte-identical copy in another part" in shown(capsys, *line)
    (xray / "test" / "NORMAL" / "p11_1.png").write_bytes(b"other")
    assert "No two parts have byte-identical files." in shown(capsys, *line)


def test_it_takes_the_options_of_a_job(xray: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["experiment=defense", "sigma=0.2", "data=folder", f"data.root={xray}"]
    said = shown(capsys, *line, "data.split=paper", "seed=3", "data.positive=[NORMAL]")
    assert "Split: data.split=paper, seed=3." in said
    assert "  NORMAL: 14 images, counts as the disease, as data.positive says\n" in said
    assert "Patients: unknown; data.group_regex=" in said
    assert "in no part" not in said


def test_what_is_not_known_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in "abc":
        (tmp_path / label).mkdir()
        for number in range(12):
            name = f"p{number}_1.png" if number else f"{label}.png"
            (tmp_path / label / name).write_bytes(f"{label}{number}".encode())
    said = shown(
        capsys,
        *("data=folder", f"data.root={tmp_path}", "data.split=paper"),
        *(r'data.group_regex="^(p\d+)_"', "+data.per_class={train:{a:1}}"),
    )
    assert "\n  None of them counts as the disease.\n" in said
    assert "\nPatients: 11; unknown for 3 images.\n" in said
    assert "\n  in no part: 8 images\n" in said


def test_painted_tissue_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(
        capsys,
        f"paths.outputs={tmp_path}",
        *("data.patients=8", "data.images_per_patient=1", "data.height=32", "data.width=32"),
    )
    assert said.startswith("SYNTHETIC: ")
    assert " images, counts as the disease, as this source is known" in said


def test_download_fetches_breakhis_from_where_it_is_said_to_lie(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    monkeypatch.setattr(
        "bcadv.data.sources.download.make_available",
        lambda root, **places: asked.append((root, places)),
    )
    options, others = COMMAND.parse([f"download={tmp_path}", "url=http://here/x", "archive=y"])
    assert run(options, others) == 0
    [(root, places)] = asked
    assert root == tmp_path
    assert (places["url"], places["archive"]) == ("http://here/x", Path("y"))
    assert places["folds_url"].startswith("http")
