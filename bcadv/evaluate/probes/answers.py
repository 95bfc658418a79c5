"""What the answers alone show: whether they repeat, whether they are logits."""

from __future__ import annotations

import torch
from torch import Tensor

from bcadv.evaluate.probes.subject import Subject
from bcadv.results.schema import Finding

CALLS = 3
SAME = 1e-4
"""Euclidean distance of two answers to the same image, each logits of length 1, that rounding makes
(AutoAttack, checks.py)."""

SUMS = 1e-5
"""By so much may probabilities leave [0, 1] and their sum 1 (AutoAttack, checks.py)."""


def repeatable(subject: Subject, logits: Tensor, ids: tuple[str, ...]) -> Finding:
    """Whether identical calls get identical answers.

    Args:
        subject: the model and images.
        logits: its answers to one call, shape (n, classes).
        ids: of all conditions that answers were taken under.
    """
    apart, differ = 0.0, 0
    for _ in range(CALLS - 1):
        again = subject.logits()
        moved = torch.linalg.vector_norm(_directions(again) - _directions(logits), dim=1)
        # What is no number is not the same as another time.
        apart = max(apart, float(moved.nan_to_num(torch.inf).amax()))
        changed = subject.task.decide(again) != subject.task.decide(logits)
        differ = max(differ, int(changed.sum()))
    known = apart < float("inf")
    said = f"logits differ by {apart:.2g} of their length" if known else "some are no numbers"
    return subject.finding(
        "repeatable",
        "identical calls get identical answers",
        differ > 0 or apart > SAME,
        f"in {CALLS} calls {differ} of {len(subject)} images get another class; {said}",
        taints=ids,
        value=apart if known else None,
        threshold=SAME,
    )


def _directions(logits: Tensor) -> Tensor:
    flat = logits.double()
    length: Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return flat / length.clamp(min=1e-300)


def are_logits(subject: Subject, logits: Tensor, ids: tuple[str, ...]) -> Finding:
    """Whether the outputs are logits and not probabilities already.

    Losses take a softmax of them: of probabilities, its gradient is weak and its loss bounded.

    Args:
        subject: the model and images.
        logits: its answers, shape (n, classes).
        ids: of all conditions that followed a gradient.
    """
    sums = logits.double().sum(1)
    inside = bool(((logits >= -SUMS) & (logits <= 1 + SUMS)).all())
    failed = inside and bool(((sums - 1).abs() <= SUMS).all())
    return subject.finding(
        "logits",
        "the outputs are logits, not probabilities",
        failed,
        f"they span [{float(logits.min()):.3g}, {float(logits.max()):.3g}] and sum to "
        f"{float(sums.min()):.5g} to {float(sums.max()):.5g}",
        taints=ids,
        threshold=SUMS,
    )
