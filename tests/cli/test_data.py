"""``bcadv data``: what a job would take its images for, and what two sets have in common."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bcadv.cli.data import COMMAND, run
from bcadv.cli.main import main
from bcadv.data.audit import audit
from bcadv.data.parts import split
from bcadv.data.sources.folder import FolderData

REGEX = r'data.group_regex="^(p\d+)_"'
SMALL = ("data.crop=32", "data.resize=32")


def image(path: Path, seed: str) -> None:
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (32, 32), np.uint8)
    pixels[0, :2] = 0, 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def xray(tmp_path: Path) -> Path:
    """A folder per part and class; two files are alike, and a name would be markup."""
    root = tmp_path / "xray"
    for part, patients in (("train", range(10)), ("test", range(8, 12))):
        for label in ("NORMAL", "[red]PNEUMONIA"):
            for patient in patients:
                image(root / part / label / f"p{patient}_1.png", f"{part}{label}{patient}")
    shutil.copy(root / "train/NORMAL/p0_1.png", root / "test/NORMAL/p11_1.png")
    return root


def shown(capsys: pytest.CaptureFixture[str], *line: str, status: int = 0) -> str:
    assert main(["data", *line]) == status
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    assert main(["data", *line]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    return said.err


def rows(said: str) -> list[list[str]]:
    """The lines of a table, as words."""
    return [line.split() for line in said.splitlines() if line.startswith(" ")]


def test_it_shows_classes_patients_and_parts(
    xray: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = shown(capsys, "check", str(xray), *SMALL, REGEX)
    assert f"(data=folder), in {xray}: 28 images.\nFolders: part/class.\n" in said
    assert rows(said) == [
        ["class", "images", "train", "val", "test"],
        ["NORMAL", "14", "9", "1", "4"],
        ["[red]PNEUMONIA", "(disease)", "14", "9", "1", "4"],
        ["all", "28", "18", "2", "8"],
        ["patients", "12", "9", "1", "4"],
    ]
    assert "\nDisease: [red]PNEUMONIA, only because its name comes last" in said
    assert "\nPatients: 12, named by data.group_regex; for instance p10 of test/NORMAL/" in said
    config = FolderData(root=xray, split="parts", group_regex=r"^(p\d+)_")
    records = config.find().records
    assert audit(records, split(config, records, seed=0)).sentence() in said
    assert "2 images are byte-identical to another one (1 set, 1 of them across parts)" in said
    assert "DOUBT: The test part has 4 patients" in said


def test_each_way_to_ask_gives_the_same(xray: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = shown(capsys, "data=folder", f"data.root={xray}", *SMALL)
    assert shown(capsys, "check", str(xray), *SMALL) == plain
    assert shown(capsys, str(xray), *SMALL) == plain
    assert shown(capsys, "check", "data=folder", f"data.root={xray}", *SMALL) == plain


@pytest.mark.parametrize(
    "name", ["a b", "a,b", "a=b", "a'b", "{a}", "ümlaut", "${x}", "[a]", "a:b"]
)
def test_a_folder_may_be_called_anything(
    name: str, xray: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = xray.rename(xray.parent / name)
    assert f"in {moved}: 28 images." in shown(capsys, "check", str(moved), *SMALL)
    other = shutil.copytree(moved, xray.parent / "other")
    assert "equal bytes: 28 of A, 28 of B." in shown(
        capsys, "overlap", str(moved), str(other), "near=false"
    )


def test_json_alone_is_on_the_terminal(xray: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = json.loads(shown(capsys, "check", str(xray), *SMALL, "json=-"))
    assert (said["images"], said["usable"], said["near"]) == (28, True, None)
    file = xray.parent / "check.json"
    text = shown(capsys, "check", str(xray), *SMALL, f"json={file}", "near=true")
    assert text.endswith(f"JSON: {file}\n")
    near = json.loads(file.read_text(encoding="utf-8"))
    assert near["near"]["sets"] == 0
    assert near | {"near": None} == said


class _Page(HTMLParser):
    """Pictures and words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_needs_no_other_file_and_escapes_names(
    xray: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (xray / "train" / "[red]PNEUMONIA").rename(xray / "train" / "<script>bad")
    (xray / "test" / "[red]PNEUMONIA").rename(xray / "test" / "<script>bad")
    (xray / "train" / "NORMAL" / "broken.png").write_bytes(b"<html>")
    file = xray.parent / "check.html"
    line = (
        "check",
        str(xray),
        *SMALL,
        f"html={file}",
        "data.on_bad_image=skip",
        "data.positive=[NORMAL]",
    )
    assert f"Page: {file}\n" in shown(capsys, *line)
    text = file.read_text(encoding="utf-8")
    page = _Page(text)
    assert "script" not in page.tags
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert len(page.pictures) == 6 + 1 + 4 + 6 + 1 + 4
    assert all("class" in (one["alt"] or "") and one["width"] for one in page.pictures)
    assert "test/<script>bad/p10_1, of class <script>bad in the test part" in {
        one["alt"] for one in page.pictures
    }
    words = " ".join(page.words)
    assert "a page of HTML" in words
    assert "can be used" in words
    assert "byte-identical" in words
    assert "29 images of 2 classes" in words
    assert len(text) < 200_000


def test_where_a_job_would_not_begin_all_is_shown_and_the_status_is_2(
    xray: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(xray / "test")
    said = shown(capsys, "check", str(xray), *SMALL, status=2)
    assert "STOPS: A job would not begin: data.split=parts needs" in said
    assert rows(said)[0] == ["class", "images", "train"]
    assert "DOUBT" in shown(capsys, "check", str(xray), *SMALL, "data.split=paper")
    json_said = json.loads(shown(capsys, "check", str(xray), *SMALL, "json=-", status=2))
    assert json_said["usable"] is False
    (xray / "train" / "NORMAL" / "bad.png").write_bytes(b"")
    broken = shown(capsys, "check", str(xray), *SMALL, "data.split=paper", status=2)
    assert "bad.png: the file is empty." in broken


def test_it_takes_the_options_of_a_job(xray: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["experiment=defense", "sigma=0.2", "data=folder", f"data.root={xray}", *SMALL]
    said = shown(capsys, *line, "data.split=paper", "seed=3", "data.positive=[NORMAL]")
    assert "Split: data.split=paper, seed=3." in said
    assert "\nDisease: NORMAL, as data.positive says.\n" in said
    assert "\nPatients: unknown.\n" in said
    assert "data.group_regex finds patients" in said
    assert rows(said)[0][-4:] == ["test", "(folder)", "train", "(folder)"]


def test_what_stands_in_no_part_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in "abc":
        for number in range(12):
            name = f"p{number}_1.png" if number else f"{label}.png"
            image(tmp_path / label / name, f"{label}{number}")
    (tmp_path / "a" / "scan.svs").write_bytes(b"x")
    said = shown(
        capsys,
        *("check", str(tmp_path), *SMALL, "data.split=paper", REGEX),
        "+data.per_class={train:{a:1}}",
    )
    assert "\nNo class counts as the disease.\n" in said
    assert "named by data.group_regex; for instance p10 of a/p10_1; unknown for 3 images" in said
    assert rows(said)[0][-1] == "unused"
    assert rows(said)[1][-1] == "8"
    assert (
        f"\nLeft out, for .svs is not read: 1 file, for instance {tmp_path}/a/scan.svs.\n" in said
    )
    assert "NOTE: 1 file is left out" not in said, "that is said above"


def test_painted_tissue_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    said = shown(
        capsys,
        *(f"paths.outputs={tmp_path}", f"html={page}", "data.crop=32"),
        *("data.patients=8", "data.images_per_patient=1", "data.height=32", "data.width=32"),
    )
    assert said.startswith("SYNTHETIC: ")
    assert "\nDisease: malignant, as this source is known.\n" in said
    assert "SYNTHETIC" in page.read_text(encoding="utf-8")


def test_two_sets_are_compared(xray: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = xray.parent / "other"
    image(other / "p1_2.png", "new")
    shutil.copy(xray / "train" / "NORMAL" / "p0_1.png", other / "p3_1.png")
    with Image.open(xray / "train" / "NORMAL" / "p2_1.png") as small:
        small.resize((96, 96), Image.Resampling.BICUBIC).save(other / "large.png")
    said = shown(capsys, "overlap", str(xray), str(other), r"group_regex=^(p\d+)_")
    assert f"A: folder {xray}, 28 images, 12 patients.\nB: folder {other}, 3 images" in said
    # One of A is there twice.
    assert "\nequal bytes: 2 of A, 1 of B.\n" in said
    assert "\nnearly equal pixels: 1 of A, 1 of B.\n" in said
    assert "train/NORMAL/p2_1.png of A and large.png of B (correlation 0.9" in said
    assert "\na patient in both: 4 of A, 2 of B (2 patients).\n" in said
    assert "the same file name: 2 of A, 1 of B; 0 of A have the pixels" in said
    found = json.loads(shown(capsys, "overlap", str(xray), str(other), "json=-"))
    assert (found["near"]["ones"], found["patients"]) == (1, None)
    told = shown(capsys, "overlap", str(xray), str(other), "near=false")
    assert "Pixels were not compared" in told
    assert "Patients were not compared" in told


Lines = Callable[[Path], Iterator[tuple[list[str], str]]]


def of_check(root: Path) -> Iterator[tuple[list[str], str]]:
    (root.parent / "file.png").write_bytes(b"x")
    (root.parent / "empty").mkdir()
    (root.parent / "one").mkdir()
    image(root.parent / "one" / "a" / "x.png", "x")
    good = str(root)
    yield ["chek", good], "chek is neither a folder nor an option"
    yield ["check", f"{root}/nowhere"], "nowhere is neither a folder nor an option"
    yield ["check", str(root.parent / "file.png")], "file.png is a file"
    yield ["check", ""], "an empty argument is neither a folder nor an option"
    yield ["check", good, good], "an option"
    yield ["check", good, f"data.root={good}"], "both say where the images lie"
    yield ["check", str(root.parent / "empty")], "found none"
    yield ["check", str(root.parent / "one")], "at least two classes"
    yield ["check", good, "html=-"], "html=- cannot be used"
    yield ["check", good, f"html={root}"], "is a folder: give a file in it"
    yield ["check", good, f"json={root}/no/x.json"], f"there is no folder {root}/no"
    yield ["check", good, f"json={root}/x", f"html={root}/x"], "are one file: give two"
    yield ["check", good, "near=maybe"], "near=maybe cannot be used"
    yield ["check", good, "html="], "html= cannot be used: it is empty"
    yield ["check", good, "near=true", "near=true"], "near is given twice"
    yield ["check", good, "data.positive=[CANCER]"], "none of the classes"
    yield ["check", good, "data.layout=part/klass"], "data.layout=part/klass cannot be used"
    yield ["check", good, "data.exclude=[zzz]"], "matches"
    yield ["check", good, 'data.group_regex="("'], "not a regular expression"
    yield ["check", good, "data.crop=0"], "data.crop=0"
    yield ["check", good, "data.rot=x"], "unknown option data.rot"
    yield ["check", "data=breakhis", f"data.root={root}"], "BreakHis"
    yield ["check", "data=folder"], "data.root=FOLDER"
    yield ["check", "overlap"], "overlap is neither a folder"


def of_overlap(root: Path) -> Iterator[tuple[list[str], str]]:
    good, other = str(root / "train"), str(root / "test")
    yield ["overlap"], "given were none"
    yield ["overlap", good], "given were "
    yield ["overlap", good, other, good], "given were "
    yield ["overlap", good, ""], "an empty argument"
    yield ["overlap", good, f"{root}/nowhere"], "is no folder"
    yield ["overlap", good, str(root)], "neither of which holds the other"
    yield ["overlap", good, good], "are one folder"
    yield ["overlap", good, other, "duplicates=true"], "is no option of bcadv data overlap"
    yield ["overlap", good, other, "data.root=x"], "is no option of bcadv data overlap"
    yield ["overlap", good, other, "group_regex=("], "not a regular expression"
    yield ["overlap", good, other, "json=/nowhere/x.json"], "there is no folder /nowhere"
    yield ["overlap", good, other, "near=2"], "near=2 cannot be used"
    yield ["overlap", "--near", good, other], "given were --near"


@pytest.mark.parametrize("lines", [of_check, of_overlap])
def test_a_mistake_is_answered_in_a_sentence(
    lines: Lines, xray: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line, words in lines(xray):
        assert words in refused(capsys, *line), line


def test_a_place_that_cannot_be_written_is_named(
    xray: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bcadv.cli.data.write_atomically", full)
    said = refused(capsys, "check", str(xray), *SMALL, f"html={xray}/x.html")
    assert "html=" in said
    assert "No space left on device" in said


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
