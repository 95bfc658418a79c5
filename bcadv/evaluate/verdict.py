"""Whether a model is really harder to fool than another, asked in Python, without a job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bcadv.errors import BcadvError
from bcadv.evaluate.probes.gradient import reach
from bcadv.evaluate.probes.probe import THOROUGH, Budget, probe
from bcadv.evaluate.probes.subject import Subject, Tried
from bcadv.metrics.clustered import rate_interval
from bcadv.metrics.paired import holm
from bcadv.metrics.pooled import clusters, pooled_gap
from bcadv.perturb.attacks.pgd import PGD
from bcadv.perturb.base import CheckedPerturbation
from bcadv.perturb.catalog import ATTACKS, build
from bcadv.perturb.threat import GREY_LEVELS, ThreatModel
from bcadv.results.schema import Finding
from bcadv.results.verdict import Decision, Step, decide, fold
from bcadv.task import Task

ALPHA = 0.05
Right = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """The verdict on a model, with everything that it rests on.

    Attributes:
        decision: the verdict and its reason.
        steps: gain at each strength.
        differences: of each strength, gain in accuracy with its interval: value, low, high.
        findings: on the defended model.
        clean: accuracy of the two on clean images: undefended, defended.
        unit: what a strength is told in: ``/255``, or nothing.
    """

    decision: Decision
    steps: tuple[Step, ...]
    differences: tuple[tuple[float, float, float], ...]
    findings: tuple[Finding, ...]
    clean: tuple[float, float]
    unit: str

    @property
    def text(self) -> str:
        """The verdict in words, such as ``robust up to ε=4/255``."""
        decision = self.decision
        if decision.verdict == "robust":
            return f"robust up to ε={decision.up_to[0].strength:g}{self.unit}"
        named = [f.evidence for f in self.findings if f.outcome == "failed"]
        because = decision.reason.replace("_", " ")
        if decision.reason in ("checks_failed", "checks_doubted", "no_gradient"):
            because += f" ({'; '.join(named)})"
        elif decision.checks:
            because += f" ({', '.join(decision.checks)})"
        return f"{decision.verdict}: {because}"


def verdict(
    model: nn.Module,
    undefended: nn.Module,
    image: Tensor,
    target: Tensor,
    *,
    eps: Sequence[float],
    norm: float = math.inf,
    patients: Sequence[Any] | None = None,
    task: Task | None = None,
    attack: PGD | None = None,
    check_images: int = 64,
    budget: Budget = THOROUGH,
    batch_size: int = 64,
    seed: int = 0,
) -> Judged:
    """Judges a defended model beside an undefended one, on the same images.

    Args:
        model: the defended one, images in [0, 1] -> logits, shape (batch, classes).
        undefended: the other one, likewise.
        image: test images, shape (n, channels, height, width), float32 in [0, 1].
        target: their classes, int64, shape (n,).
        eps: radii, in grey levels of 255 for the maximum norm, else in the unit of the pixels.
        norm: ``math.inf`` or 2.
        patients: of each image; ``None``: each is a patient of its own.
        task: what the outputs mean.
        attack: that both are put to; ``None``: PGD with 40 steps and 2 restarts.
        check_images: how many images, right when clean, the checks may ask about.
        budget: of the checks.
        batch_size: images that are attacked at once.
        seed: of what is random.

    Raises:
        BcadvError: no strength above 0, other numbers of images, classes and patients, or an
            undefended model without a gradient.
    """
    radii = sorted({float(one) for one in eps if one > 0})
    if not radii:
        raise BcadvError(f"verdict: eps is {list(eps)!r}; give at least one strength above 0.")
    groups = range(len(image)) if patients is None else list(patients)
    if not len(image) == len(target) == len(groups) or not len(image):
        raise BcadvError(
            f"verdict: there are {len(image)} images, {len(target)} classes and {len(groups)} "
            "patients; give as many of each, and at least one."
        )
    task = task or Task()
    threat, of_255 = ThreatModel(0.0, norm), norm == math.inf
    sizes = [radius / GREY_LEVELS if of_255 else radius for radius in radii]
    white = attack or PGD(threat, task=task, steps=40, restarts=2, seed=seed)
    index = torch.arange(len(image))
    gpus = [image.device] if image.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        if reach(undefended, image[:1], target[:1], task).why:
            raise BcadvError(
                "verdict: the undefended model has no gradient, so nothing can be compared with "
                "it; give one whose forward is made of differentiable layers."
            )
        lost = bool(reach(model, image[:1], target[:1], task).why)
        subject = Subject(model, image, target, index, task, batch_size=batch_size, seed=seed + 1)
        right = _right(subject, None if lost else white, sizes)
        other = _right(replace(subject, model=undefended), white, sizes)
        steps, gaps = _steps(right, other, radii, norm, groups)
        flaw, commonest = _flaw(right[0], target, task, groups)
        findings = _checks(
            subject, right, sizes, radii, undefended, check_images, budget, white, seed
        )
    return Judged(
        decide(steps, fold([findings]), flaw=flaw, commonest=commonest),
        steps,
        gaps,
        tuple(findings),
        (float(other[0].mean()), float(right[0].mean())),
        "/255" if of_255 else "",
    )


def _right(subject: Subject, attack: CheckedPerturbation | None, sizes: Sequence[float]) -> Right:
    """Whether each image is right when clean and at each strength, shape (1 + strengths, n)."""
    columns = []
    for part in subject.parts():
        clean = part.task.wrong(part.logits(), part.target)
        found = [clean]
        if attack is None:
            found += [clean] * len(sizes)
        else:
            swept = attack.sweep(part.model, part.image, part.target, sizes, index=part.index)
            for image in swept.images:
                one = Subject(part.model, image, part.target, part.index, part.task)
                found.append(part.task.wrong(one.logits(), part.target))
        columns.append(~torch.stack(found).cpu())
    return torch.cat(columns, dim=1).numpy()


def _steps(
    ours: Right,
    other: Right,
    radii: Sequence[float],
    norm: float,
    groups: Sequence[Any],
) -> tuple[tuple[Step, ...], tuple[tuple[float, float, float], ...]]:
    """What is gained at each strength, and its interval."""
    names = np.array([str(group) for group in groups], dtype=object)
    patients = clusters([names], [np.arange(len(names)).astype(object)])
    gaps = [
        pooled_gap(patients, {0: mine}, {0: theirs})
        for mine, theirs in zip(ours[1:], other[1:], strict=True)
    ]
    steps = tuple(
        Step(
            norm=f"{norm:g}",
            strength=radius,
            better=gap.low > 0 and p < ALPHA,
            worse=gap.high < 0 and p < ALPHA,
            low=gap.low,
            high=gap.high,
            right=float(mine.mean()),
            fallen=float(other[0].mean() - theirs.mean()),
        )
        for radius, gap, p, mine, theirs in zip(
            radii, gaps, holm(np.array([gap.p for gap in gaps])), ours[1:], other[1:], strict=True
        )
    )
    values = (ours[1:].mean(axis=1) - other[1:].mean(axis=1)).tolist()
    return steps, tuple((value, gap.low, gap.high) for value, gap in zip(values, gaps, strict=True))


def _flaw(right: Right, target: Tensor, task: Task, groups: Sequence[Any]) -> tuple[str, float]:
    """Why what the model gains would be no robustness; accuracy of naming one class always."""
    truth = target.cpu().numpy()
    n = len(truth)
    commonest = float(np.bincount(truth).max() / n)
    numbers = np.unique([str(group) for group in groups], return_inverse=True)[1]
    if rate_interval(right, numbers)[0] <= commonest:
        return "no_better_than_one_class", commonest
    sick = np.isin(truth, task.positive)
    if sick.any() and not sick.all():
        rates = (float(right[sick].mean()), float(right[~sick].mean()))
        if min(rates) < 0.5 < max(rates):
            return "one_sided", commonest
    return "", commonest


def _checks(
    subject: Subject,
    right: Right,
    sizes: Sequence[float],
    radii: Sequence[float],
    undefended: nn.Module,
    most: int,
    budget: Budget,
    white: PGD,
    seed: int,
) -> list[Finding]:
    """What the checks on the defended model find."""
    clean = np.flatnonzero(right[0])
    chosen = np.sort(np.random.default_rng(seed).permutation(clean)[:most])
    rows = torch.from_numpy(chosen)
    sampled = subject.only(rows)
    left = torch.from_numpy(right[1:][:, chosen])
    threat = white.threat
    unit = "/255" if threat.norm == math.inf else ""
    ids = tuple(f"eps {radius:g}{unit}" for radius in radii)
    tried = Tried(
        threat=threat,
        sizes=tuple(sizes),
        texts=tuple(f"{radius:g}{unit}" for radius in radii),
        ids=tuple((name,) for name in ids),
        left=left,
        many=left,
        steps=white.steps,
    )
    return [
        *probe(
            sampled,
            [tried],
            budget=budget,
            ids=ids,
            black_box=black_boxes(threat, subject.task, seed),
            surrogate=undefended,
        )
    ]


def black_boxes(threat: ThreatModel, task: Task, seed: int) -> list[CheckedPerturbation]:
    """The attacks of the catalog that ask for answers alone, in a norm."""
    return [
        build(row.name, threat, seed=seed, task=task)
        for row in ATTACKS.values()
        if row.family == "black box" and f"{threat.norm:g}" in row.norms
    ]
