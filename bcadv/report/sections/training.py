"""How the training went: accuracy against epoch, the paper's figure 5."""

from __future__ import annotations

from functools import partial

import pandas as pd

from bcadv.errors import BcadvError
from bcadv.report.document import Block, Bullets, Pictures, Text
from bcadv.report.draft import Draft, slug
from bcadv.report.figures import epochs
from bcadv.results.files import HISTORY
from bcadv.study.history import read_history
from bcadv.study.jobs import Job
from bcadv.study.prose import spread

_MOST = 6


def blocks(draft: Draft) -> list[Block]:
    """A figure for each way of training; BatchNorm variants share theirs."""
    trainings: dict[str, dict[str, Job]] = {}
    for arm in draft.study.arms:
        for job in arm.jobs:  # jobs that share a trained model have one history
            trainings.setdefault(arm.training, {})[job.result.training.fingerprint] = job
    pictures, unread = [], []
    for name in spread(list(trainings), _MOST):
        known, sentences = _histories(list(trainings[name].values()))
        unread += sentences
        if known:
            pictures.append(
                draft.album.add(
                    slug("fig5_epochs", name),
                    partial(epochs, name, known, synthetic=draft.study.synthetic),
                    alt=f"Training and validation accuracy of {name} against epoch, "
                    f"{len(known)} seed(s).",
                )
            )
    made: list[Block] = [Pictures(tuple(pictures))] if pictures else []
    made = made or [Text("No job kept a training history that can be read.")]
    if len(trainings) > _MOST:
        made.append(Text(f"{_MOST} of {len(trainings)} trainings are drawn."))
    return [*made, Bullets(tuple(unread))] if unread else made


def _histories(jobs: list[Job]) -> tuple[list[pd.DataFrame], list[str]]:
    """The histories of a training's seeds, and a sentence on those that cannot be read."""
    read, unread = [], []
    for job in jobs:
        if not (job.folder / HISTORY).is_file():
            unread.append(f"There is no {HISTORY} of {job.name}.")
            continue
        try:
            read.append(read_history(job.unharmed(HISTORY)))
        except BcadvError as error:
            unread.append(str(error))
    return read, unread
