"""A job's checks on its model: which images are asked about, and what its attacks left of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bcadv.build import task_of
from bcadv.config import Config
from bcadv.data.datamodule import ImageDataModule
from bcadv.evaluate.probes import Subject, Tried, probe
from bcadv.evaluate.probes.gradient import reach
from bcadv.files import write_atomically
from bcadv.models.classifier import Classifier
from bcadv.perturb.catalog import ATTACKS
from bcadv.perturb.threat import ThreatModel
from bcadv.plan import Plan, asked_words
from bcadv.results.checks import NAMES, NEEDED
from bcadv.results.condition import CLEAN, Condition, Series
from bcadv.results.schema import Finding
from bcadv.task import Aim, Task
from bcadv.typing import Batch

LEAST, SHARE = 16, 24
"""At least so many images are asked about, and up to one in so many: the checks cost 37 passes
of an image where FGSM at seven strengths takes 11, so an eighth more."""

_SEVERAL = 40
"""Steps of an attack that does not say how many it takes."""


def unreachable(model: Classifier, data: ImageDataModule) -> str:
    """Why no gradient comes back from the model to the image; empty: it does."""
    batch = _batch(model, data, data.split.test[:2])
    return reach(model, batch.image, batch.target, model.task).why


def without_white_box(plan: Plan) -> Plan:
    """What of a plan a model can be measured under that has no gradient."""
    return Plan(tuple(s for s in plan.series if not s.first.follows_gradient))


def unasked(variant: str) -> list[Finding]:
    """What is said of the checks where the configuration leaves them out."""
    return [
        Finding(
            id=name,
            title=NAMES[name],
            outcome="unknown",
            evidence="evaluation.check_images=0: the model was not asked",
            batchnorm=variant,
        )
        for name in NEEDED
    ]


def ask(
    config: Config,
    model: Classifier,
    data: ImageDataModule,
    plan: Plan,
    seen: pd.DataFrame,
    variant: str,
) -> list[Finding]:
    """Asks a model that was evaluated what makes its numbers suspect.

    Args:
        config: of the job.
        model: with the BatchNorm statistics that the answers are of.
        data: prepared.
        plan: that the job was asked for, attacks that could not be tried included.
        seen: its answers: index, condition, target, prediction.
        variant: name of those statistics.
    """
    if not config.evaluation.check_images:
        return unasked(variant)
    right = _right(seen)
    clean = np.flatnonzero(right[CLEAN.id].to_numpy())
    most = min(config.evaluation.check_images, max(LEAST, len(data.split.test) // SHARE))
    order = np.random.default_rng(config.seed).permutation(clean)[:most]
    chosen = right.iloc[np.sort(order)]
    numbers = [int(number) for number in chosen.index]
    if numbers:
        batch = _batch(model, data, numbers)
    else:
        nothing = _batch(model, data, data.split.test[:1])
        batch = Batch(nothing.image[:0], nothing.target[:0], nothing.index[:0])
    task = task_of(data)
    subject = Subject(
        model,
        batch.image,
        batch.target,
        batch.index,
        task,
        variant=variant,
        batch_size=config.evaluation.batch_size,
        # Another one than that of the attacks: other starting points, other noise.
        seed=config.seed + 2,
    )
    return probe(subject, tried_of(plan, chosen, task), ids=tuple(map(str, right.columns)))


def keep(place: Path, findings: Sequence[Finding]) -> None:
    """Writes down what was found, for a job that is killed over its numbers."""
    told = [finding.model_dump(mode="json") for finding in findings]
    write_atomically(place, json.dumps(told))


def kept(place: Path) -> list[Finding] | None:
    """What was found before, if it was."""
    try:
        told = json.loads(place.read_text(encoding="utf-8"))
        return [Finding.model_validate(finding) for finding in told]
    except (OSError, ValueError, TypeError):
        return None


def tried_of(plan: Plan, right: pd.DataFrame, task: Task) -> list[Tried]:
    """What the white-box attacks of a plan left, one entry per norm.

    Of several aims, and ways to save an image, one speaks for its norm: any wrong answer to images
    as they are where that was tried, else the first.

    Args:
        plan: of a job.
        right: whether each image (row) is right under each condition (column); attacks that were
            not tried have no column, and leave everything.
        task: what the outputs mean.
    """
    by_norm: dict[str, dict[tuple[object, ...], list[Series]]] = {}
    for series in plan.attacks:
        first = series.first
        if first.follows_gradient and str(first.norm) in ATTACKS["pgd"].norms:
            of_norm = by_norm.setdefault(str(first.norm), {})
            asked = (first.is_untargeted, first.goal, first.wanted, first.acceptance)
            of_norm.setdefault(asked, []).append(series)
    chosen = {
        norm: max(groups.items(), key=lambda group: (group[0][0], group[0][3] == "float"))[1]
        for norm, groups in by_norm.items()
    }
    return [
        made for norm, group in chosen.items() if (made := _tried(norm, group, right, task)).sizes
    ]


def _tried(norm: str, of_norm: Sequence[Series], right: pd.DataFrame, task: Task) -> Tried:
    at: dict[float, list[Condition]] = {}
    for condition in (c for series in of_norm for c in series.conditions if c.strength > 0):
        at.setdefault(condition.strength, []).append(condition)
    strengths = sorted(at)

    def left(steps: Sequence[bool]) -> Tensor:
        """By attacks of one step, of several, or both."""
        rows = []
        for strength in strengths:
            names = [c.id for c in at[strength] if (c.steps == 1) in steps and c.id in right]
            rows.append(right[names].to_numpy().all(axis=1))
        return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, len(right)).bool()

    several = [series for series in of_norm if series.first.steps != 1]
    takes = [series.first.steps or _SEVERAL for series in several]
    first = of_norm[0].first
    aim: Aim = first.goal if first.goal in ("hide", "invent") else "any"
    told = "" if norm == "inf" else f" (L{norm})"
    told += asked_words(first.wanted or aim, first.acceptance)
    return Tried(
        threat=ThreatModel(0.0, float(norm)),
        sizes=tuple(at[strength][0].size for strength in strengths),
        texts=tuple(at[strength][0].amount + told for strength in strengths),
        ids=tuple(tuple(c.id for c in at[s] if c.id in right) for s in strengths),
        left=left([True, False]),
        one=left([True]) if len(several) < len(of_norm) else None,
        many=left([False]) if several else None,
        steps=max(takes, default=1),
        aim=aim,
        wanted=None if first.wanted is None else task.classes.index(first.wanted),
        accept=first.acceptance,
    )


def _right(seen: pd.DataFrame) -> pd.DataFrame:
    """Whether each image (row) is right under each condition (column)."""
    hits = seen.assign(right=seen["prediction"] == seen["target"])
    return hits.pivot_table(
        index="index", columns="condition", values="right", aggfunc="first", sort=False
    ).astype(bool)


def _batch(model: Classifier, data: ImageDataModule, numbers: Sequence[int]) -> Batch:
    batch: Batch = data.transfer_batch_to_device(data.centre_crops(numbers), model.device, 0)
    return batch
