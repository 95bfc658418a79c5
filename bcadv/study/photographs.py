"""The test images that jobs kept: as they are, with noise, and attacked.

``examples.npz`` holds k test images and m strengths of the pictured attack:

==================  =====================  =====================================================
array               shape, type            meaning
==================  =====================  =====================================================
image               (k, 3, H, W) uint8     the clean image exactly as the model saw it, times 255
noisy               (k, 3, H, W) float32   the image with training noise
sigma               () float               standard deviation of that noise, in [0, 1] units
adversarial         (m, k, 3, H, W) f32    the attacked image, in [0, 1]
condition           (m,) str               id of the condition that it was attacked under
target              (k,) int               true class
index               (k,) int               number of the image in the data set
prediction          (k,) int               the class that the clean image is called
prob_clean          (k, K) float           the model's probabilities for it
prediction_adversarial, prob_adversarial   the same for the attacked images, (m, k), (m, k, K)
==================  =====================  =====================================================

``gallery.npz`` holds k test images that are right when clean:

==================  =====================  =====================================================
array               shape, type            meaning
==================  =====================  =====================================================
image               (k, 3, H, W) uint8     the clean image, times 255
adversarial         (k, 3, H, W) float32   the attacked image, in [0, 1]
condition           (k,) str               id of the condition that it was attacked under: the
                                           weakest that flips it, or the strongest tried
flipped             (k,) bool              whether any epsilon flips it
first               (k,) bool              among the first to flip, or among the last
target              (k,) int               true class
image_id            (k,) str               name of the image
prediction          (k,) int               the class that the clean image is called
prob_clean          (k, K) float           the model's probabilities for it
prediction_adversarial, prob_adversarial   the same for the attacked image
==================  =====================  =====================================================

A change is shown as ``adversarial - image / 255``; an ``image`` rounded to grey levels after
cropping would show rounding instead of attack. A sweep over epsilon attacks the same model once per
job, so what "the weakest that flips it" is, the predictions of all the jobs decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import ArrowException

from bcadv.errors import BcadvError
from bcadv.metrics.fall import ends, order_of_fall
from bcadv.results.condition import CLEAN, Condition, ordered
from bcadv.results.files import EXAMPLES, GALLERY, PREDICTIONS
from bcadv.study.arrays import Array, Arrays, load_arrays
from bcadv.study.jobs import Job

Examples: TypeAlias = Arrays

EXAMPLE_ARRAYS = {
    "image": Array(("k", 3, "H", "W"), "u1"),
    "noisy": Array(("k", 3, "H", "W"), "f"),
    "sigma": Array((), "f", 0),
    "adversarial": Array(("m", "k", 3, "H", "W"), "f", 0, 1),
    "condition": Array(("m",), "U"),
    "target": Array(("k",), "i", 0),
    "index": Array(("k",), "i", 0),
    "prediction": Array(("k",), "i", 0),
    "prob_clean": Array(("k", "K"), "f", 0, 1),
    "prediction_adversarial": Array(("m", "k"), "i", 0),
    "prob_adversarial": Array(("m", "k", "K"), "f", 0, 1),
}
GALLERY_ARRAYS = {
    "image": Array(("k", 3, "H", "W"), "u1"),
    "adversarial": Array(("k", 3, "H", "W"), "f", 0, 1),
    "condition": Array(("k",), "U"),
    "flipped": Array(("k",), "b"),
    "first": Array(("k",), "b"),
    "target": Array(("k",), "i", 0),
    "image_id": Array(("k",), "U"),
    "prediction": Array(("k",), "i", 0),
    "prob_clean": Array(("k", "K"), "f", 0, 1),
    "prediction_adversarial": Array(("k",), "i", 0),
    "prob_adversarial": Array(("k", "K"), "f", 0, 1),
}
_SHOWN_IMAGES = 3
_COLUMNS = ("image_id", "index", "target", "condition", "prediction", "batchnorm")


@dataclass(frozen=True)
class Triplet:
    """An image before and after an attack.

    Attributes:
        name: of the image.
        clean: (3, H, W) in [0, 1].
        attacked: the same.
        target: true class.
        condition: that it was attacked under.
        remark: stands beside its strength.
        called_clean: class that the clean image is called.
        called_attacked: class that the attacked image is called.
        prob_clean: (K,) the model's probabilities for the clean image.
        prob_attacked: (K,) for the attacked image.
    """

    name: str
    clean: NDArray[Any]
    attacked: NDArray[Any]
    target: int
    condition: Condition
    remark: str
    called_clean: int
    called_attacked: int
    prob_clean: NDArray[Any]
    prob_attacked: NDArray[Any]

    @property
    def change(self) -> tuple[NDArray[Any], float, float]:
        """What the attack added, amplified until its largest is black or white; grey is none.

        Returns:
            The picture, the factor (0: no change) and the largest change in grey levels.
        """
        added = self.attacked - self.clean
        largest = float(np.abs(added).max())
        factor = 0.5 / largest if largest > 0 else 0.0
        return 0.5 + factor * added, factor, 255 * largest


def load_examples(path: Path, classes: int) -> Examples:
    """Reads ``examples.npz``.

    Args:
        path: of the file.
        classes: number of classes of the job.

    Raises:
        BcadvError: if the file cannot be read or an array is not what it should be.
    """
    examples = _load(path, EXAMPLE_ARRAYS, classes)
    if not len(examples["image"]):
        raise BcadvError(f"{path} holds no image; run the job again.")
    return examples


def _load(path: Path, table: Mapping[str, Array], classes: int) -> Arrays:
    """The arrays of a file, all of whose classes have a name."""
    arrays = load_arrays(path, table, {"K": classes})
    for name in ("target", "prediction", "prediction_adversarial"):
        if arrays[name].size and arrays[name].max() >= classes:
            raise BcadvError(
                f"The array {name} of {path} has class {arrays[name].max()}, the job has {classes} "
                "classes from 0; run the job again."
            )
    return arrays


def one_per_class(target: NDArray[Any]) -> list[int]:
    """Positions of the first image of each class, at most a few."""
    first = np.unique(target, return_index=True)[1]
    return [int(i) for i in first[:_SHOWN_IMAGES]]


def gallery_triplets(
    path: Path, classes: int, known: Mapping[str, Condition]
) -> tuple[list[Triplet], list[Triplet]]:
    """Reads ``gallery.npz``.

    Args:
        path: of the file.
        classes: number of classes of the job.
        known: the job's conditions by their ids.

    Returns:
        The images that flip first, and those that flip last or never.

    Raises:
        BcadvError: if the file cannot be read or an array is not what it should be.
    """
    kept = _load(path, GALLERY_ARRAYS, classes)
    sides: tuple[list[Triplet], list[Triplet]] = ([], [])
    for i in range(len(kept["image"])):
        flipped, name = bool(kept["flipped"][i]), str(kept["condition"][i])
        if name not in known:
            raise BcadvError(
                f"{path} is about {name}, which the job's results do not know; run the job again."
            )
        triplet = Triplet(
            name=str(kept["image_id"][i]),
            clean=kept["image"][i] / 255,
            attacked=kept["adversarial"][i],
            target=int(kept["target"][i]),
            condition=known[name],
            remark="the weakest tried that flips it" if flipped else "never flipped",
            called_clean=int(kept["prediction"][i]),
            called_attacked=int(kept["prediction_adversarial"][i]),
            prob_clean=kept["prob_clean"][i],
            prob_attacked=kept["prob_adversarial"][i],
        )
        sides[0 if kept["first"][i] else 1].append(triplet)
    return sides


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
