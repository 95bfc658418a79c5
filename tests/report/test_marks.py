"""The sign beside a suspect number: in the page, in Markdown, on a terminal and for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from bcadv.report.console import console_comparison
from bcadv.report.draft import row_name
from bcadv.report.escape import markdown_text
from bcadv.report.marks import Notes
from bcadv.report.page import Written, tell, write_report
from bcadv.report.table import console_table
from bcadv.study.jobs import find_jobs
from tests.metrics.tables import failed, fgsm
from tests.report.studies import write_run
from tests.report.test_page import Page


class Made(NamedTuple):
    runs: Path
    out: Path
    written: Written
    page: Page


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An undefended model that has not converged; a defended one whose answers do not repeat."""
    runs, out = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("out")
    write_run(runs / "u", synthetic=False, findings=[failed("converged", fgsm(1))])
    both = [failed("repeatable", batchnorm="clean"), failed("noise", fgsm(1), batchnorm="clean")]
    write_run(
        runs / "t", sigma=0.1, synthetic=False, variants=("as_trained", "clean"), findings=both
    )
    written = write_report(*find_jobs([runs]), out, prevalence=0.1, command="x")
    assert written.failures == ()
    return Made(runs, out, written, Page(written.page.read_text(encoding="utf-8")))


def rows_of(page: Page, title: str) -> dict[str, list[str]]:
    """Row -> letters beside each cell, of the first table with this title."""
    table = re.search(rf"<caption>{title}</caption>(.*?)</table>", page.text, re.S)
    assert table is not None
    return {
        re.sub("<[^>]+>", "", name).replace("\xa0", " "): [
            "".join(re.findall(r"note </span>([a-z]+)</span>", cell))
            for cell in re.findall(r"<td>(.*?)</td>", cells, re.S)
        ]
        for name, cells in re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', table[1], re.S)
    }


ATTACKED = [f"ε = {strength}/255" for strength in ("1", "4")]


def test_the_sign_stands_beside_each_tainted_number_and_no_other(made: Made) -> None:
    rows = rows_of(made.page, "Accuracy, FGSM")
    assert rows["clean"] == ["", "", "b"]
    assert [rows[name] for name in ATTACKED] == [["a", "", "c"]] * 2
    for title in ("Robust accuracy, FGSM", "AUROC, FGSM"):
        assert rows_of(made.page, title)[ATTACKED[0]] == ["a", "", "c"]
    assert rows_of(made.page, "Missed .*? per 1,000 patients, FGSM")["clean"] == ["", "", "b"]
    gains = rows_of(made.page, "Gain over the undefended model, FGSM")
    # The reference's checks concern a difference too.
    assert gains["clean"] == ["", "b"]
    assert gains[ATTACKED[1]][0] == "a"
    assert gains[ATTACKED[1]][1] not in {"", "a", "b", "c"}


def test_the_headline_and_every_table_explain_their_signs(made: Made) -> None:
    heading = re.search("<h1>(.*?)</h1>", made.page.text, re.S)
    assert heading is not None
    assert heading[1].count('class="suspect"') == 1
    before, after = heading[1].split('<span class="suspect">')
    assert before.rstrip().endswith("%")
    assert "right at" in after
    for part in re.findall(r"<table.*?</table>|<h1>.*?<nav", made.page.text, re.S):
        told = set(re.findall(r"note </span>([a-z]+)</span> suspect:", part))
        used = set(re.findall(r"note </span>([a-z]+)</span>(?! suspect:)", part))
        assert used <= told
        assert told <= used or "<table" not in part


def test_a_sign_is_red_and_is_not_colour_alone(made: Made) -> None:
    signs = re.findall(r'<span class="suspect">(.*?)</span>[a-z]+</span>', made.page.text)
    assert len(signs) > 10
    # A picture, a word for those who hear the page, a letter.
    assert all(sign.startswith("\N{WARNING SIGN}") and "suspect" in sign for sign in signs)
    assert re.search(r"\.suspect \{ color: var\(--red\)", made.page.text)


