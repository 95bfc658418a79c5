"""The table at the end of a job: one line per BatchNorm variant, perturbation and epsilon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from bcadv.metrics.patients import RECOGNITION
from bcadv.report.marks import Notes
from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Measure, Result, Row
from bcadv.study.facts import unknown_patients
from bcadv.study.marks import of_result, titles
from bcadv.study.naming import variant_name
from bcadv.study.numbers import UNDEFINED, amounts
from bcadv.study.prose import plural
from bcadv.study.study import Study
from bcadv.text import shown

_HEADINGS = ("image", "strength", "accuracy", "sens.", "spec.", "AUROC", "ECE", "fooled")
_LEGEND = (
    "Per cent, except AUROC and ECE; [95 % interval]. fooled: of the images right when clean, the "
    "share now wrong."
)
_VARIANT_LEGEND = (
    "BN: BatchNorm statistics as trained, or re-estimated on clean or on noisy training images."
)
SYNTHETIC_WARNING = "SYNTHETIC TISSUE: these numbers say nothing about medicine."


def warning_of(study: Study) -> str:
    """The same of a study; nothing where no image is made up."""
    partly = "PARTLY " if study.partly_real else ""
    return f"{partly}{SYNTHETIC_WARNING}" if study.synthetic else ""


def percent(entry: Measure) -> str:
    """A rate in per cent, without the sign."""
    return UNDEFINED if entry.value is None else f"{100 * entry.value:.1f}"


def percent_with_interval(entry: Measure) -> str:
    """A rate in per cent with its interval, e.g. ``27.5 [19.4, 37.4]``."""
    if entry.value is None or entry.ci_low is None or entry.ci_high is None:
        return percent(entry)
    return f"{percent(entry)} [{100 * entry.ci_low:.1f}, {100 * entry.ci_high:.1f}]"


def decimal(entry: Measure) -> str:
    """A number between 0 and 1 to three places."""
    return UNDEFINED if entry.value is None else f"{entry.value:.3f}"


def by_variant(result: Result) -> dict[str, list[tuple[Condition, Row]]]:
    """Rows of each BatchNorm variant, clean first.

    Strength 0, which checks read, is left out, and so are corruptions: `remarks` tells their mean.
    """
    rows: dict[str, list[tuple[Condition, Row]]] = {}
    for row in result.rows:
        condition = result.condition_of(row)
        if condition == CLEAN or (condition.strength > 0 and condition.kind != "corruption"):
            rows.setdefault(row.batchnorm, []).append((condition, row))
    return rows


def remarks(result: Result) -> list[str]:
    """What the reader must know beside the numbers, a sentence each."""
    data = result.data
    groups = by_variant(result)
    first = result.clean_rows()[0]
    noun = "known patient" if unknown_patients(result, "test") else "patient"
    of = "patients unknown" if first.n_patients is None else plural(first.n_patients, noun)
    sentences = [
        f"{plural(first.n, 'test image')}, {of}; {data.source}, split {data.split}; "
        f"positive: {result.task.positive_name or 'none'}.",
    ]
    if data.overlap.get("sentence"):
        sentences.append(str(data.overlap["sentence"]))
    sentences += _recognition(result, groups)
    sentences += _corruption(result)
    sentences.append(_LEGEND)
    if len(groups) > 1:
        sentences.append(_VARIANT_LEGEND)
    reasons = {
        f"{name}: {entry.reason}"
        for group in groups.values()
        for _, row in group
        for name, entry in row.metrics.items()
        # That no patient is known is said above.
        if entry.value is None and name != RECOGNITION
    }
    if reasons:
        sentences.append(f"{UNDEFINED} is undefined ({'; '.join(sorted(reasons))}).")
    return sentences


def _recognition(
    result: Result, groups: Mapping[str, Sequence[tuple[Condition, Row]]]
) -> list[str]:
    """The patient recognition rate, clean and where an attack leaves least, per variant."""
    said = []
    for variant, rows in groups.items():
        found = [
            (condition, row.metrics[RECOGNITION])
            for condition, row in rows
            if RECOGNITION in row.metrics and row.metrics[RECOGNITION].value is not None
        ]
        texts = [f"clean {percent_with_interval(entry)}" for c, entry in found if c == CLEAN]
        attacked = [pair for pair in found if pair[0].kind == "attack"]
        if attacked:
            condition, least = min(attacked, key=lambda pair: pair[1].value or 0.0)
            texts.append(f"{condition.text} {percent_with_interval(least)}")
        named = f", {variant_name(variant)}" if len(groups) > 1 else ""
        if texts:
            said.append(f"Patient recognition rate{named}: {'; '.join(texts)}.")
    if said:
        said.append(
            "It is the mean over patients of the share of their images that are right: clean, and "
            "under the attack that leaves least."
        )
    return said


def _corruption(result: Result) -> list[str]:
    """The mean corruption error, per variant."""
    said = []
    for error in result.corruption_errors:
        if error.corruption is not None:
            continue
        several = len(result.model.batchnorm) > 1
        named = f", {variant_name(error.batchnorm)}" if several else ""
        tried = [result.by_id[name] for name in error.conditions]
        count = plural(len({condition.series for condition in tried}), "corruption")
        # A job has the same severities of all.
        grades = amounts([c for c in tried if c.series == tried[0].series])
        rate = percent_with_interval(error.error)
        said.append(f"Mean corruption error{named}: {rate} ({count}, {grades}).")
    return said


def _cells(condition: Condition, row: Row, mark: str) -> list[str]:
    metrics = row.metrics
    beside = f" {mark}" if mark else ""
    fooled = metrics.get("attack_success")
    return [
        condition.label,
        "" if condition.clean else condition.amount,
        f"{percent_with_interval(metrics['accuracy'])}{beside}",
        percent(metrics["sensitivity"]),
        percent(metrics["specificity"]),
        decimal(metrics["auroc"]),
        decimal(metrics["ece"]),
        percent(fooled) if condition.kind == "attack" and fooled is not None else "",
    ]


def console_table(result: Result, notes: Notes | None = None) -> Table:
    """The end-of-job table for a terminal of 80 to 100 columns.

    A line whose numbers a failed check makes suspect has a red sign beside its accuracy.

    Args:
        result: content of ``results.json``.
        notes: hands out the signs; ``None``: the first is a.
    """
    signs = notes or Notes(titles([result]))
    title = Text(shown(result.run.experiment), "bold")
    caption = Text(justify="left")
    if result.data.synthetic:
        title.append("  SYNTHETIC", "bold red")
        caption.append(f"{SYNTHETIC_WARNING}\n", "bold red")
    used: list[str] = []
    table = Table(title=title, caption=caption, box=box.SIMPLE, padding=0, show_edge=False)
    for i, heading in enumerate(_HEADINGS):
        # Where a terminal is narrower still, digits go to the next line rather than get lost.
        table.add_column(heading, justify="right" if i else "left", overflow="fold")
    for variant, rows in by_variant(result).items():
        table.add_section()
        named = variant_name(variant if result.model.has_batchnorm else None)
        table.add_row(Text(shown(named), "bold"))
        suspect = of_result(result, variant)
        for condition, row in rows:
            used.append(signs.mark(suspect.get(condition, ())))
            table.add_row(*map(signs.coloured, _cells(condition, row, used[-1])))
    lines = [
        *map(signs.coloured, signs.legend(used)),
        *(Text(shown(said)) for said in remarks(result)),
    ]
    caption.append(Text("\n").join(lines))
    return table
