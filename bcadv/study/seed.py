"""One seed's answers by patients, as a mean over seeds needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcadv.metrics.calibration import Gaps, gaps
from bcadv.metrics.clinical import Floats
from bcadv.metrics.patients import shares_right
from bcadv.metrics.pooled import Clusters
from bcadv.study.answers import Images
from bcadv.study.models import Cell, Model

RATES = ("accuracy", "robust_accuracy", "accuracy_positive", "sensitivity", "specificity")
"""Metrics that are k of n images."""


def about(metric: str, images: Images) -> NDArray[np.bool_]:
    """Images that a metric is about, (n,)."""
    if metric in {"sensitivity", "accuracy_positive"}:
        return images.positive
    return ~images.positive if metric == "specificity" else np.ones_like(images.positive)


def patients_of(metric: str, models: Sequence[Model]) -> int | None:
    """How many known patients a metric rests on; ``None`` where none of its images has one."""
    known = [
        model.images.group[about(metric, model.images) & model.images.of_known] for model in models
    ]
    return len(np.unique(np.concatenate(known).astype(str))) or None


@dataclass(frozen=True)
class Seed:
    """One seed's answers under the conditions that are pooled."""

    model: Model
    clean: Cell
    cells: Sequence[Cell]
    found: Clusters
    position: int

    @property
    def _target(self) -> NDArray[np.int16]:
        return self.model.images.target[:, None]

    def _stacked(self, name: str) -> NDArray[Any]:
        """An array of the answers, (images, conditions)."""
        return np.stack([getattr(cell.answers, name) for cell in self.cells], axis=1)

    def hits(self, metric: str, condition: int) -> NDArray[np.bool_]:
        """Images that a rate counts, (images,)."""
        images, answers = self.model.images, self.cells[condition].answers
        right = answers.prediction == images.target
        hit: NDArray[np.bool_] = {
            "sensitivity": answers.called_positive,
            "specificity": ~answers.called_positive,
            "robust_accuracy": right & (self.clean.answers.prediction == images.target),
        }.get(metric, right)
        return hit & self.base(metric)

    def base(self, metric: str) -> NDArray[np.bool_]:
        """Images that a metric is about, (images,)."""
        return about(metric, self.model.images)

    def shares_right(self, conditions: Sequence[int]) -> Floats:
        """Share of each known patient's images, (patients, conditions); nan for other patients."""
        known = self.model.images.of_known
        right = np.stack([self.cells[j].answers.prediction for j in conditions], axis=1)
        return shares_right(
            (right == self._target)[known],
            self.found.numbers[self.position][known],
            self.found.count,
        )

    def gaps(self, conditions: Sequence[int]) -> Gaps:
        """What the calibration error under some conditions sums up."""
        right = self._stacked("prediction") == self._target
        return gaps(
            self._stacked("confidence")[:, conditions],
            right[:, conditions],
            self.found.numbers[self.position],
            self.found.count,
        )
