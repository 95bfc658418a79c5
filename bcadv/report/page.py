"""Finished jobs -> a folder with one self-contained page, its twin, tables and figures."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup, escape
from rich.console import Console

from bcadv.console import say
from bcadv.errors import BcadvError
from bcadv.report.document import FIGURES, Album, Block, Bullets, Picture, Section, Table
from bcadv.report.document import Text as Paragraph
from bcadv.report.draft import Draft, slug
from bcadv.report.figures import METRICS, curve
from bcadv.report.markdown import markdown
from bcadv.report.marks import SIGN, Notes
from bcadv.report.sections import sections
from bcadv.report.sections.data import line
from bcadv.report.sections.pictures import reference_first
from bcadv.report.slider import Slider, slider
from bcadv.report.summary import answer, brief_text, headline, summary
from bcadv.report.table import warning_of
from bcadv.report.words import sentence, templates
from bcadv.results.files import PAGE, SUMMARY
from bcadv.study.fall import consequence
from bcadv.study.headline import conclude
from bcadv.study.jobs import Job
from bcadv.study.study import Study, build_study
from bcadv.text import shown

MARKDOWN = "report.md"
TABLES = "tables"


class Written(NamedTuple):
    """A report on disk.

    Attributes:
        page: its path.
        study: that it is on.
        headline: the answer in a sentence or two, with the signs of what is suspect.
        failures: a sentence for each figure that could not be drawn; the page has them too.
        notes: what the signs stand for.
    """

    page: Path
    study: Study
    headline: str
    failures: tuple[str, ...]
    notes: Notes


def tell(console: Console, written: Written) -> None:
    """Prints the headline, and what its signs stand for."""
    said, notes = written.headline, written.notes
    say(console, said, "bold", red=notes.red)
    for text in notes.legend([said]):
        say(console, text, red=notes.red)


def write_report(
    jobs: Sequence[Job],
    left_out: Sequence[str],
    folder: Path,
    *,
    prevalence: float,
    command: str,
    tables: bool = True,
) -> Written:
    """Writes ``report.html``, ``summary.json`` and ``figures/``.

    Args:
        jobs: to report on, one or more.
        left_out: a sentence for each result file that could not be used.
        folder: made if need be.
        prevalence: share of patients with the disease that consequences are stated at, in (0, 1).
        command: what to type to make this report again.
        tables: also write ``report.md`` and ``tables/`` (CSV files).

    Returns:
        Where the page is, what it says, and which figures it lacks.

    Raises:
        BcadvError: if there are no jobs or the folder cannot be written.
    """
    study = build_study(jobs, left_out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Draft(conclude(study, prevalence), Album(folder / FIGURES), command)
        # What a program reads comes first: it needs no picture.
        twin = json.dumps(summary(draft), indent=1, ensure_ascii=False, allow_nan=False)
        (folder / SUMMARY).write_text(f"{twin}\n", encoding="utf-8")
        # Its signs have the first letters.
        said = headline(draft.conclusion, draft.marks_of)
        figure = _first_figure(draft)
        made = sections(draft)
        if tables:
            _write_frames(made, folder / TABLES)
            (folder / MARKDOWN).write_text(markdown(draft, made), encoding="utf-8")
        (folder / PAGE).write_text(html(draft, figure, made), encoding="utf-8")
    except OSError as error:
        raise BcadvError(
            f"The report cannot be written to {folder} ({error.strerror or error}); "
            "name another folder: out=DIR."
        ) from error
    return Written(folder / PAGE, study, said, tuple(draft.album.failures), draft.notes)


def _write_frames(made: Sequence[Section], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for section in made:
        for name, frame in section.frames.items():
            # A file name may hold bytes that are not UTF-8, which nothing can encode.
            path = folder / f"{name}.csv"
            frame.to_csv(path, index=False, encoding="utf-8", errors="backslashreplace")


def _first_figure(draft: Draft) -> Picture | None:
    """Accuracy against the strength of the worst attack, with bands."""
    attack = draft.main_attack
    if attack is None:
        return None
    arms = draft.foremost
    return draft.album.add(
        slug("accuracy", attack.name),
        partial(curve, draft.study, arms, attack, "accuracy", height=1.75),
        alt=f"{METRICS['accuracy']} against the strength of {attack.label}, with 95 % intervals: "
        f"{'; '.join(arm.name for arm in arms)}.",
    )


def _slider(draft: Draft) -> Slider | None:
    """The images of the first model that kept any, the one that others are compared with first."""
    for arm in reference_first(draft):
        try:
            found = slider(
                [job for job in arm.jobs if job.pictured == arm.variant],
                partial(consequence, draft.facts, arm),
                partial(draft.mark, arm),
            )
        except BcadvError:
            continue  # a damaged file, which the section of images names
        except Exception as error:
            draft.album.fail("slider", error)
            continue
        if found is not None:
            return found
    return None


def html(draft: Draft, figure: Picture | None, made: Sequence[Section]) -> str:
    """The report as one page that needs no other file; everything from files is escaped."""
    conclusion = draft.conclusion
    leaks = [found for found in conclusion.of("leakage") if found.outcome == "failed"]
    template = templates().overlay(finalize=_shown).get_template("page.html.j2")
    # The headline speaks of the first; below stand the others of the figure, the rest is counted.
    drawn = {arm.name for arm in draft.foremost} - {conclusion.first.arm}
    answers = [
        {"name": a.arm, "word": a.word, "text": brief_text(a, draft.marks_of)}
        for a in conclusion.answers
        if a.arm in drawn
    ]
    findings = [
        {
            "section": found.section,
            "outcome": found.outcome,
            "text": sentence(found, draft.marks_of(found)),
        }
        for found in conclusion.foremost
        if found not in leaks
    ]
    said, shots = answer(conclusion, draft.marks_of), _slider(draft)
    frames = shots.frames if shots is not None else ()
    above = [said, *(a["text"] for a in [*answers, *findings]), *(frame.mark for frame in frames)]
    return template.render(
        title=headline(conclusion),
        answer=said,
        word=conclusion.word,
        tested=line(draft),
        answers=answers,
        more=len(conclusion.answers) - len(answers) - 1,
        figure=figure,
        findings=findings,
        legend=draft.notes.known(above),
        warning=warning_of(draft.study),
        leaks=[(sentence(found), found.section) for found in leaks],
        slider=shots,
        sections=made,
        kind_of=lambda block: type(block).__name__,
        broken=_broken,
        marked=partial(_marked, draft.notes),
        known=lambda block: draft.notes.known(_texts(block)),
    )


def _texts(block: Block) -> Sequence[str]:
    """Where the signs of a block stand."""
    match block:
        case Table():
            return block.marks
        case Bullets():
            return block.items
        case Paragraph():
            return [block.text]
        case _:
            return []


def _marked(notes: Notes, text: str) -> Markup:
    """A text whose signs are red, and have a word for those who do not see them."""
    whole = escape(shown(text, keep="\n\t"))
    for note in notes.known([text]):
        sign = Markup(
            '<span class="suspect">\N{WARNING SIGN}\ufe0e<span class="unseen"> suspect, note '
            "</span>{}</span>"
        ).format(note.mark.removeprefix(SIGN))
        # Not the sign with a longer letter.
        whole = Markup(sign.join(map(Markup, re.split(rf"{note.mark}(?![a-z])", whole))))  # noqa: S704
    return whole


def _broken(name: str) -> Markup:
    """A name with places to break a line at: option names are long, columns narrow."""
    text = str(escape(shown(name)))
    # Not within a number.
    return Markup(re.sub(r"(?<=[=_,])(?=\w)|(?<=\.)(?=[^\W\d])", "<wbr>", text))  # noqa: S704


def _shown(value: object) -> object:
    """Texts without control characters; what is markup already (figures) as it is."""
    return shown(value, keep="\n\t") if type(value) is str else value
