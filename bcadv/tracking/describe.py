"""The description of a run, as MLflow's pages render it: Markdown, and from outside plain text."""

from __future__ import annotations

import html
import json
import logging
import re
from pathlib import Path

from bcadv.results.condition import CLEAN, Condition
from bcadv.results.files import PAGE, SUMMARY
from bcadv.results.schema import Result, Row
from bcadv.text import shorten, shown
from bcadv.tracking.curves import curve_tags
from bcadv.tracking.names import MAIN, main_name

log = logging.getLogger(__name__)

EXPERIMENT_TAGS = {
    # Else the pages ask of what kind the experiment is, and may show those for language models.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": (
        "Each run is a job. `accuracy_at_02` is the accuracy left at strength 2 by whichever of "
        "the job's attacks does worst (`accuracy_at_00`: clean images). Strengths are grey levels "
        "of 255; in L2 (`accuracy_l2_at_00.5`) they are pixels in [0, 1]. Below `as_trained/`, and "
        "the other choices of BatchNorm statistics, stand all metrics under each attack; "
        "`…_by_1000_eps` are curves whose step is 1000 times the strength, `…_by_severity` such "
        "whose step is the severity of a corruption. `mean_corruption_error` is the share of "
        "images called wrong, the mean over severities and corruptions. Below `by_epoch/` the step "
        "is the epoch."
    ),
}
"""Set on an experiment that has none of its own."""

_LONGEST_COMMAND = 1500
_LONGEST_HEADLINE = 1000
_MOST_CHECKS = 5
# What Markdown acts on, with GitHub's extensions; the pages know these escapes.
_ACTS = re.compile(r"[\\`*_{}\[\]#|~!]|(?<=www)\.")


def headline_of(folder: Path) -> str | None:
    """The headline of the report on a job; ``None`` where there is no such report yet."""
    place = folder / SUMMARY
    if not place.is_file():
        return None
    try:
        found = json.loads(place.read_text(encoding="utf-8"))["headline"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s has no headline that can be read (%s).", place, error)
        return None
    return shown(str(found))[:_LONGEST_HEADLINE]


def description(result: Result, folder: Path, *, headline: str | None, artifacts: str) -> str:
    """What was run, the answer, what the numbers mean, and where the report is.

    Args:
        result: the content of ``results.json``.
        folder: of the job.
        headline: the report's answer; ``None``: the numbers are told instead.
        artifacts: address of the run's artifacts on MLflow's pages.
    """
    # MLflow's pages show the first lines, and the rest on demand.
    parts = [f"**Answer.** {plain(headline) if headline else answer(result)}"]
    if result.data.synthetic:
        parts.append(f"**{plain(result.data.words)}: nothing here says anything about patients.**")
    parts.append(f"**What was run.** {_what(result)}")
    failed = [finding.title for finding in result.failed()]
    if failed:
        more = "" if len(failed) <= _MOST_CHECKS else f" and {len(failed) - _MOST_CHECKS} more"
        said = "; ".join(map(plain, failed[:_MOST_CHECKS]))
        parts.append(f"**Checks that failed:** {said}{more}.")
    if (folder / PAGE).is_file():
        at = plain(str((folder / PAGE).absolute()))
        parts.append(f"**Report:** [{PAGE}]({artifacts}/{PAGE}), on disk {at}")
    parts.append(f"**Metrics.** {_metrics(result)}")
    # No block of code: a long line would make the whole page as wide.
    parts.append(f"**Command.** {plain(shorten(result.run.command, _LONGEST_COMMAND))}")
    return "\n\n".join(parts)


def answer(result: Result) -> str:
    """One or two sentences with the numbers of the attack that leaves least."""
    clean = next(row for row in _shown(result) if row.condition == CLEAN.id)
    said = f"Of {clean.n} clean test images {_rate(clean)} are answered right"
    worst = _worst(result)
    if not worst:
        return f"{said}. Nothing was attacked."
    falls = [f"{_rate(row)} at {c.symbol} = {c.amount} ({plain(c.label)})" for c, row in worst]
    return f"{said}, under attack {' and '.join(falls)}."


def _shown(result: Result) -> list[Row]:
    """The rows of the BatchNorm statistics that are told first."""
    return [row for row in result.rows if row.batchnorm == result.model.batchnorm[0]]


def _worst(result: Result) -> list[tuple[Condition, Row]]:
    """The attack that does worst at a strength in the middle, and at the greatest."""
    rows = {row.condition: row for row in _shown(result)}
    attacked = [(c, rows[c.id]) for c in result.conditions if _attacks(c) and c.id in rows]
    if not attacked:
        return []
    # Lengths in two norms cannot be compared: the norm that was asked for first.
    attacked = [pair for pair in attacked if pair[0].norm == attacked[0][0].norm]
    strengths = sorted({condition.strength for condition, _ in attacked})
    chosen = sorted({strengths[(len(strengths) - 1) // 2], strengths[-1]})
    return [
        min(
            (pair for pair in attacked if pair[0].strength == strength),
            key=lambda pair: pair[1].metrics[MAIN].value or 0,
        )
        for strength in chosen
    ]


def _attacks(condition: Condition) -> bool:
    return condition.kind == "attack" and condition.strength > 0


def _rate(row: Row) -> str:
    value = row.metrics[MAIN].value
    return f"{100 * (value or 0):.1f} %"


def _what(result: Result) -> str:
    counts = {part: sum(named.values()) for part, named in result.data.counts.items()}
    labels = dict.fromkeys(
        f"{condition.label} ({condition.how})" if condition.how else condition.label
        for condition in result.conditions
        if not condition.clean and condition.kind != "corruption"
    )
    count = len({c.series for c in result.conditions if c.kind == "corruption"})
    if count:
        labels[f"{count} corruption{'' if count == 1 else 's'}"] = None
    under = f" and under {', '.join(map(plain, labels))}" if labels else ""
    images = plain(result.data.label or result.data.source)
    epochs = f"{result.training.epochs} epoch{'' if result.training.epochs == 1 else 's'}"
    return (
        f"{plain(result.model.architecture)}, {plain(result.model.defence.label)}, trained for "
        f"{epochs} on {counts.get('train', 0)} images ({images}, split "
        f"{plain(result.data.split)}, seed {result.run.seed}) and tested on {counts['test']} clean "
        f"ones{under}."
    )


def _metrics(result: Result) -> str:
    batchnorm = plain(result.model.batchnorm[0])
    steps = ", ".join(
        f"`{name.removeprefix('step.')}`: {plain(meaning)}"
        for name, meaning in curve_tags(result).items()
    )
    meant = f"`{main_name('inf', 0)}` is the accuracy on clean images"
    for condition, _ in _worst(result)[:1]:
        if condition.norm is not None:
            meant += (
                f", `{main_name(condition.norm, condition.strength)}` what is left of it at "
                f"{condition.symbol} = {condition.amount} by the attack that does worst"
            )
    meant += f" (BatchNorm statistics {batchnorm})."
    return f"{meant} Curves: {steps}." if steps else meant


def plain(text: str) -> str:
    """Markdown that shows this very text, in one line."""
    escaped = _ACTS.sub(r"\\\g<0>", shown(text))
    return html.escape(escaped, quote=False).replace("@", "&#64;").replace(":", "&#58;")
