"""The sections of the report that show figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Generic, TypeVar

from matplotlib.figure import Figure
from numpy.typing import NDArray

from bcadv.errors import BcadvError
from bcadv.report.document import Album, Block, Bullets, Paragraph, Picture, Pictures
from bcadv.report.epochs import epochs_figure, histories, trainings
from bcadv.report.gallery import Triplet, triplets_figure
from bcadv.report.heatmap import heat_maps
from bcadv.study.jobs import Job
from bcadv.report.pictures import noise_figure
from bcadv.report.robustness import METRICS, curves, groups, robustness_figure
from bcadv.study.study import Arm, Study
from bcadv.report.style import spread
from bcadv.report.table import variant_name
from bcadv.report.united import (
    attacked_examples,
    examples_of,
    first_and_last,
    gallery_of,
    same_model,
)
from bcadv.results.files import EXAMPLES, GALLERY

_MOST_TRAININGS = 6
_T = TypeVar("_T")


def robustness(study: Study, album: Album) -> list[Block]:
    """Curves of every metric under everything that was tried at two strengths or more."""
    blocks: list[Block] = []
    divided = groups(study)
    for series in curves(study):
        name = series.label
        blocks.append(Paragraph(_how_to_read(study, name)))
        drawn = [
            tuple(
                album.add(
                    _slug("robustness", metric, series.name, group.title),
                    partial(robustness_figure, study, group, series, metric),
                    alt=f"{title} against the strength of {name}, "
                    f"a line for each of {_listed(arm.name for arm in group.arms)}. "
                    "The numbers are in robustness.csv.",
                )
                for group in divided
            )
            for metric, title in METRICS.items()
        ]
        # Several groups stand side by side, a row for each metric.
        rows = drawn if len(divided) > 1 else [tuple(chain.from_iterable(drawn))]
        blocks += [Pictures(row) for row in rows]
    hidden = [arm.name for group in divided for arm in group.hidden]
    if blocks and hidden:
        blocks.append(
            Paragraph(f"Not drawn, for more lines cannot be told apart: {_listed(hidden)}.")
        )
    return blocks or [
        Paragraph("Nothing was tried at two strengths or more, so there is no curve.")
    ]


def _how_to_read(study: Study, name: str) -> str:
    seeds = max((len(arm.seeds) for arm in study.arms), default=0)
    bands = all(len(group.arms) <= 3 for group in groups(study))
    how = "bands" if bands else "upright bars"
    if seeds < 2:
        return f"Under {name}. Each line is one training; {how} are 95 % intervals."
    single = "thin lines are single seeds" if bands else "single seeds are not drawn"
    return f"Under {name}. Each line is all seeds together; {how} are 95 % intervals and {single}."


def heat(study: Study, album: Album) -> list[Block]:
    """Accuracy by sigma and epsilon, where both were varied."""
    blocks: list[Block] = []
    for attack in (series for series in curves(study) if series.is_attack):
        name = attack.label
        pictures = tuple(
            album.add(
                _slug("heatmap", attack.name, variant),
                figure,
                alt=f"Accuracy in per cent: a row for each sigma of the training noise, a column "
                f"for each epsilon of {name}; {variant_name(variant)}.",
                caption="σ: standard deviation of the training noise, pixels in [0, 1]. "
                "All seeds together.",
            )
            for variant, figure in heat_maps(study, attack).items()
        )
        if pictures:
            blocks.append(Pictures(pictures))
    return blocks


def noise(study: Study, album: Album) -> list[Block]:
    """Gaussian noise beside the original (fig. 4)."""
    defended = [arm for arm in study.arms if arm.sigma]
    found, unread = _first([*_middle_first(defended), *study.arms], EXAMPLES, examples_of)
    blocks: list[Block] = [*unread]
    if found is None:
        return [*blocks, Paragraph("No job kept example images, so Gaussian noise is not shown.")]
    job, examples = found.job, found.content
    sigma = float(examples["sigma"])
    if not sigma:
        return [*blocks, Paragraph("The example images have noise of σ = 0: there is none to see.")]
    draw = partial(
        noise_figure,
        *(examples, job.classes, "Gaussian noise"),
        synthetic=_synthetic(job),
    )
    trained_on_it = any(job in arm.jobs for arm in defended)
    picture = album.add(
        "fig4_gaussian_noise",
        draw,
        alt=f"Test images beside themselves with Gaussian noise of sigma {sigma:g}; "
        "the framed part is shown enlarged in the corner.",
        caption=f"{'The defence was trained on n' if trained_on_it else 'N'}oise of σ = {sigma:g}, "
        f"that is {255 * sigma:g} grey levels of 255. The framed part stands enlarged in the "
        f"corner. {_source(study, job)}",
    )
    return [*blocks, Pictures((picture,))]


def epochs(study: Study, album: Album) -> list[Block]:
    """Accuracy against epoch of both models (fig. 5)."""
    every = trainings(study)
    shown = spread(every, _MOST_TRAININGS)
    pictures: list[Picture] = []
    unread: list[str] = []
    for number, training in enumerate(shown, 1):
        known, sentences = histories(training)
        unread += sentences
        if not known:
            continue
        pictures.append(
            album.add(
                _slug("fig5_epochs", str(number), training.name),
                partial(
                    epochs_figure,
                    *(training.name, known),
                    synthetic=any(map(_synthetic, training.jobs)),
                ),
                alt=f"Training and validation accuracy of {training.name} against epoch, "
                f"{len(known)} seed(s).",
                caption="Thin: single seeds." if len(known) > 1 else "",
            )
        )
    blocks: list[Block] = [Pictures(tuple(pictures))] if pictures else []
    if not pictures:
        blocks.append(
            Paragraph("No job kept a training history that can be read, so no curve is drawn.")
        )
    if unread:
        blocks.append(Bullets(tuple(unread)))
    if hidden := [training.name for training in every if training not in shown]:
        blocks.append(Paragraph(f"Not drawn, for lack of space: {_listed(hidden)}."))
    return blocks


def attacked(study: Study, album: Album) -> list[Block]:
    """Original, change and attacked image with probabilities (fig. 6)."""
    found, unread = _first(_reference_first(study), EXAMPLES, examples_of)
    if found is None:
        return [*unread, Paragraph("No job kept example images, so no attack is shown.")]
    job = found.job
    try:
        examples = attacked_examples(same_model(job, study.jobs))
    except BcadvError as error:
        return [*unread, Paragraph(str(error))]
    pictures = tuple(
        album.add(
            f"fig6_attacked_{number}",
            partial(_triplets, job, triplets, triplets[0].condition.text),
            alt=f"Original, amplified change and attacked image, "
            f"{triplets[0].condition.text}: {_described(triplets, job)}",
        )
        for number, triplets in enumerate(examples, 1)
    )
    if not pictures:
        return [*unread, Paragraph("The example images were not attacked.")]
    return [
        *unread,
        Paragraph(
            "One test image of each class as it is and under attack; in between what the attack "
            f"added, amplified by the factor stated (grey: no change). "
            f"{_model(found)} {_source(study, job)}"
        ),
        Pictures(pictures),
    ]


def flips(study: Study, album: Album) -> list[Block]:
    """Images that flip first and last: of the undefended model and of one that is defended."""
    blocks: list[Block] = []
    defended = _middle_first([arm for arm in study.arms if not arm.defence.none])
    undefended = [arm for arm in _reference_first(study) if arm.defence.none]
    for what, arms in (("undefended", undefended), ("defended", defended)):
        found, unread = _first(arms, GALLERY, gallery_of)
        blocks += unread
        if found is None:
            continue
        job = found.job
        try:
            sides = first_and_last(same_model(job, study.jobs))
        except BcadvError as error:
            blocks.append(Paragraph(str(error)))
            continue
        pictures = tuple(
            album.add(
                f"gallery_{what}_{side}",
                partial(_triplets, job, triplets, f"{found.training}: {side} to flip"),
                alt=f"Images that flip {side}: {_described(triplets, job)}",
            )
            for side, triplets in zip(("first", "last"), sides, strict=True)
            if triplets
        )
        if pictures:
            blocks.append(Paragraph(f"{_model(found)} {_source(study, job)}"))
            blocks.append(Pictures(pictures))
        else:
            blocks.append(
                Paragraph(
                    f"{found.training}: no picture was kept of an image that is right when clean."
                )
            )
    return blocks or [Paragraph("No job kept a gallery of images that flip.")]


def _triplets(job: Job, triplets: list[Triplet], title: str) -> Figure:
    classes = job.classes
    return triplets_figure(triplets, classes, title, synthetic=_synthetic(job))


def _synthetic(job: Job) -> bool:
    return job.synthetic


def _model(found: _Found[Any]) -> str:
    variant = found.job.pictured if found.job.result.model.has_batchnorm else None
    return f"The model: {found.training}, {variant_name(variant)}."


def _described(triplets: Iterable[Triplet], job: Job) -> str:
    """The captions once more, for those who do not see them."""
    classes = job.classes

    def called(k: int, probability: NDArray[Any]) -> str:
        return f"{classes[k]} {probability[k]:.3f}"

    return "; ".join(
        f"{t.name}, truly {classes[t.target]}: {called(t.called_clean, t.prob_clean)} when clean, "
        f"{called(t.called_attacked, t.prob_attacked)} under {t.condition.text}"
        for t in triplets
    )


@dataclass(frozen=True)
class _Found(Generic[_T]):
    """What a file of a job held, and the training that the job belongs to."""

    training: str
    job: Job
    content: _T


def _first(
    arms: Iterable[Arm], name: str, read: Callable[[Job], _T]
) -> tuple[_Found[_T] | None, list[Block]]:
    """The newest job of the first of these arms whose file can be read; a word on those before."""
    unread: list[Block] = []
    for arm in arms:
        for job in reversed(arm.jobs):
            if not (job.folder / name).is_file() and name not in job.result.files:
                continue
            try:
                return _Found(arm.training, job, read(job)), unread
            except BcadvError as error:
                unread.append(Paragraph(str(error)))
    return None, unread


def _middle_first(arms: list[Arm]) -> list[Arm]:
    """Of several sigmas the middle one first."""
    if not arms:
        return []
    sigmas = sorted({arm.sigma or 0 for arm in arms})
    middle = sigmas[len(sigmas) // 2]
    return sorted(arms, key=lambda arm: arm.sigma != middle)


def _reference_first(study: Study) -> list[Arm]:
    return sorted(study.arms, key=lambda arm: arm is not study.reference)


def _source(study: Study, job: Job) -> str:
    others = len(same_model(job, study.jobs)) - 1
    more = f" and {others} more of the same model" if others else ""
    return f"From {job.name}{more}, seed {job.seed}."


def _listed(names: Iterable[str]) -> str:
    return "; ".join(names)


def _slug(*parts: str) -> str:
    """A name for files and anchors made of words."""
    kept = "_".join(part for part in parts if part).lower().replace("σ", "sigma")
    return "".join(c if c.isascii() and (c.isalnum() or c in "._") else "_" for c in kept)
