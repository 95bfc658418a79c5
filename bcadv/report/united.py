"""Pictures of one trained model from all the jobs that attacked it.

A sweep over epsilon attacks the same model once per job. What one job calls the smallest epsilon
that turns an image is only the smallest that it tried; the predictions of all of them decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from pyarrow import ArrowException

from bcadv.errors import BcadvError
from bcadv.metrics.fall import ends, order_of_fall
from bcadv.report.gallery import Triplet, example_triplets, gallery_triplets
from bcadv.study.jobs import Job
from bcadv.report.pictures import Examples, load_examples, spread_attacks
from bcadv.report.style import spread
from bcadv.results.files import EXAMPLES, GALLERY, PREDICTIONS
from bcadv.results.schema import CLEAN, Condition, ordered

_COLUMNS = ("image_id", "index", "target", "condition", "prediction", "batchnorm")


def same_model(job: Job, jobs: Sequence[Job]) -> list[Job]:
    """The jobs that tested the model of this one, with pictures of the same BatchNorm choice."""

    def model(of: Job) -> tuple[str | None, ...]:
        training, pictures = of.result.training, of.result.pictures
        return training.fingerprint, training.checkpoint, of.weights, of.pictured, pictures.series

    return [other for other in jobs if model(other) == model(job)]


def first_and_last(jobs: Sequence[Job]) -> tuple[list[Triplet], list[Triplet]]:
    """The first and the last images to be turned, of those that a job kept a picture of.

    Args:
        jobs: of one trained model; at least one.

    Returns:
        At most three images on either side; an image at the epsilon that all the jobs together say.

    Raises:
        BcadvError: a file cannot be read.
    """
    kept: dict[tuple[str, str], Triplet] = {}
    for job in jobs:
        if (job.folder / GALLERY).is_file():
            for triplet in (t for side in gallery_of(job) for t in side):
                kept[triplet.name, triplet.condition.id] = triplet
    fallen = _order(jobs)
    found = []
    for image, condition, flipped in zip(
        fallen["image_id"], fallen["condition"], fallen["flipped"], strict=True
    ):
        picture = kept.get((str(image), str(condition)))
        if picture is not None:
            remark = "the weakest tried that flips it" if flipped else "never flipped"
            found.append(replace(picture, remark=remark))
    first, last = ends(len(found))
    return found[:first], found[len(found) - last :]


def gallery_of(job: Job) -> tuple[list[Triplet], list[Triplet]]:
    """A job's images that flip first, and those that flip last; see `gallery_triplets`."""
    return gallery_triplets(job.unharmed(GALLERY), len(job.classes), job.result.by_id)


def examples_of(job: Job) -> Examples:
    """A job's example images; see `load_examples`."""
    return load_examples(job.unharmed(EXAMPLES), len(job.classes))


def _order(jobs: Sequence[Job]) -> pd.DataFrame:
    """When each image falls, over all the jobs."""
    conditions: dict[str, Condition] = {}
    frames = []
    for job in jobs:
        of_job = {c.id: c for c in job.pictured_conditions().values() if c.strength > 0}
        conditions |= of_job
        path = job.unharmed(PREDICTIONS)
        columns = [*_COLUMNS, *(f"p_{k}" for k in range(len(job.classes)))]
        wanted = [
            ("batchnorm", "==", job.pictured),
            ("condition", "in", [CLEAN.id, *of_job]),
        ]
        try:
            frames.append(pd.read_parquet(path, columns=columns, filters=wanted))
        except (OSError, ValueError, ArrowException) as error:
            raise BcadvError(f"{path} cannot be read ({error}); run the job again.") from error
    together = pd.concat(frames, ignore_index=True).drop_duplicates(["image_id", "condition"])
    order = order_of_fall(together, ordered(set(conditions.values())))
    names = together.drop_duplicates("index").set_index("index")["image_id"]
    return order.assign(image_id=order["index"].map(names))


def attacked_examples(jobs: Sequence[Job]) -> list[list[Triplet]]:
    """One image of each class under at most three strengths of the attack, over all the jobs.

    Raises:
        BcadvError: a file cannot be read, or no job kept examples.
    """
    found: dict[Condition, list[Triplet]] = {}
    for job in jobs:
        if (job.folder / EXAMPLES).is_file():
            examples, known = examples_of(job), job.result.by_id
            for attack in spread_attacks(examples, known):
                condition = known[str(examples["condition"][attack])]
                found[condition] = example_triplets(examples, attack, known)
    if not found and not any((job.folder / EXAMPLES).is_file() for job in jobs):
        raise BcadvError("No job kept example images.")
    return [found[condition] for condition in spread(ordered(set(found)), 3)]
