"""What Li & Liu 2023 report (Bioengineering 10(8):973), and how a study's data differ from theirs.

Tables 2 and 3 of the paper hold per cent; the counts are those that give them: 98.72 % of 156
images is 154. Intervals are computed from the counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bcadv.metrics.intervals import Interval, wilson
from bcadv.study.jobs import Job

COUNTS: Mapping[str, Mapping[str, int]] = {
    "train": {"benign": 515, "malignant": 722},
    "val": {"benign": 64, "malignant": 90},
    "test": {"benign": 65, "malignant": 91},
}
"""Table 1: images per part and class."""

EPOCHS = 400


@dataclass(frozen=True)
class Reported:
    """A rate of the paper: k right of n images."""

    k: int
    n: int

    @property
    def value(self) -> float:
        return self.k / self.n

    @property
    def interval(self) -> Interval:
        """Wilson's, at 95 %; the paper has none."""
        return wilson(self.k, self.n)


class Figures(NamedTuple):
    """Of the original model and of the defence."""

    original: Reported
    defence: Reported


CLEAN = Figures(Reported(154, 156), Reported(153, 156))
"""Table 2: accuracy on the test images."""

MALIGNANT = Figures(Reported(90, 91), Reported(88, 91))
"""Table 3: accuracy on the malignant test images without attack."""

ATTACKED = Figures(Reported(10, 91), Reported(25, 91))
"""Table 3: the same under FGSM, at an epsilon that is not stated."""


def unlike_the_papers_data(jobs: Iterable[Job]) -> tuple[str, ...]:
    """Why numbers of these jobs cannot be held against the paper's: the data, a sentence each."""
    return _of_all_or_some([_of_data(job) for job in jobs])


def _of_all_or_some(sentences: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Each sentence once; marked where it does not hold of every job."""
    times = Counter(sentence for of_job in sentences for sentence in of_job)
    return tuple(
        sentence if count == len(sentences) else f"For some of the jobs: {sentence}"
        for sentence, count in times.items()
    )


def _of_data(job: Job) -> list[str]:
    data = job.result.data
    if data.synthetic:
        return [
            "The images are synthetic: nothing here can be compared with the paper, or says "
            "anything about patients."
        ]
    if data.source != "breakhis":
        return [f"The images are not BreakHis, the paper's data, but {', '.join(job.classes)}."]
    said = []
    if data.split != "paper":
        said.append(
            f"The split is “{data.split}”; the paper's is by image, which lets a patient stand "
            "on both sides and is easier."
        )
    if {part: dict(of) for part, of in data.counts.items()} != COUNTS:
        total, papers = _sum(data.counts), _sum(COUNTS)
        said.append(
            f"The images are not the paper's: {total} in all, the paper has {papers}"
            + (
                ", and other classes."
                if {name for of in data.counts.values() for name in of} != set(COUNTS["test"])
                else "."
            )
        )
    return said


def _sum(counts: Mapping[str, Mapping[str, int]]) -> int:
    return sum(n for of in counts.values() for n in of.values())


def unlike_the_papers_training(jobs: Iterable[Job]) -> tuple[str, ...]:
    """Where these jobs trained otherwise than the paper, a sentence each."""
    return _of_all_or_some([_of_training(job) for job in jobs])


def _of_training(job: Job) -> list[str]:
    said = []
    weights, epochs = job.shape.get("model.weights"), job.shape.get("trainer.max_epochs")
    if weights is None:
        said.append("The paper's models were pre-trained on chest X-rays, these were not.")
    if epochs is not None and epochs != EPOCHS:
        said.append(f"The paper trained for {EPOCHS} epochs, these models for {epochs} at most.")
    return said
