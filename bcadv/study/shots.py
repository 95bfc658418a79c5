"""The example images of one model under every strength that its jobs tried.

A sweep over epsilon attacks the same model once per job, and each job keeps the same images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcadv.errors import BcadvError
from bcadv.results.condition import CLEAN, Condition
from bcadv.study.jobs import Job
from bcadv.study.photographs import Examples, examples_of, same_model
from bcadv.study.prose import spread

_MOST_CLASSES, _MOST_STRENGTHS = 4, 16


@dataclass(frozen=True)
class Shot:
    """The same n images under one condition, exactly as the model answered them.

    Attributes:
        condition: the attack and its strength, or clean.
        image: (n, 3, H, W) in [0, 1].
        prediction: (n,) the classes that they are called.
        probability: (n, K).
    """

    condition: Condition
    image: NDArray[Any]
    prediction: NDArray[Any]
    probability: NDArray[Any]


def shots_of(jobs: Sequence[Job]) -> tuple[list[Shot], NDArray[Any], NDArray[Any]]:
    """An image of each class, clean and under the strengths of the pictured attack.

    Of each class it is the first image that is right when clean, or else the first.

    Args:
        jobs: with examples; the first decides on the model, the images and the attack.

    Returns:
        By rising strength, clean first; the true classes of the images, those that count as the
        disease first, at most four; their numbers in the data set.

    Raises:
        BcadvError: a file cannot be read, or is about a condition that its job does not know.
    """
    lead = examples_of(jobs[0])
    chosen = _chosen(lead, jobs[0].result.task.positive)
    attacked: dict[Condition, Shot] = {}
    for job in same_model(jobs[0], jobs):
        for shot in _attacked(job, lead, chosen):
            attacked.setdefault(shot.condition, shot)
    clean = [lead[name][chosen] for name in ("image", "prediction", "prob_clean")]
    shots = sorted(attacked.values(), key=lambda shot: shot.condition.strength)
    shots = [Shot(CLEAN, clean[0] / 255, *clean[1:]), *spread(shots, _MOST_STRENGTHS)]
    return shots, lead["target"][chosen], lead["index"][chosen]


def _chosen(examples: Examples, positive: Sequence[int]) -> list[int]:
    """Positions of the images: both sides of the decision where there are too many classes."""
    target = examples["target"].tolist()
    right = examples["prediction"] == examples["target"]
    first: dict[int, int] = {}
    for i in sorted(range(len(target)), key=lambda i: not right[i]):
        first.setdefault(target[i], i)
    ill = [first[c] for c in sorted(first) if c in positive]
    well = [first[c] for c in sorted(first) if c not in positive]
    turns = [i for pair in zip_longest(ill, well) for i in pair if i is not None]
    kept = turns[:_MOST_CLASSES]
    return [i for i in (*ill, *well) if i in kept]


def _attacked(job: Job, lead: Examples, chosen: Sequence[int]) -> Iterator[Shot]:
    """The chosen images of another file, where it holds the very same ones."""
    examples = examples_of(job)
    places = []
    for i in chosen:
        same = np.flatnonzero(examples["index"] == lead["index"][i])
        if not same.size or not np.array_equal(examples["image"][same[0]], lead["image"][i]):
            return
        places.append(int(same[0]))
    for n, name in enumerate(map(str, examples["condition"])):
        if name not in job.result.by_id:
            raise BcadvError(
                f"The example images of {job.folder} are of {name}, which the job's results do "
                "not know; run the job again."
            )
        condition = job.result.by_id[name]
        if condition.series == job.result.pictures.series and condition.strength > 0:
            of = ("adversarial", "prediction_adversarial", "prob_adversarial")
            yield Shot(condition, *(examples[key][n, places] for key in of))
