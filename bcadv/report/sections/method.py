"""How the numbers were made, on which machines, what was left out, how to make the page again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from bcadv.metrics.calibration import N_BOOT
from bcadv.report.document import Block, Bullets, Cell, Code, Table, Text
from bcadv.report.draft import Draft
from bcadv.report.marks import anchor
from bcadv.report.words import say, sentence
from bcadv.results.schema import Result
from bcadv.results.verdict import MARGIN

_UNKNOWN = "unknown"


def findings(draft: Draft) -> list[Block]:
    """Every finding, the gravest first, and what was not used."""
    said: dict[str, str] = {}
    for found in draft.conclusion.findings:
        if found.outcome != "ok":
            check = str(found.facts.get("check", ""))
            said.setdefault(sentence(found, draft.marks_of(found)), check)
    anchors: dict[str, int] = {}
    for number, check in enumerate(said.values()):
        if check:
            anchors.setdefault(anchor(check), number)
    made: list[Block] = [Bullets(tuple(said), {n: name for name, n in anchors.items()})]
    left_out = draft.study.left_out
    return [*made, Text("Left out:"), Bullets(left_out)] if left_out else made


def blocks(draft: Draft) -> list[Block]:
    """Intervals, what “certain” means, environment, command."""
    said = [say("intervals", resamples=N_BOOT), say("certain", margin=MARGIN)]
    if draft.seeds > 1:
        said.insert(1, say("several_seeds"))
    return [
        Bullets(tuple(said)),
        _environment([job.result for job in draft.study.jobs]),
        Text("To make this page again, from the same folder as before:"),
        Code(draft.command),
    ]


def _environment(results: list[Result]) -> Table:
    """A line per item; where jobs differ, every value with the number of its jobs."""
    of_each = [_items(result) for result in results]
    names = dict.fromkeys(name for items in of_each for name in items)
    rows = []
    for name in names:
        values = Counter(items.get(name, _UNKNOWN) for items in of_each)
        mixed = [f"{value} (jobs: {n})" for value, n in sorted(values.items())]
        said = next(iter(values)) if len(values) == 1 else f"mixed: {', '.join(mixed)}"
        rows.append((name, (Cell(said),)))
    return Table("Environment of the jobs", ("what", "value"), tuple(rows), words=True)


def _items(result: Result) -> dict[str, str]:
    """The items of one job as text; nested ones by their own names."""
    items = {"code": result.run.git_commit or _UNKNOWN}
    for name, value in result.environment.items():
        if isinstance(value, Mapping):
            items |= {str(key): str(inner) for key, inner in value.items()}
        else:
            items[str(name)] = _UNKNOWN if value is None else str(value)
    return items