def test_the_notes_lead_to_the_finding(made: Made) -> None:
    ids = {str(attributes["id"]) for _, attributes in made.page.tags if "id" in attributes}
    linked = {str(a["href"])[1:] for a in made.page.all("a")}
    assert {"check-converged", "check-repeatable"} <= linked <= ids
    found = re.search(r'<li id="check-converged">(.*?)</li>', made.page.text)
    assert found is not None
    assert "converged holds" in found[1]


def test_markdown_has_the_same_signs_and_notes(made: Made) -> None:
    text = (made.out / "report.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith(f"| {row_name(fgsm(4))}")]
    assert re.findall("⚠[a-z]", rows[0]) == ["⚠a", "⚠c"]
    notes = made.written.notes.known(["⚠a ⚠b ⚠c"])
    assert [note.mark for note in notes] == ["⚠a", "⚠b", "⚠c"]
    for note in notes:
        assert text.count(f"- {markdown_text(note.mark)} {note.text}") > 3
    assert text.splitlines()[0].count("⚠a") == 1


def test_the_twin_names_the_checks_beside_each_number(made: Made) -> None:
    twin = json.loads((made.out / "summary.json").read_text(encoding="utf-8"))
    study = made.written.study
    by_id = {condition.id: condition for condition in study.conditions}
    for number in twin["numbers"]:
        expected = study.suspect(number["model"], by_id[number["condition"]])
        assert number["suspect"] == list(expected)
    assert {tuple(number["suspect"]) for number in twin["numbers"]} == {
        (),
        ("converged",),
        ("repeatable",),
        ("repeatable", "noise"),
    }
    undefended, _, again = twin["models"]
    assert undefended["first"]["suspect"] == ["converged"]
    assert (undefended["clean"]["suspect"], again["clean"]["suspect"]) == ([], ["repeatable"])
    checks = {finding["check"] for finding in twin["findings"]} - {None}
    assert checks == {"converged", "repeatable", "noise"}
    # Trackers take the headline as it is.
    assert "⚠" not in twin["headline"]


def _printed(*what: object, width: int = 120) -> str:
    console = Console(width=width, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        for each in what:
            if isinstance(each, Written):
                tell(console, each)
            else:
                console.print(each)
    return captured.get()


RED = r"\x1b\[1;31m⚠([a-z])\x1b\[0m"


def test_the_comparison_on_a_terminal_has_them_in_red(made: Made) -> None:
    text = _printed(console_comparison(made.written.study, made.written.notes), made.written)
    lines = {line[:11].strip(): re.findall(RED, line) for line in text.splitlines()}
    assert (lines["clean"], lines["FGSM 4/255"]) == (["b"], ["a", "c"])
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert plain.count("⚠a suspect:") == 2  # of the table and of the headline
    assert plain.count("⚠c suspect:") == 1


def test_the_table_at_the_end_of_a_job_has_them_in_red(made: Made) -> None:
    [job] = find_jobs([made.runs / "t"])[0]
    lines = _printed(console_table(job.result), width=80).splitlines()
    signs = [re.findall(RED, line) for line in lines]
    plain = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines]
    rows = {
        word: [
            found for found, line in zip(signs, plain, strict=True) if line.startswith(f"{word} ")
        ]
        for word in ("clean", "FGSM")
    }
    # BatchNorm as trained, then on clean images.
    assert rows == {"clean": [[], ["a"]], "FGSM": [[]] * 3 + [["b"]] * 3}
    assert sum(line.startswith(("⚠a suspect", "⚠b suspect")) for line in plain) == 2
    assert max(map(len, plain)) <= 80


def test_letters_go_on_after_z_and_the_same_checks_share_one() -> None:
    notes = Notes({})
    marks = [notes.mark((f"check {n}",)) for n in range(28)]
    assert (marks[0], marks[25], marks[26], marks[27]) == ("⚠a", "⚠z", "⚠aa", "⚠ab")
    assert notes.mark(("check 1",)) == "⚠b"
    assert notes.mark(()) == ""
    assert notes.beside("3", ()) == "3"
    assert [note.mark for note in notes.known(["at ⚠aa, 3"])] == ["⚠aa"]
