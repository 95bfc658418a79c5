"""One estimate from several seeds: their mean, with an interval by patients.

Several models, one per seed, answer overlapping sets of test images. The estimate is the mean over
the seeds. Its interval takes each patient with all its images in the test sets of all seeds, so
that neither the images of a patient nor the repetitions of an image count as independent. The
models are taken as they are: what other seeds would have given is not part of the interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcadv.metrics.clinical import Floats, Integers, Mask
from bcadv.metrics.clustered import share_interval
from bcadv.metrics.intervals import Interval
from bcadv.metrics.paired import Gap, paired_gap
from bcadv.metrics.ranking import (
    auroc_influence,
    auroc_interval,
    mean_ranking,
    ranking,
)

OfSeeds: TypeAlias = Mapping[int, NDArray[np.generic]]
"""Position of a seed -> a number for each of its images, (n,)."""


@dataclass(frozen=True)
class Clusters:
    """Patients and images of several test sets under common numbers.

    Attributes:
        numbers: per seed, the number of each image's patient, (n,).
        count: of patients in all.
        images: per seed, the number of each image, (n,).
        n_images: in all.
    """

    numbers: tuple[Integers, ...]
    count: int
    images: tuple[Integers, ...]
    n_images: int

    def of_patients(self, values: OfSeeds) -> Floats:
        """Mean over the seeds of the sum over each patient's images, (patients,)."""
        return _mean_of_sums(self.numbers, self.count, values)

    def of_images(self, values: OfSeeds) -> Floats:
        """Mean over the seeds of what stands for each image, (images,)."""
        return _mean_of_sums(self.images, self.n_images, values)


def _mean_of_sums(numbers: Sequence[Integers], count: int, values: OfSeeds) -> Floats:
    sums = [np.bincount(numbers[s], of_seed, count) for s, of_seed in values.items()]
    mean: Floats = np.mean(sums, axis=0)
    return mean


def clusters(
    groups: Sequence[NDArray[np.object_]], names: Sequence[NDArray[np.object_]]
) -> Clusters:
    """Numbers the patients and the images of several test sets.

    Args:
        groups: per seed, the patient of each image, (n,); the same name is the same patient.
        names: per seed, the name of each image, (n,); the same name is the same image.
    """
    ends = np.cumsum([len(group) for group in groups])[:-1]
    patients, n_patients = pd.factorize(np.concatenate(list(groups)))
    images, n_images = pd.factorize(np.concatenate(list(names)))
    return Clusters(
        tuple(np.split(patients.astype(np.int64), ends)),
        len(n_patients),
        tuple(np.split(images.astype(np.int64), ends)),
        len(n_images),
    )


def pooled_rate(found: Clusters, hit: Mapping[int, Mask], base: Mapping[int, Mask]) -> Interval:
    """95 % interval of the mean over seeds of a share of images.

    Args:
        found: the patients.
        hit: per seed, whether each image is counted, (n,); only where ``base`` is true.
        base: out of which, at least one.
    """
    n = {s: int(mask.sum()) for s, mask in base.items()}
    values = {s: float(hit[s].sum()) / n[s] for s in n}
    moved = {s: (hit[s] - values[s] * base[s]) / n[s] for s in n}
    return share_interval(
        float(np.mean(list(values.values()))),
        found.of_patients({s: hit[s] / n[s] for s in n}),
        found.of_patients({s: base[s] / n[s] for s in n}),
        influence=found.of_patients(moved),
        independent=float(np.square(found.of_images(moved)).sum()),
    )


def pooled_auroc(
    found: Clusters, score: Mapping[int, NDArray[np.floating]], positive: Mapping[int, Mask]
) -> Interval:
    """95 % interval of the mean over seeds of an AUROC.

    Args:
        found: the patients.
        score: per seed, higher means more positive, (n,).
        positive: per seed, (n,); both kinds must occur.
    """
    of = [ranking(score[s], positive[s], found.numbers[s], found.count) for s in score]
    moved = {s: auroc_influence(score[s], positive[s])[1] for s in score}
    independent = float(np.square(found.of_images(moved)).sum())
    return auroc_interval(mean_ranking(of, independent))


def pooled_gap(found: Clusters, right: Mapping[int, Mask], reference: Mapping[int, Mask]) -> Gap:
    """95 % interval, and test, of the mean over seeds of a difference of accuracy.

    Args:
        found: the patients.
        right: per seed, whether the model is right on each image, (n,).
        reference: whether the one that it is compared with is.
    """
    n = {s: len(mask) for s, mask in right.items()}
    gain = {s: right[s].astype(np.float64) - reference[s] for s in n}
    moved = {s: (gain[s] - gain[s].mean()) / n[s] for s in n}
    return paired_gap(
        found.of_patients({s: (right[s] & ~reference[s]) / n[s] for s in n}),
        found.of_patients({s: (reference[s] & ~right[s]) / n[s] for s in n}),
        found.of_patients({s: np.full(n[s], 1 / n[s]) for s in n}),
        influence=found.of_patients(moved),
        independent=float(np.square(found.of_images(moved)).sum()),
    )
