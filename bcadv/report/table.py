"""The table at the end of a job: one line per BatchNorm variant, perturbation and epsilon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from bcadv.report.escape import markdown_text
from bcadv.text import shown

_VARIANTS = {
    "as_trained": "BN as trained",
    "clean": "BN on clean",
    "noisy": "BN on noisy",
}
UNDEFINED = "–"

_HEADINGS = ("image", "/255", "eps", "accuracy", "sens.", "spec.", "AUROC", "ECE", "fooled")
_LEGEND = (
    "Per cent, except AUROC and ECE; [95 % interval]. fooled: of the images right when clean, the "
    "share now wrong."
)
_VARIANT_LEGEND = (
    "BN: BatchNorm statistics as trained, or re-estimated on clean or on noisy training images."
)
SYNTHETIC_WARNING = "SYNTHETIC TISSUE: these numbers say nothing about medicine."


def percent(entry: Mapping[str, Any]) -> str:
    """A rate in per cent, without the sign."""
    return UNDEFINED if entry["value"] is None else f"{100 * entry['value']:.1f}"


def percent_with_interval(entry: Mapping[str, Any]) -> str:
    """A rate in per cent with its interval, e.g. ``27.5 [19.4, 37.4]``."""
    if entry["value"] is None:
        return UNDEFINED
    return f"{percent(entry)} [{100 * entry['ci_low']:.1f}, {100 * entry['ci_high']:.1f}]"


def decimal(entry: Mapping[str, Any]) -> str:
    """A number between 0 and 1 to three places."""
    return UNDEFINED if entry["value"] is None else f"{entry['value']:.3f}"


def perturbation_name(row: Mapping[str, Any]) -> str:
    """``clean``, or the perturbation with its norm where that is not the usual infinity."""
    if row["perturbation"] == "none":
        return "clean"
    norm = f" L{row['norm']}" if row["norm"] not in {"inf", "-"} else ""
    return f"{row['perturbation'].replace('_', ' ')}{norm}"


def variant_name(variant: str) -> str:
    """Short name of a BatchNorm variant."""
    return _VARIANTS.get(variant, f"BN {variant}")


def by_variant(results: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of each BatchNorm variant, clean first; epsilon 0 is left out, being the clean row."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in [*results["clean"], *results["perturbed"]]:
        if row["perturbation"] == "none" or row["eps_px"] > 0:
            rows.setdefault(row["batchnorm"], []).append(row)
    return rows


def is_synthetic(results: Mapping[str, Any]) -> bool:
    """Whether the images are made up."""
    return bool(results["data"]["synthetic"])


def positive_classes(results: Mapping[str, Any]) -> str:
    """Names of the classes that count as positive, from their numbers."""
    data = results["data"]
    return ", ".join(data["classes"][number] for number in data["positive"])


def notes(results: Mapping[str, Any]) -> list[str]:
    """What the reader must know beside the numbers, a sentence each."""
    data = results["data"]
    groups = by_variant(results)
    rows = [row for group in groups.values() for row in group]
    n, patients = results["clean"][0]["n"], results["clean"][0]["n_patients"]
    of_patients = "patients unknown" if patients is None else f"{patients} patients"
    sentences = [
        f"{n} test images, {of_patients}; {data['source']}, split {data['split']}; "
        f"positive: {positive_classes(results)}.",
    ]
    if data["overlap"].get("sentence"):
        sentences.append(str(data["overlap"]["sentence"]))
    sentences.append(_LEGEND)
    if len(groups) > 1:
        sentences.append(_VARIANT_LEGEND)
    reasons = {
        f"{name}: {entry['reason']}"
        for row in rows
        for name, entry in row["metrics"].items()
        if entry["value"] is None
    }
    if reasons:
        sentences.append(f"{UNDEFINED} is undefined ({'; '.join(sorted(reasons))}).")
    return sentences


def _cells(row: Mapping[str, Any]) -> list[str]:
    metrics = row["metrics"]
    clean = row["perturbation"] == "none"
    return [
        perturbation_name(row),
        "0" if clean else f"{row['eps_px']:g}",
        "0" if clean else f"{row['eps']:.5f}",
        percent_with_interval(metrics["accuracy"]),
        percent(metrics["sensitivity"]),
        percent(metrics["specificity"]),
        decimal(metrics["auroc"]),
        decimal(metrics["ece"]),
        "" if clean else percent(metrics["attack_success"]),
    ]


def console_table(results: Mapping[str, Any]) -> Table:
    """The end-of-job table for a terminal of 80 to 100 columns.

    Args:
        results: contents of ``results.json``.
    """
    title = Text(shown(str(results["run"]["experiment"])), "bold")
    caption = Text(justify="left")
    if is_synthetic(results):
        title.append("  SYNTHETIC", "bold red")
        caption.append(f"{SYNTHETIC_WARNING}\n", "bold red")
    caption.append("\n".join(map(shown, notes(results))))
    table = Table(title=title, caption=caption, box=box.SIMPLE, padding=0, show_edge=False)
    for i, heading in enumerate(_HEADINGS):
        # Where a terminal is narrower still, digits go to the next line rather than get lost.
        table.add_column(heading, justify="right" if i else "left", overflow="fold")
    for variant, rows in by_variant(results).items():
        table.add_section()
        table.add_row(Text(shown(variant_name(variant)), "bold"))
        for row in rows:
            table.add_row(*(Text(shown(cell)) for cell in _cells(row)))
    return table


def markdown_table(results: Mapping[str, Any]) -> str:
    """The same table in Markdown, with its notes below."""
    lines = [f"**{SYNTHETIC_WARNING}**", ""] if is_synthetic(results) else []
    lines += markdown_head(_HEADINGS)
    for variant, rows in by_variant(results).items():
        rest = " |" * len(_HEADINGS)
        lines.append(f"| **{markdown_text(variant_name(variant))}**{rest}")
        lines += [markdown_line(_cells(row)) for row in rows]
    lines += ["", *(f"- {markdown_text(sentence)}" for sentence in notes(results))]
    return "\n".join(lines) + "\n"


def markdown_head(headings: Sequence[str]) -> list[str]:
    """Heading and rule of a Markdown table; the first column is left-aligned, the rest right."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return [markdown_line(headings), f"| {' | '.join(rule)} |"]


def markdown_line(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(map(markdown_text, cells))} |"
