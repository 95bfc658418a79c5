"""What the sentences of a verdict are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bcadv.report.arms import Arm
from bcadv.report.differences import Difference
from bcadv.report.jobs import Job
from bcadv.report.numbers import Number
from bcadv.report.prose import plural
from bcadv.report.study import Study
from bcadv.results.schema import Condition


@dataclass(frozen=True)
class Facts:
    """A study, looked up.

    Attributes:
        study: the study.
        differences: of each arm from its undefended one, clean and attacked.
    """

    study: Study
    differences: dict[str, list[Difference]]

    def number(self, arm: Arm, key: Condition, metric: str = "accuracy") -> Number | None:
        """A measure of an arm, if it was measured."""
        return self.study.numbers.get((arm.name, key, metric))


def patients_text(count: int | None, jobs: Sequence[Job]) -> str:
    """``of 12 patients``, with a word where the patients of some test images are unknown.

    Args:
        count: of known patients; ``None`` gives no text.
        jobs: that tested the images.
    """
    if count is None:
        return ""
    if not any(unknown_patients(job, "test") for job in jobs):
        return f" of {plural(count, 'patient')}"
    return f" of {plural(count, 'known patient')}, the patient of others being unknown"


def unknown_patients(job: Job, part: str) -> int:
    """Number of images of a part whose patient is unknown."""
    return int((job.result.data.overlap.get("unknown_patients") or {}).get(part, 0))


def commonest_share(jobs: Sequence[Job]) -> float:
    """Share of the commonest class among the test images, mean over the jobs."""
    shares = []
    for job in jobs:
        counts = job.result.data.counts["test"].values()
        shares.append(float(max(counts) / sum(counts)))
    return sum(shares) / len(shares)
