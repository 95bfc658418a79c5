"""A test image of each class as the attack grows: what a reader moves through by hand.

``slider.html.j2`` shows it. Every number is of the exact arrays in ``examples.npz``; the pictures
are compressed, for nobody computes on what is only looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcadv.report.encoded import factor_of, uris
from bcadv.results.condition import Condition
from bcadv.results.files import EXAMPLES
from bcadv.study.fall import Consequence
from bcadv.study.jobs import Job
from bcadv.study.shots import Shot, shots_of
from bcadv.text import shown

_MOST_BARS = 5


@dataclass(frozen=True)
class Bar:
    """The model's probability of a class, or of all those that have no bar of their own."""

    name: str
    probability: float
    called: bool = False

    @property
    def text(self) -> str:
        """In per cent; 0 and 100 only where they are exact."""
        if 0 < self.probability < 0.0005:
            return "< 0.1 %"
        return "> 99.9 %" if 0.9995 <= self.probability < 1 else f"{100 * self.probability:.1f} %"


@dataclass(frozen=True)
class View:
    """An image under one condition.

    Attributes:
        truth: its class.
        index: its number in the data set.
        image: data URI.
        change: data URI of what the attack added, `factor` times; mid-grey is no change.
        factor: the same under every condition.
        largest: change of any pixel, in grey levels of 255.
        called: the class that the model calls it.
        right: whether that is its class.
        bars: in the order of the model's outputs.
    """

    truth: str
    index: int
    image: str
    change: str
    factor: float
    largest: float
    called: str
    right: bool
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Frame:
    """Everything at one strength.

    Attributes:
        amount: of the attack, e.g. ``ε = 4/255``.
        clean: whether nothing was done.
        views: an image of each class.
        consequence: ``None`` where it is unknown.
        strip: whether it is one of the few shown in print and without script.
        mark: the sign beside the consequence where a failed check makes it suspect.
    """

    amount: str
    clean: bool
    views: tuple[View, ...]
    consequence: Consequence | None
    strip: bool
    mark: str = ""


@dataclass(frozen=True)
class Slider:
    """Frames from clean to the strongest attack.

    Attributes:
        label: of the attack, e.g. ``FGSM``.
        frames: by rising strength, the clean one first.
        absent: classes without an image.
        model: that is pictured, e.g. ``undefended, seed 0``.
        several: whether other attacks were tried too.
        seeds: of the models that the consequences are the mean of.
        synthetic: whether the images are made up.
    """

    label: str
    frames: tuple[Frame, ...]
    absent: tuple[str, ...]
    model: str
    several: bool
    seeds: int
    synthetic: bool


def slider(
    jobs: Sequence[Job],
    consequence: Callable[[Condition], Consequence | None],
    mark: Callable[[Condition], str] = lambda condition: "",
) -> Slider | None:
    """Unites the example images that the jobs of one model kept.

    Args:
        jobs: the first that kept any decides on the model, the images and the attack (that of its
            pictures); jobs of other models are left out.
        consequence: of a condition, for BatchNorm statistics as pictured (`Job.pictured`).
        mark: the sign beside it.

    Returns:
        ``None`` where no image was kept under attack.

    Raises:
        BcadvError: the example images of a job are damaged.
    """
    kept = [job for job in jobs if (job.folder / EXAMPLES).is_file()]
    if not kept:
        return None
    lead, (shots, target, index) = kept[0], shots_of(kept)
    if len(shots) == 1:
        return None
    names = [shown(name) for name in lead.classes]
    factors = [factor_of(shots, i) for i in range(len(target))]
    strip, pictures = _strip(shots, target), uris(shots, factors)
    frames = []
    for n, shot in enumerate(shots):
        views = tuple(
            View(
                truth=names[target[i]],
                index=int(index[i]),
                image=pictures[n][i][0],
                change=pictures[n][i][1],
                factor=factors[i],
                largest=255 * float(np.abs(shot.image[i] - shots[0].image[i]).max()),
                called=names[shot.prediction[i]],
                right=bool(shot.prediction[i] == target[i]),
                bars=tuple(_bars(shots, n, i, int(target[i]), names)),
            )
            for i in range(len(target))
        )
        amount = shot.condition.amount if n else "0 (clean)"
        text = f"{shots[-1].condition.symbol} = {amount}"
        found, sign = consequence(shot.condition), mark(shot.condition)
        frames.append(Frame(text, not n, views, found, n in strip, sign if found else ""))
    attacks = {c.series for job in jobs for c in job.result.conditions if c.kind == "attack"}
    return Slider(
        label=shown(shots[-1].condition.label),
        frames=tuple(frames),
        absent=tuple(name for c, name in enumerate(names) if c not in target),
        model=shown(f"{lead.defence.label}, seed {lead.seed}"),
        several=len(attacks) > 1,
        seeds=len({job.seed for job in jobs}),
        synthetic=lead.synthetic,
    )


def _strip(shots: Sequence[Shot], target: NDArray[Any]) -> set[int]:
    """Numbers of the clean frame, the first at which an image flips, the middle, the strongest."""
    right = [shot.prediction == target for shot in shots]
    flips = [n for n in range(1, len(shots)) if (right[0] & ~right[n]).any()]
    return {0, *flips[:1], len(shots) // 2, len(shots) - 1}


def _bars(
    shots: Sequence[Shot], n: int, i: int, target: int, names: Sequence[str]
) -> Iterator[Bar]:
    """The probabilities of image `i` in frame `n`: the same classes in all frames."""
    of_image = np.stack([shot.probability[i] for shot in shots])
    called = [int(shot.prediction[i]) for shot in shots]

    def rank(c: int) -> tuple[bool, int, float]:
        return c != target, -called.count(c), -float(of_image[:, c].max())

    likeliest = sorted(range(len(names)), key=rank)
    own = likeliest if len(names) <= _MOST_BARS else likeliest[: _MOST_BARS - 1]
    for c in sorted(own):
        yield Bar(names[c], float(of_image[n, c]), called=c == called[n])
    if rest := [c for c in range(len(names)) if c not in own]:
        together = float(of_image[n, rest].sum())
        yield Bar(f"{len(rest)} others together", together, called=called[n] in rest)
