"""The example images of one model under every strength that its jobs tried, and pictures of them.

A sweep over epsilon attacks the same model once per job, and each job keeps the same images.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bcadv.errors import BcadvError
from bcadv.report.pictures import Examples, examples_of, same_model
from bcadv.report.style import spread
from bcadv.results.schema import CLEAN, Condition
from bcadv.study.jobs import Job

_MOST_CLASSES, _MOST_STRENGTHS = 4, 16
_SIDES = (224, 192, 160, 128, 96, 64)
_PER_CLASS, _IN_ALL = 440_000, 1_400_000
_QUALITY = 80
_SINGLE = 1 + 1e-4  # a change between pixels in single precision may come out a little too large

Uris: TypeAlias = list[list[tuple[str, str]]]
"""Per condition and image, data URIs of the image and of its change."""


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


def factor_of(shots: Sequence[Shot], i: int) -> float:
    """By how much the change of image `i` can be amplified at every strength and fit the range.

    One factor for all strengths, so that the change is seen to grow; a whole number from 1.
    """
    largest = max(float(np.abs(shot.image[i] - shots[0].image[i]).max()) for shot in shots)
    room = 0.5 * _SINGLE / max(largest, 0.5 / 255 / 100)
    return float(room // 1) if room >= 1 else 0.5


def amplified(change: NDArray[Any], factor: float) -> NDArray[Any]:
    """A change, (3, H, W), as a picture in [0, 1]: mid-grey where there is none."""
    return 0.5 + factor * change


def uris(shots: Sequence[Shot], factors: Sequence[float]) -> Uris:
    """Pictures as large as the page can bear, and no larger than the images.

    Args:
        shots: clean first.
        factors: of the change of each image.
    """
    allowed = min(_PER_CLASS * len(factors), _IN_ALL)
    side = _SIDES[0]
    while True:
        made = [
            [
                (
                    _uri(image, side, Image.Resampling.LANCZOS),
                    # Averaging would hide a change that turns its sign from pixel to pixel.
                    _uri(amplified(image - clean, by), side, Image.Resampling.NEAREST),
                )
                for image, clean, by in zip(shot.image, shots[0].image, factors, strict=True)
            ]
            for shot in shots
        ]
        total = sum(len(uri) for row in made for pair in row for uri in pair)
        if total <= allowed or side == _SIDES[-1]:
            return made
        fits = (s for s in _SIDES if s < side and total * s**2 <= allowed * side**2)
        side = next(fits, _SIDES[-1])


def _uri(pixels: NDArray[Any], side: int, how: Image.Resampling) -> str:
    grey_levels = np.clip(np.moveaxis(pixels, 0, -1) * 255, 0, 255).round().astype(np.uint8)
    picture = Image.fromarray(grey_levels)
    scale = min(1.0, side / max(picture.size))
    picture = picture.resize([max(1, round(scale * n)) for n in picture.size], how)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
