"""Accuracy against epoch, as in fig. 5 of Li & Liu 2023, over seeds."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bcadv.errors import BcadvError
from bcadv.report.figures import read_history
from bcadv.study.jobs import Job
from bcadv.study.study import Study
from bcadv.report.style import BLUE, PANEL, VERMILLION, new_figure
from bcadv.results.files import HISTORY


@dataclass(frozen=True)
class Training:
    """One way of training, over its seeds."""

    name: str
    jobs: tuple[Job, ...]


def trainings(study: Study) -> list[Training]:
    """The ways of training in the order of the arms; BatchNorm variants share theirs.

    Jobs that share a trained model count once: they have one history.
    """
    found: dict[str, dict[str, Job]] = {}
    for arm in study.arms:
        jobs = found.setdefault(arm.training, {})
        for job in arm.jobs:
            jobs[job.result.training.fingerprint] = job
    return [Training(name, tuple(jobs.values())) for name, jobs in found.items()]


def histories(training: Training) -> tuple[list[pd.DataFrame], list[str]]:
    """The histories of a training's seeds, and a sentence on those that cannot be read."""
    read, unread, absent = [], [], []
    for job in training.jobs:
        if not (job.folder / HISTORY).is_file():
            absent.append(job.name)
            continue
        try:
            read.append(read_history(job.unharmed(HISTORY)))
        except BcadvError as error:
            unread.append(str(error))
    if absent:
        unread.append(f"{training.name}: there is no {HISTORY} of {', '.join(absent)}.")
    return read, unread


def epochs_figure(name: str, seeds: list[pd.DataFrame], *, synthetic: bool) -> Figure:
    """Training and validation accuracy against epoch.

    Args:
        name: of the training.
        seeds: history of each seed; several are thin lines beside their mean.
        synthetic: whether the images are made up.
    """
    figure = new_figure(*PANEL, f"Training: {name}", synthetic=synthetic, fontsize=10)
    axes = figure.subplots()
    many = len(seeds) > 1
    for part, label, color, dashes in (
        ("train", "training", BLUE, "-"),
        ("val", "validation", VERMILLION, "--"),
    ):
        column = f"{part}_accuracy"
        known = [seed[["epoch", column]].dropna() for seed in seeds if column in seed]
        known = [seed for seed in known if len(seed)]
        if not known:
            continue
        if many:
            for seed in known:
                axes.plot(seed["epoch"], 100 * seed[column], color=color, lw=0.5, alpha=0.6)
        # Seeds of unequal length would make the mean jump where one ends.
        mean = pd.concat([seed.set_index("epoch")[column] for seed in known], axis=1, join="inner")
        axes.plot(
            mean.index,
            100 * mean.mean(axis=1),
            label=f"{label}, mean of {len(known)} seeds" if many else label,
            linewidth=1.8,
            color=color,
            linestyle=dashes,
        )
    axes.set_ylim(-3, 103)
    axes.set_xlabel("epoch", fontsize=9)
    axes.set_ylabel("accuracy (%)", fontsize=9)
    axes.tick_params(labelsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8.5, loc="lower right")
    return figure
