"""Photographs: noise, and images before and after the attack (the paper's figures 4 and 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from bcadv.errors import BcadvError
from bcadv.report.document import Block, Picture, Pictures, Text
from bcadv.report.draft import Draft, slug
from bcadv.report.words import say
from bcadv.results.files import EXAMPLES, GALLERY
from bcadv.study.arms import Arm
from bcadv.study.jobs import Job
from bcadv.study.photographs import (
    Triplet,
    examples_of,
    first_and_last,
    gallery_of,
    one_per_class,
    same_model,
)
from bcadv.study.shots import shots_of

_T = TypeVar("_T")


@dataclass(frozen=True)
class Source(Generic[_T]):
    """What a file of a job held, and the training that the job belongs to."""

    training: str
    job: Job
    content: _T

    @property
    def text(self) -> str:
        """For a sentence."""
        job = self.job
        batchnorm = job.pictured if job.result.model.has_batchnorm else None
        return say(
            "source", training=self.training, batchnorm=batchnorm, job=job.name, seed=job.seed
        )


def blocks(draft: Draft) -> list[Block]:
    """Noise beside the original; attacked images; those that flip first and last."""
    return [*_noise(draft), *_attacked(draft), *_flips(draft)]


def first_source(
    arms: Iterable[Arm], name: str, read: Callable[[Job], _T]
) -> tuple[Source[_T] | None, list[Block]]:
    """The newest job of the first of these arms whose file can be read; a word on those before."""
    unread: list[Block] = []
    for arm in arms:
        for job in reversed(arm.jobs):
            if not (job.folder / name).is_file() and name not in job.result.files:
                continue
            try:
                return Source(arm.training, job, read(job)), unread
            except BcadvError as error:
                unread.append(Text(str(error), strong=True))
    return None, unread


def reference_first(draft: Draft) -> list[Arm]:
    """The arms, the one that others are compared with first."""
    return sorted(draft.study.arms, key=lambda arm: arm is not draft.study.reference)


def _middle_first(arms: list[Arm]) -> list[Arm]:
    """Of several sigmas the middle one first."""
    sigmas = sorted({arm.sigma or 0 for arm in arms})
    return sorted(arms, key=lambda arm: (arm.sigma or 0) != sigmas[len(sigmas) // 2])


def _noise(draft: Draft) -> list[Block]:
    defended = _middle_first([arm for arm in draft.study.arms if arm.sigma])
    found, unread = first_source([*defended, *draft.study.arms], EXAMPLES, examples_of)
    if found is None or not float(found.content["sigma"]):
        return unread
    examples, job = found.content, found.job
    pictures = []
    for i in one_per_class(examples["target"]):
        clean, noisy = examples["image"][i] / 255, examples["noisy"][i]
        caption = say(
            "noise",
            truth=job.classes[int(examples["target"][i])],
            number=int(examples["index"][i]),
            sigma=float(examples["sigma"]),
        )
        panels = [np.concatenate([p, _magnified(p)], axis=1) for p in (clean, noisy)]
        name = _named(job, "fig4_gaussian_noise", str(i))
        pictures.append(draft.album.photographs(name, panels, alt=caption, caption=caption))
    return [*unread, Text(f"Gaussian noise. {found.text}"), Pictures(tuple(pictures))]


def _magnified(image: np.ndarray) -> np.ndarray:
    """The middle of an image, (3, H, W), four times as large and half as high."""
    height, width = image.shape[1:]
    rows, columns = max(1, height // 8), max(1, width // 4)
    top, left = (height - rows) // 2, (width - columns) // 2
    part = image[:, top : top + rows, left : left + columns].repeat(4, 1).repeat(4, 2)
    # Sides that four does not divide leave a rim.
    return np.pad(part, ((0, 0), (0, 0), (0, width - part.shape[2])), constant_values=1.0)


def _attacked(draft: Draft) -> list[Block]:
    found, unread = first_source(reference_first(draft), EXAMPLES, examples_of)
    if found is None:
        return [*unread, Text("No job kept example images, so no attack is shown.")]
    try:
        alike = same_model(found.job, draft.study.jobs)
        shots, target, index = shots_of([j for j in alike if (j.folder / EXAMPLES).is_file()])
    except BcadvError as error:
        return [*unread, Text(str(error), strong=True)]
    if len(shots) == 1:
        return [*unread, Text("The example images were not attacked.")]
    clean, shot = shots[0], shots[1 + (len(shots) - 1) // 2]
    triplets = [
        Triplet(
            name=f"test image no. {int(index[i])}",
            clean=clean.image[i],
            attacked=shot.image[i],
            target=int(target[i]),
            condition=shot.condition,
            remark="",
            called_clean=int(clean.prediction[i]),
            called_attacked=int(shot.prediction[i]),
            prob_clean=clean.probability[i],
            prob_attacked=shot.probability[i],
        )
        for i in range(len(target))
    ]
    made = _strips(draft, found.job, "fig6_attacked", triplets)
    said = f"Test images, one of a class, under {shot.condition.text}. {found.text}"
    return [*unread, Text(said), Pictures(made)]


def _flips(draft: Draft) -> list[Block]:
    """Images that flip first and last: of the undefended model and of one that is defended."""
    made: list[Block] = []
    defended = _middle_first([arm for arm in draft.study.arms if not arm.defence.none])
    undefended = [arm for arm in reference_first(draft) if arm.defence.none]
    for what, arms in (("undefended", undefended), ("defended", defended)):
        found, unread = first_source(arms, GALLERY, gallery_of)
        made += unread
        if found is None:
            continue
        try:
            sides = first_and_last(same_model(found.job, draft.study.jobs))
        except BcadvError as error:
            made.append(Text(str(error), strong=True))
            continue
        for side, triplets in zip(("first", "last"), sides, strict=True):
            # Two of each: more would weigh much and show the same.
            strips = _strips(draft, found.job, f"gallery_{what}_{side}", triplets[:2])
            if strips:
                said = f"Images that flip {side}{' or never' if side == 'last' else ''}."
                made += [Text(f"{said} {found.text}"), Pictures(strips)]
    return made


def _strips(draft: Draft, job: Job, name: str, triplets: Sequence[Triplet]) -> tuple[Picture, ...]:
    """Original, change and attacked image side by side, with the model's answers."""

    def answer(triplet: Triplet, called: int, probability: np.ndarray) -> tuple[str, str, str]:
        right = "right" if called == triplet.target else "WRONG"
        return job.classes[called], f"{probability[called]:.3f}", right

    strips = []
    for number, triplet in enumerate(triplets, 1):
        change, factor, largest = triplet.change
        caption = say(
            "strip",
            name=triplet.name,
            truth=job.classes[triplet.target],
            condition=triplet.condition,
            remark=triplet.remark,
            clean=answer(triplet, triplet.called_clean, triplet.prob_clean),
            attacked=answer(triplet, triplet.called_attacked, triplet.prob_attacked),
            factor=factor,
            largest=largest,
        )
        panels = (triplet.clean, change, triplet.attacked)
        named = _named(job, name, str(number))
        strips.append(draft.album.photographs(named, panels, alt=caption, caption=caption))
    return tuple(strips)


def _named(job: Job, *parts: str) -> str:
    """A file's name; it says so where the image is made up, for files travel alone."""
    return slug("synthetic" if job.synthetic else "", *parts)
