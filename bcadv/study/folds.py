"""Folds of a cross-validation -> one model: every image answered by the model that did not see it.

The predictions of all folds are put together and measured anew, so that an interval is over all
patients and a rate over all images; a mean of five rates would weigh folds, not images.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bcadv.metrics.robustness import summarise
from bcadv.results.condition import Condition, ordered
from bcadv.results.files import PREDICTIONS
from bcadv.results.schema import Row
from bcadv.study.answers import Answers, Images, Spent
from bcadv.study.jobs import Job
from bcadv.study.models import Cell, Model, key_of, replaced, way_of


def pooled(models: Iterable[Model]) -> tuple[list[Model], list[str]]:
    """Puts the models of the folds of one cross-validation together, seed by seed.

    Args:
        models: of any splits; one whose split has no folds, or of which there is but one fold,
            stays as it is.

    Returns:
        The models, and a sentence for each job of which there is a newer one of the same fold.
    """
    found: list[Model] = []
    left_out: list[str] = []
    groups: dict[Hashable, dict[int, Model]] = defaultdict(dict)
    for model in sorted(models, key=lambda model: model.job.finished):
        fold = model.job.result.data.fold
        if fold is None:
            found.append(model)
            continue
        older = groups[_group(model.job)].get(fold)
        left_out += [] if older is None else replaced(older, model)
        groups[_group(model.job)][fold] = model
    for of_folds in groups.values():
        if len(of_folds) == 1:
            found += of_folds.values()
        else:
            found.append(_together(dict(sorted(of_folds.items()))))
    return found, left_out


def _group(job: Job) -> Hashable:
    """What the folds of one cross-validation have in common."""
    way = {name: value for name, value in way_of(job).items() if name != "data.fold"}
    return job.seed, job.result.data.content, job.result.data.folds, key_of(way)


def _together(models: Mapping[int, Model]) -> Model:
    """One model in the place of those of several folds."""
    names = _names(models)
    joined = np.concatenate(list(names.values()))
    order = np.argsort(joined, kind="stable")
    of_all = [model.images for model in models.values()]

    def of_images(name: str) -> Any:
        return np.concatenate([getattr(images, name) for images in of_all])[order]

    images = Images(
        joined[order],
        of_images("target"),
        of_images("group"),
        of_images("of_known"),
        of_images("positive"),
        frozenset().union(*(images.patients for images in of_all)),
    )
    jobs = sorted((j for model in models.values() for j in model.jobs), key=lambda j: j.finished)
    result = Model(images, jobs, folds=tuple(models))
    shared = _shared(list(models.values()))
    rows = _rows(models, names, shared)
    for variant, conditions in shared.items():
        for condition in conditions:
            cells = [model.cells[variant][condition] for model in models.values()]
            answers = _joined([cell.answers for cell in cells], order)
            row = rows[variant, condition.id]
            result.cells.setdefault(variant, {})[condition] = Cell(answers, row, cells[-1].job)
    return result


def _names(models: Mapping[int, Model]) -> dict[int, np.ndarray]:
    """Fold -> names of its images; one that several folds test says which fold it stands for."""
    times = Counter(name for model in models.values() for name in model.images.image_id)
    return {
        fold: np.array(
            [f"{n} (fold {fold})" if times[n] > 1 else n for n in model.images.image_id],
            dtype=object,
        )
        for fold, model in models.items()
    }


def _shared(models: Sequence[Model]) -> dict[str, list[Condition]]:
    """BatchNorm variant -> what every fold was measured under, clean first."""
    variants = set.intersection(*({*model.cells} for model in models))
    return {
        variant: ordered(set.intersection(*({*model.cells[variant]} for model in models)))
        for variant in sorted(variants)
    }


def _joined(answers: Sequence[Answers], order: np.ndarray) -> Answers:
    parts = {
        name: np.concatenate([getattr(one, name) for one in answers])[order]
        for name in ("prediction", "called_positive", "score", "confidence")
    }
    spent = [one.spent for one in answers if one.spent is not None]
    together = None
    if len(spent) == len(answers):
        broken_after = np.concatenate([one.broken_after for one in spent])[order]
        together = Spent(broken_after, max(one.most for one in spent))
    return Answers(**parts, spent=together)


def _rows(
    models: Mapping[int, Model],
    names: Mapping[int, np.ndarray],
    shared: Mapping[str, Sequence[Condition]],
) -> dict[tuple[str, str], Row]:
    """What all folds together measure, by BatchNorm variant and condition."""
    newest = max((model.job for model in models.values()), key=lambda job: job.finished)
    classes, task = newest.classes, newest.result.task

    columns = ["image_id", "patient", "target", "prediction", "batchnorm", "condition"]
    columns += [f"p_{c}" for c in range(len(classes))]

    @cache
    def predictions(path: Path) -> Mapping[tuple[str, str], pd.DataFrame]:
        table = pd.read_parquet(path, columns=columns)
        grouped = table.groupby(["batchnorm", "condition"], sort=False, observed=True)
        return {(str(v), str(c)): part for (v, c), part in grouped}

    def pieces() -> Iterator[tuple[str, str, pd.DataFrame]]:
        for variant, conditions in shared.items():
            for condition in conditions:
                parts = []
                for fold, model in models.items():
                    path = model.cells[variant][condition].job.folder / PREDICTIONS
                    of = predictions(path)[variant, condition.id]
                    called = dict(zip(model.images.image_id, names[fold], strict=True))
                    parts.append(of.assign(image_id=of["image_id"].map(called)))
                yield variant, condition.id, pd.concat(parts, ignore_index=True)

    conditions = ordered({c for of in shared.values() for c in of})
    rows = summarise(pieces(), conditions, classes, task.positive, seed=newest.seed)
    return {(row.batchnorm, row.condition): row for row in rows}
