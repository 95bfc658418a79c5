"""Pictures of one trained model from all the jobs that attacked it.

A sweep over epsilon attacks the same model once per job. What one job calls the smallest epsilon
that turns an image is only the smallest that it tried; the predictions of all of them decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from bcadv.errors import BcadvError
from bcadv.metrics.fall import CLEAN, ends, order_of_fall
from bcadv.report.figures import EXAMPLES
from bcadv.report.gallery import GALLERY, Triplet, example_triplets, gallery_triplets
from bcadv.report.jobs import PREDICTIONS, Job
from bcadv.report.pictures import load_examples, spread_attacks
from bcadv.report.style import spread

_COLUMNS = (
    "image_id",
    "index",
    "target",
    "perturbation",
    "eps_px",
    "prediction",
    "batchnorm",
)


def same_model(job: Job, jobs: Sequence[Job]) -> list[Job]:
    """The jobs that tested the model of this one, with pictures of the same BatchNorm choice."""

    def model(of: Job) -> tuple[str, str, str, str]:
        training = of.results["training"]
        return training["fingerprint"], training["checkpoint"], of.weights, of.pictured

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
    kept: dict[tuple[str, float], Triplet] = {}
    for job in jobs:
        if (job.folder / GALLERY).is_file():
            sides = gallery_triplets(job.folder / GALLERY, len(job.results["data"]["classes"]))
            for triplet in (t for side in sides for t in side):
                kept[triplet.name, triplet.eps_px] = triplet
    fallen = _order(jobs)
    found = []
    for image, eps_px, flipped in zip(
        fallen["image_id"], fallen["eps_px"], fallen["flipped"], strict=True
    ):
        picture = kept.get((str(image), float(eps_px)))
        if picture is not None:
            remark = "the smallest tried that flips it" if flipped else "never flipped"
            found.append(replace(picture, remark=remark))
    first, last = ends(len(found))
    return found[:first], found[len(found) - last :]


def _order(jobs: Sequence[Job]) -> pd.DataFrame:
    """When each image falls, over all the jobs."""
    frames = []
    for job in jobs:
        path = job.folder / PREDICTIONS
        probabilities = (f"p_{k}" for k in range(len(job.results["data"]["classes"])))
        try:
            table = pd.read_parquet(path, columns=[*_COLUMNS, *probabilities])
        except (OSError, ValueError) as error:
            raise BcadvError(f"{path} cannot be read ({error}); run the job again.") from error
        frames.append(table[table["batchnorm"] == job.pictured])
    together = pd.concat(frames, ignore_index=True)
    together = together.drop_duplicates(["image_id", "perturbation", "eps_px"])
    attacks = [name for name in together["perturbation"].unique() if "gaussian" not in str(name)]
    attack = next((str(name) for name in attacks if name != CLEAN), CLEAN)
    order = order_of_fall(together, attack)
    names = together.drop_duplicates("index").set_index("index")["image_id"]
    return order.assign(image_id=order["index"].map(names))


def attacked_examples(jobs: Sequence[Job]) -> list[list[Triplet]]:
    """One image of each class under at most three strengths of the attack, over all the jobs.

    Raises:
        BcadvError: a file cannot be read, or no job kept examples.
    """
    found: dict[float, list[Triplet]] = {}
    for job in jobs:
        if (job.folder / EXAMPLES).is_file():
            examples = load_examples(job.folder / EXAMPLES, len(job.results["data"]["classes"]))
            for attack in spread_attacks(examples["eps_px"]):
                found[float(examples["eps_px"][attack])] = example_triplets(examples, attack)
    if not found and not any((job.folder / EXAMPLES).is_file() for job in jobs):
        raise BcadvError("No job kept example images.")
    return [found[eps_px] for eps_px in spread(sorted(found), 3)]
