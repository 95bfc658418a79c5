"""The page as a whole: what it says first, that it needs nothing else, that all of it is text."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bcadv.errors import BcadvError
from bcadv.report.document import Text
from bcadv.report.escape import markdown_text
from bcadv.report.page import write_report
from bcadv.report.sections import SECTIONS, Row
from bcadv.study.jobs import Job, find_jobs
from bcadv.study.study import build_study
from tests.outside import ACTING, NAMES
from tests.report.jobs_on_disk import rewrite
from tests.report.studies import gallery, write_run

NOTHING_TO_SAY = {"attacks"}
"""Sections that stay out: one attack alone is compared with none."""


class Page(HTMLParser):
    """What a page consists of; fails where tags do not close in the order they opened."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "wbr", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)

    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


def _report(runs: Path, out: Path, **options: Any) -> Page:
    jobs, left_out = find_jobs([runs])
    made = write_report(jobs, left_out, out, prevalence=0.1, command="make it again", **options)
    assert made.failures == ()
    return Page(made.page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, sigma, variants in (
        ("a", None, ["as_trained"]),
        ("b", 0.05, ["as_trained", "clean"]),
        ("c", 0.1, ["as_trained", "clean"]),
    ):
        write_run(folder / name, sigma=sigma, variants=variants, synthetic=False)
    (folder / "damaged").mkdir()
    (folder / "damaged" / "results.json").write_text("{", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def out(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    _report(runs, folder)
    return folder


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page((out / "report.html").read_text(encoding="utf-8"))


def test_the_answer_stands_before_everything_else(page: Page, out: Path) -> None:
    twin = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    first = page.text[: page.text.index("<details")]
    shown = " ".join(unescape(re.sub(r"<[^>]+>", " ", first)).split())
    word, _, rest = twin["headline"].partition(": ")
    assert word.lower() == twin["answer"]
    assert rest in shown
    assert twin["tested"] in shown
    assert shown.count("who are also in training") == 1
    assert first.count('role="img"') == 1
    assert 1 <= first.count('class="evidence"') <= 6
    # Every colour has its word.
    assert re.findall(r'class="badge ([a-z-]+)">', first) == [
        word.replace(" ", "-") for word in re.findall(r'class="badge [a-z-]+">([^<]+)<', first)
    ]


def test_the_twin_holds_the_numbers_of_the_study(runs: Path, out: Path) -> None:
    twin = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    study = build_study(*find_jobs([runs]))
    assert [model["name"] for model in twin["models"]] == [arm.name for arm in study.arms]
    found = {(n["model"], n["condition"], n["metric"]): n for n in twin["numbers"]}
    assert len(found) == len(twin["numbers"]) == len(study.numbers)
    for (name, condition, metric), number in study.numbers.items():
        same = found[name, condition.id, metric]
        assert (same["value"], same["n"]) == (number.value, number.n)
    assert {finding["section"] for finding in twin["findings"]} <= {row.anchor for row in SECTIONS}


def test_the_page_needs_nothing_but_itself(page: Page) -> None:
    names = {tag for tag, _ in page.tags}
    assert not names & {"link", "iframe", "object", "base"}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name in {"src", "href", "xlink:href", "data", "action"}:
                assert str(value).startswith(("#", "data:image/")), (tag, name, value)
            assert not name.startswith("on")
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page.text)
    assert "http:" not in without_names
    assert "https:" not in without_names
    assert "@import" not in page.text
    assert set(re.findall(r"url\((.)", page.text)) <= {"#"}


def test_ids_are_unique_and_every_link_leads_somewhere(page: Page) -> None:
    ids = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    linked = {str(a["href"])[1:] for a in page.all("a")}
    assert linked == {row.anchor for row in SECTIONS} - NOTHING_TO_SAY
    assert linked <= set(ids)
    used = {str(a["xlink:href"])[1:] for a in page.all("use")}
    assert used
    assert used | set(re.findall(r"url\(#([^)]+)\)", page.text)) <= set(ids)


def test_what_was_left_out_and_how_to_make_it_again_is_said(page: Page) -> None:
    assert "make it again" in page.said()
    assert "damaged" in page.said()
    assert "SYNTHETIC" not in page.text


def test_every_figure_has_a_text_in_its_stead_and_its_files(page: Page, out: Path) -> None:
    figures = [a for a in page.all("svg") if a.get("role") == "img"]
    photographs = list(page.all("img"))
    assert len(figures) > 5
    assert all(len(str(figure["aria-label"])) > 20 for figure in figures)
    assert all(len(str(photograph["alt"])) >= 9 for photograph in photographs)
    stems = {path.stem for path in (out / "figures").glob("*.svg")}
    assert len(stems) == len(figures)
    for path in (out / "figures").iterdir():
        assert path.stat().st_size > 1000


def test_letters_of_figures_are_no_smaller_than_eleven_pixels(page: Page) -> None:
    """A phone shows a figure about as wide as it is drawn: 360 of its 390 pixels."""
    found = re.findall(r"font: (?:\w+ )?([\d.]+)px", page.text)
    assert found
    # matplotlib writes points as px, in a picture whose unit is the point.
    assert min(map(float, found)) * 4 / 3 >= 11
    boxes = [a["viewbox"] for a in page.all("svg") if a.get("role") == "img"]
    assert {str(box).split()[2] for box in boxes} == {"270"}


def test_tables_are_narrow_enough_for_a_phone(page: Page) -> None:
    heads = re.findall(r"<thead>.*?</thead>", page.text, re.S)
    assert len(heads) > 5
    assert max(head.count("<th ") for head in heads) <= 5
    rows = re.findall(r"<tr><th scope=.row.>.*?</tr>", page.text, re.S)
    assert all("<td" in row for row in rows)


def test_raw_numbers_stand_beside_the_page(out: Path) -> None:
    assert {path.name for path in (out / "tables").iterdir()} == {
        "robustness.csv",
        "comparisons.csv",
        "consequences.csv",
        "paper.csv",
    }


def test_markdown_says_the_same_and_links_what_is_there(page: Page, out: Path) -> None:
    text = (out / "report.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert len(titles) == len(list(page.all("h2")))
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(links) > 5
    assert all((out / link).is_file() for link in links)
    for paragraph in re.findall(r"<p>(.*?)</p>", page.text):
        assert markdown_text(unescape(paragraph)) in text


def test_the_same_files_give_the_same_bytes(runs: Path, out: Path, tmp_path: Path) -> None:
    _report(runs, tmp_path)
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / path.relative_to(out)).read_bytes(), path


def test_made_up_images_are_announced_before_anything_else(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", synthetic=True)
    page = _report(tmp_path / "runs", tmp_path / "out", tables=False)
    before = page.text[: page.text.index("<h1>")]
    assert "SYNTHETIC TISSUE" in before
    figures = page.text.count('role="img"')
    assert page.text.count(">SYNTHETIC TISSUE</text>") == figures > 0
    names = {path.name for path in (tmp_path / "out" / "figures").glob("*.png")}
    drawn = {path.stem for path in (tmp_path / "out" / "figures").glob("*.svg")}
    photographs = {name for name in names if name.removesuffix(".png") not in drawn}
    assert photographs
    assert all(name.startswith("synthetic_") for name in photographs)


def _named(folder: Path, name: str, file: str) -> tuple[list[Job], list[str]]:
    """A job whose every name is the same, and whose files have another."""
    write_run(folder / "a", synthetic=False, classes=["benign", name])
    (job,), _ = find_jobs([folder])
    arrays = gallery(side=24)
    arrays["image_id"] = np.array([file, "b", "c", "d"])
    np.savez(folder / "a" / "gallery.npz", **arrays)
    job = changed(
        Job(job.folder, rewrite(folder / "a")),
        run={"name": name, "experiment": name},
        environment={"device": name, "packages": {"torch": name}},
    )
    return [job], [f"left out: {file}"]


def changed(job: Job, *, environment: dict[str, Any], run: dict[str, Any] | None = None) -> Job:
    """A job whose results say something else."""
    result = job.result
    return Job(
        job.folder,
        result.model_copy(
            update={"environment": environment, "run": result.run.model_copy(update=run or {})}
        ),
    )


def test_what_comes_from_files_is_text_and_nothing_else(tmp_path: Path) -> None:
    name = " ".join(NAMES[kind] for kind in ("html", "rich", "table", "markdown", "mathtext"))
    made = write_report(
        *_named(tmp_path / "runs", name, name), tmp_path / "out", prevalence=0.1, command=name
    )
    assert made.failures == ()
    page = Page(made.page.read_text(encoding="utf-8"))
    assert not {"em", "marquee"} & {tag for tag, _ in page.tags}
    assert [tag for tag, _ in page.tags].count("b") == page.text.count('<b class="eps-')
    assert [tag for tag, _ in page.tags].count("script") == page.text.count("<script>")
    assert page.said().count(name) >= 4
    with (tmp_path / "out" / "tables" / "robustness.csv").open(encoding="utf-8") as file:
        assert sum(1 for _ in csv.reader(file)) > 5
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert f"- left out: {markdown_text(name)}\n" in text
    assert name not in text.replace(f"```console\n{name}\n```", "")


def test_what_acts_is_an_escape_everywhere(tmp_path: Path) -> None:
    kinds = ("null", "override", "colour")
    name, escaped = (" ".join(ACTING[kind][i] for kind in kinds) for i in (0, 1))
    file = ACTING["latin-1"][0]
    made = write_report(
        *_named(tmp_path / "runs", name, file), tmp_path / "out", prevalence=0.1, command="x"
    )
    assert made.failures == ()
    text = made.page.read_text(encoding="utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert Page(text).said().count(escaped) >= 4
    said = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said)
    assert f"- left out: {markdown_text(file)}\n" in said
    assert r"left out: caf\udce9.png" in Page(text).said()


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("page.curve", "accuracy_fgsm_linf"),
        ("sections.robustness.curve", "robustness_accuracy_fgsm_linf"),
        ("sections.training.epochs", "fig5_epochs_undefended"),
        ("sections.pictures.shots_of", "Images before and after"),
        ("sections.patients.consequence", "What it means for patients"),
    ],
)
def test_what_cannot_be_drawn_is_named_and_the_rest_stands(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, name: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("odd <font>")

    monkeypatch.setattr(f"bcadv.report.{step}", fail)
    jobs, left_out = find_jobs([runs / "a"])
    made = write_report(jobs, left_out, tmp_path, prevalence=0.1, command="x")
    sentence = f"This figure could not be drawn: {name} (RuntimeError: odd <font>)."
    assert sentence in made.failures
    page = Page(made.page.read_text(encoding="utf-8"))
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert sentence in page.said()
    assert f"**{markdown_text(sentence)}**" in text or step.startswith("page.")
    assert len(list(page.all("h2"))) == len(SECTIONS) - len(NOTHING_TO_SAY)
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["numbers"]


def test_absent_and_damaged_files_cost_a_word_each(runs: Path, tmp_path: Path) -> None:
    for name in "ab":
        shutil.copytree(runs / name, tmp_path / "runs" / name)
        (tmp_path / "runs" / name / "history.csv").unlink()
        (tmp_path / "runs" / name / "gallery.npz").unlink()
        (tmp_path / "runs" / name / "examples.npz").write_bytes(b"")
        rewrite(tmp_path / "runs" / name)
    said = _report(tmp_path / "runs", tmp_path / "out", tables=False).said()
    assert "No job kept a training history that can be read" in said
    assert "There is no history.csv of a." in said
    assert said.count("examples.npz cannot be read") >= 2
    assert "No job kept example images" in said


@pytest.mark.parametrize(
    ("file", "arrays", "said"),
    [
        ("gallery.npz", {"first": np.zeros(4)}, "array first of"),
        (
            "examples.npz",
            {"condition": np.array(["x", "y"])},
            "array (condition|adversarial) of",
        ),
    ],
)
def test_damage_within_a_file_costs_its_pictures_alone(
    runs: Path, tmp_path: Path, file: str, arrays: dict[str, Any], said: str
) -> None:
    shutil.copytree(runs / "a", tmp_path / "runs" / "a")
    path = tmp_path / "runs" / "a" / file
    with np.load(path) as kept:
        whole = dict(kept)
    np.savez(path, **(whole | arrays))
    rewrite(path.parent)
    page = _report(tmp_path / "runs", tmp_path / "out", tables=False)
    assert re.search(said, page.said())
    assert list(page.all("svg"))


def test_one_damaged_sibling_costs_a_word(runs: Path, tmp_path: Path) -> None:
    for name in ("a", "z"):
        shutil.copytree(runs / "a", tmp_path / "runs" / name)
    folder = tmp_path / "runs" / "a"
    for name in ("examples.npz", "gallery.npz"):
        (folder / name).write_bytes(b"")
    rewrite(folder, run={"name": "other"})
    said = _report(tmp_path / "runs", tmp_path / "out", tables=False).said()
    assert "examples.npz cannot be read" in said
    assert "gallery.npz cannot be read" in said


def test_a_page_without_tables_beside_it(runs: Path, tmp_path: Path) -> None:
    jobs, left_out = find_jobs([runs / "b"])
    write_report(jobs, left_out, tmp_path, prevalence=0.1, command="x", tables=False)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"report.html", "summary.json", "figures"}


def test_versions_that_differ_are_named(runs: Path, tmp_path: Path) -> None:
    jobs, _ = find_jobs([runs])
    mixed = [
        changed(job, environment={"device": "cpu", "packages": {"torch": torch}})
        for job, torch in zip(jobs, ("2.6", "2.6", "2.7"), strict=True)
    ]
    made = write_report(mixed, [], tmp_path, prevalence=0.1, command="x")
    said = Page(made.page.read_text(encoding="utf-8")).said()
    assert "torch mixed: 2.6 (jobs: 2), 2.7 (jobs: 1)" in said
    assert "device cpu" in said


def test_a_section_more_is_a_row_more(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = Row("more", "A section more", lambda draft: [Text(f"of {len(draft.study.jobs)} job")])
    monkeypatch.setattr("bcadv.report.sections.SECTIONS", (more,))
    shutil.copytree(runs / "a", tmp_path / "runs" / "a")
    page = _report(tmp_path / "runs", tmp_path / "out")
    assert [a for a in page.all("a") if a["href"] == "#more"]
    assert "A section more of 1 job" in page.said()
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "## A section more" in text


def test_no_jobs_and_no_place_are_said(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(BcadvError, match="no finished job"):
        write_report([], [], tmp_path, prevalence=0.1, command="x")
    (tmp_path / "file").touch()
    jobs, left_out = find_jobs([runs / "a"])
    with pytest.raises(BcadvError, match=r"cannot be written to .*file"):
        write_report(jobs, left_out, tmp_path / "file" / "out", prevalence=0.1, command="x")
