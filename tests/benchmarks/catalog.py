"""What can be asked for: a benchmark is a module of this package and an entry here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

BENCHMARKS: Mapping[str, Mapping[str, str]] = {
    "cli": {
        "help": "the command's --help, and whether torch is imported for it",
        "mistake": "a mistake on the command line, and whether torch is imported for it",
    },
    "start": {
        "cold": "a job to its first training batch, images yet to decode",
        "warm": "the same, images decoded before",
        "tracked": "the same with MLflow",
    },
    "memory": {
        "growth": "peak memory of a large evaluation against a small one's",
        "attacks": "the same at twice the images, with attacks of each kind",
    },
    "decode": {"pillow": "the first decoding of a data set against bare Pillow"},
    "fgsm": {
        "torchattacks": "an FGSM curve against torchattacks, and how many predictions agree",
        "art": "the same against ART",
        "foolbox": "the same against foolbox",
    },
    "pgd": {
        "torchattacks": "a PGD-20 curve against torchattacks, and both robust accuracies",
        "foolbox": "the same against foolbox",
    },
    "apgd": {"adv_lib": "an APGD-100 curve against adv-lib, and both robust accuracies"},
    "minimal_norm": {
        "linear": "L2 distances found against exact ones of linear models, beside libraries",
        "digits": "L-inf distances found against proved ones of small networks, beside libraries",
    },
    "curve": {
        "pgd": "a curve of all radii from one FMN run against our PGD-20 at eight radii",
        "torchattacks": "the same against torchattacks' PGD-20",
    },
    "cw": {
        "foolbox": "C&W's distances and time against foolbox",
        "torchattacks": "the same against torchattacks",
        "adv-lib": "the same against adv-lib",
    },
    "worst": {
        "two": "the preset standard on two classes against APGD-CE, APGD-CW and FAB",
        "many": "the preset standard on ten classes against AutoAttack",
    },
    "square": {"pyautoattack": "Square with 1,000 queries against auto-attack's, success beside"},
    "precision": {
        "loop": "attacks that look in bfloat16 against float32, on images that stand",
        "curve": "the same at eight strengths, fewer images in every pass",
    },
    "training": {
        "bare": "steps in pl.Trainer against the bare model's",
        "noise": "steps with noise injected against steps without",
    },
    "gpu": {"paper": "the paper's whole training on a GPU, extrapolated from a few epochs"},
    "sweep": {
        "again": "a sweep of which nothing is missing, against its first run",
        "reuse": "a sweep that trains each model once, against training for each job",
    },
    "tracking": {"sqlite": "many jobs logging to one store, and whether anything is lost"},
    "report": {
        "many": "the report over many result folders, and its peak memory",
        "sweep": "size of the page for one sweep",
        "one": "the report on a single job",
    },
}
"""Benchmark -> the rows that can be asked for one by one -> what each measures."""


def select(asked: Sequence[str]) -> dict[str, frozenset[str]]:
    """The rows to measure of each benchmark.

    Args:
        asked: ``benchmark`` or ``benchmark:row``, in the order of measuring; none means all.

    Raises:
        ValueError: one of them is not in the catalog.
    """
    chosen: dict[str, frozenset[str]] = {}
    for word in asked or BENCHMARKS:
        name, colon, row = word.partition(":")
        if name not in BENCHMARKS:
            raise ValueError(f"unknown: {word}; choose from {', '.join(BENCHMARKS)}")
        rows = BENCHMARKS[name]
        if colon and row not in rows:
            known = ", ".join(f"{name}:{each}" for each in rows)
            raise ValueError(f"unknown: {word}; choose from {name}, {known}")
        chosen[name] = chosen.get(name, frozenset()) | frozenset([row] if colon else rows)
    return chosen
