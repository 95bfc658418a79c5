"""One seed's answers, resampled by patients, as a mean over seeds needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcadv.metrics.clinical import Floats, share
from bcadv.metrics.patients import shares_right
from bcadv.metrics.pooled import Clusters, auroc_influence, calibration_gaps, resampled_sums
from bcadv.study.arms import Cell, Model

RATES = ("accuracy", "robust_accuracy", "accuracy_positive", "sensitivity", "specificity")
"""Metrics that are k of n images."""


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

    def resampled(self) -> dict[str, Floats]:
        """Each metric but the AUROC under every resample, (resamples, conditions)."""
        right = self._stacked("prediction") == self._target
        right_clean = self.clean.answers.prediction[:, None] == self._target
        called_positive = self._stacked("called_positive")
        hits = {
            "accuracy": right,
            "robust_accuracy": right & right_clean,
            "accuracy_positive": right,
            "sensitivity": called_positive,
            "specificity": ~called_positive,
        }
        n, m = right.shape
        gaps = calibration_gaps(self._stacked("confidence"), right)
        columns = np.concatenate(
            [
                *(hits[metric] & self._base(metric)[:, None] for metric in RATES),
                *(self._base(metric)[:, None] for metric in RATES),
                gaps.reshape(n, -1),
            ],
            axis=1,
            dtype=np.float32,
        )
        drawn = resampled_sums(self.found, self.position, columns)
        wholes = drawn[:, len(RATES) * m : len(RATES) * (m + 1)]
        result = {
            metric: share(drawn[:, i * m : (i + 1) * m], np.repeat(wholes[:, [i]], m, axis=1))
            for i, metric in enumerate(RATES)
        }
        error = np.abs(drawn[:, len(RATES) * (m + 1) :].reshape(len(drawn), m, -1)).sum(axis=2)
        images = wholes[:, [RATES.index("accuracy")]]
        return result | {"ece": share(error, np.repeat(images, m, axis=1))}

    def _base(self, metric: str) -> NDArray[np.bool_]:
        positive = self.model.images.positive
        if metric in {"sensitivity", "accuracy_positive"}:
            return positive
        return ~positive if metric == "specificity" else np.ones_like(positive)

    def bearing(self, metric: str) -> NDArray[np.int64]:
        """Patients that bear on the metric."""
        return self.found.numbers[self.position][self._base(metric)]

    def shares_right(self, conditions: Sequence[int]) -> Floats:
        """Share of each known patient's images, (patients, conditions); nan for other patients."""
        known = self.model.images.of_known
        right = np.stack([self.cells[j].answers.prediction for j in conditions], axis=1)
        return shares_right(
            (right == self._target)[known],
            self.found.numbers[self.position][known],
            self.found.count,
        )

    def auroc_influence(self, condition: int) -> Floats:
        """Of every patient on the AUROC, (patients,)."""
        influence = auroc_influence(
            self.cells[condition].answers.score, self.model.images.positive
        )[1]
        number = self.found.numbers[self.position]
        of_patients: Floats = np.bincount(number, influence, self.found.count).astype(np.float64)
        return of_patients
