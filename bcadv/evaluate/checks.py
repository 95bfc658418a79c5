"""What would make the numbers suspect, looked for in every job (after Carlini et al. 2019, sec. 5).

Each check becomes a `Finding` with its evidence and the conditions whose numbers it taints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bcadv.data.audit import Audit
from bcadv.data.ranges import InUse
from bcadv.evaluate.predictions import Answers, read_conditions
from bcadv.metrics.paired import rises
from bcadv.plan import Plan
from bcadv.results.condition import CLEAN, Condition, Series
from bcadv.results.schema import Finding, Row, TaskSection
from bcadv.task import Aim, Task

FEW_PATIENTS = 10
"""Below so many an interval holds the truth by being too wide to tell anything
(`python -m tests.metrics.coverage`)."""

SAME = 1e-4
"""Largest difference of a probability between two answers to the same pixels that rounding makes
(AutoAttack's checks allow the logits as much)."""

ALPHA = 0.05

OUTDONE = 0.002
"""Share of the images, and more than one, that a weaker attack may break and a stronger one leave:
a path of steps is not the same twice (AutoAttack, checks.py: 0.2 points)."""


def checks(
    path: Path, plan: Plan, rows: Sequence[Row], task: TaskSection | None = None
) -> list[Finding]:
    """Checks a job's predictions.

    Args:
        path: of the predictions table; read one condition at a time.
        plan: what the model was measured under.
        rows: the numbers, see `bcadv.metrics.robustness.summarise`.
        task: says which images an attacker's aim concerns; needed where that is not every image.

    Returns:
        For each choice of BatchNorm statistics: the same pixels get the same answer; no attack
        left an image right and where it was, or right although it had found what breaks it; a
        larger strength never helps beyond chance; no attack breaks what one that is held to be
        stronger left; the model does not call most images of both sides alike.
    """
    conditions = {condition.id: condition for condition in plan.conditions}
    found: list[Finding] = []
    seen: dict[str, _Variant] = {}
    for variant, name, answers in read_conditions(path):
        of_variant = seen.setdefault(variant, _Variant(variant, task))
        of_variant.see(conditions[name], answers)
    for of_variant in seen.values():
        found += of_variant.findings(plan)
    for row in rows:
        if row.condition == CLEAN.id:
            found.append(_one_sided(row))
    return found


class _Variant:
    """What is remembered of the answers under one choice of statistics: a bit per image."""

    def __init__(self, name: str, task: TaskSection | None = None) -> None:
        self.name, self.task = name, task
        self.clean: Answers | None = None
        self.right: dict[str, np.ndarray] = {}
        self.still: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self.again: list[tuple[Condition, int, float]] = []

    def see(self, condition: Condition, answers: Answers) -> None:
        right = answers.prediction == answers.target
        if condition.id == CLEAN.id:
            self.clean = answers
        elif condition.strength == 0 and self.clean is not None and _same_pixels(condition):
            differ = int((answers.prediction != self.clean.prediction).sum())
            apart = np.abs(answers.probability - self.clean.probability)
            # What is no number is not the same as another time.
            largest = np.nan_to_num(apart, nan=np.inf).max(initial=0.0)
            self.again.append((condition, differ, float(largest)))
        if condition.kind == "attack" and condition.strength > 0:
            # An image that is wrong already needs no attack; one left right and unmoved got none.
            concerned = self._concerned(condition, answers.target)
            self.still[condition.id] = int((right & (answers.size == 0) & concerned).sum())
            if condition.is_untargeted and not np.isnan(answers.distance).all():
                # What was found lies in the ball, and something else was returned.
                held = right & (answers.distance <= condition.size)
                self.dropped[condition.id] = int(held.sum())
        self.right[condition.id] = np.packbits(right)
        self.n = len(right)

    def _concerned(
        self, condition: Condition, target: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Which images an attack was after."""
        if condition.is_untargeted or self.task is None:
            return np.full(len(target), condition.is_untargeted)
        if condition.wanted is not None:
            other: npt.NDArray[np.bool_] = target != self.task.classes.index(condition.wanted)
            return other
        aim: Aim = "hide" if condition.goal == "hide" else "invent"
        task = Task(positive=tuple(self.task.positive))
        concerned: npt.NDArray[np.bool_] = task.concerned(torch.from_numpy(target), aim).numpy()
        return concerned

    def findings(self, plan: Plan) -> Iterator[Finding]:
        yield self._same_answers()
        for series in plan.attacks:
            yield self._moved(series)
            yield from self._best_found(series)
            yield self._monotone(series)
        yield from self._outdone(
            plan,
            "one_step",
            "many steps break every image that one step breaks",
            weak=lambda c: c.follows_gradient and c.steps == 1,
            strong=lambda c: c.follows_gradient and c.steps != 1,
        )
        yield from self._outdone(
            plan,
            "black_box",
            "no black box breaks images that the white box left",
            weak=lambda c: c.access not in (None, "white box"),
            strong=lambda c: c.follows_gradient,
        )

    def _same_answers(self) -> Finding:
        worst = max(self.again, key=lambda found: (found[1], found[2]), default=None)
        if worst is None:
            return Finding(
                id="same_answers",
                title="the same pixels get the same answer",
                outcome="unknown",
                evidence="no image was answered twice",
                batchnorm=self.name,
            )
        _, differ, largest = worst
        failed = differ > 0 or largest > SAME
        known = np.isfinite(largest)
        said = f"the largest change of a probability is {largest:.2g}"
        return Finding(
            id="same_answers",
            title="the same pixels get the same answer",
            outcome="failed" if failed else "ok",
            evidence=f"answered anew, {differ} of {self.n} images get another class; "
            + (said if known else "some probabilities are not finite"),
            batchnorm=self.name,
            value=largest if known else None,
            threshold=SAME,
        )

    def _moved(self, series: Series) -> Finding:
        still = {c.id: self.still.get(c.id, 0) for c in series.conditions if c.strength > 0}
        tainted = tuple(name for name, count in still.items() if count)
        return Finding(
            id="moved",
            title=f"{series.first.label} moves every image that it does not break",
            outcome="failed" if tainted else "ok" if still else "unknown",
            evidence=f"{max(still.values(), default=0)} of {self.n} images were left as they were, "
            "and right (a gradient of zero?)"
            if tainted
            else "none was left as it was, and right"
            if still
            else "no strength above 0 was tried",
            batchnorm=self.name,
            taints=tainted,
        )

    def _best_found(self, series: Series) -> Iterator[Finding]:
        dropped = {c.id: self.dropped[c.id] for c in series.conditions if c.id in self.dropped}
        if not dropped:
            return
        worst = max(dropped.values())
        yield Finding(
            id="best_found",
            title=f"{series.first.label} returns what breaks an image where it found that",
            outcome="failed" if worst else "ok",
            evidence=f"{worst} of {self.n} images stand although an adversarial one was found",
            batchnorm=self.name,
            taints=tuple(name for name, count in dropped.items() if count),
            value=float(worst),
            threshold=0.0,
        )

    def _outdone(
        self,
        plan: Plan,
        name: str,
        title: str,
        *,
        weak: Callable[[Condition], bool],
        strong: Callable[[Condition], bool],
    ) -> Iterator[Finding]:
        """Where both kinds of attack were tried: whether the weak break what the strong left."""
        groups: dict[tuple[object, ...], list[Condition]] = {}
        for condition in (c for series in plan.attacks for c in series.conditions):
            if condition.strength > 0 and condition.id in self.right:
                c = condition
                place = (c.norm, c.strength, c.goal, c.wanted, c.acceptance)
                groups.setdefault(place, []).append(c)
        allowed = max(1, int(OUTDONE * self.n))
        found: list[tuple[int, Condition, list[Condition]]] = []
        for at in groups.values():
            weaker, stronger = ([c for c in at if kind(c)] for kind in (weak, strong))
            if weaker and stronger:
                left = np.logical_and.reduce([self._right(c) for c in stronger])
                stood = np.logical_and.reduce([self._right(c) for c in weaker])
                found.append((int((left & ~stood).sum()), weaker[0], stronger))
        if not found:
            return
        broken, by, _ = max(found, key=lambda one: one[0])
        yield Finding(
            id=name,
            title=title,
            outcome="failed" if broken > allowed else "ok",
            evidence=f"{by.text} breaks {broken} of {self.n} images that they left",
            batchnorm=self.name,
            taints=tuple(c.id for count, _, of in found if count > allowed for c in of),
            value=float(broken),
            threshold=float(allowed),
        )

    def _right(self, condition: Condition) -> npt.NDArray[np.bool_]:
        return np.unpackbits(self.right[condition.id], count=self.n).astype(bool)

    def _monotone(self, series: Series) -> Finding:
        tried = [c for c in series.conditions if c.id in self.right]
        pairs = list(pairwise(tried))
        risen = []
        for weak, strong in pairs:
            before, after = self._right(weak), self._right(strong)
            tested = rises(before, after, comparisons=len(pairs))
            if tested.p < ALPHA:
                risen.append((weak, strong, before, after))
        said = "; ".join(
            f"{before.mean():.1%} right at {weak.amount}, {after.mean():.1%} at {strong.amount}"
            for weak, strong, before, after in risen
        )
        return Finding(
            id="monotone",
            title=f"a stronger {series.first.label} never helps the classifier",
            outcome="failed" if risen else "ok" if pairs else "unknown",
            evidence=said or ("no rise beyond chance" if pairs else "only one strength was tried"),
            batchnorm=self.name,
            taints=tuple(strong.id for _, strong, _, _ in risen),
            threshold=ALPHA,
        )


def _same_pixels(condition: Condition) -> bool:
    """Whether at strength 0 the model sees the image as it is: a JPEG of it is another one."""
    return not condition.acceptance.startswith("jpeg")


def _one_sided(row: Row) -> Finding:
    sensitivity, specificity = (row.metrics[name].value for name in ("sensitivity", "specificity"))
    known = sensitivity is not None and specificity is not None
    failed = known and min(sensitivity or 0, specificity or 0) < 0.5 < max(
        sensitivity or 0, specificity or 0
    )
    return Finding(
        id="one_sided",
        title="the model does not call most images of both sides alike",
        outcome="failed" if failed else "ok" if known else "unknown",
        evidence=f"clean sensitivity {sensitivity:.1%}, specificity {specificity:.1%}"
        if known
        else "the test images are of one side only",
        batchnorm=row.batchnorm,
    )


def _few_patients(audit: Audit) -> Finding:
    """Whether enough patients were tested for a rate to be about anybody."""
    known, unknown = audit.patients["test"], audit.unknown_patients["test"]
    few = known > 0 and known + unknown < FEW_PATIENTS
    said = "the test images come from " + ("1 patient" if known == 1 else f"{known} patients")
    return Finding(
        id="few_patients",
        title=f"{FEW_PATIENTS} patients or more are tested",
        outcome="failed" if few else "ok" if known else "unknown",
        evidence=f"{said}: test every patient once with data.split=patient_cv +sweep=folds, and "
        "take the folds together in one report"
        if few
        else said
        if known
        else "the source names no patients",
        value=float(known) if known else None,
        threshold=float(FEW_PATIENTS),
    )


def data_findings(task: TaskSection, audit: Audit) -> list[Finding]:
    """What the data themselves make suspect.

    Args:
        task: what the outputs mean, and who chose the positive classes.
        audit: what the parts of the split share.
    """
    by_order = task.positive_by == "order"
    overlap = audit.patient_overlap
    unknown = any(audit.unknown_patients[part] for part in ("train", "test"))
    leaks = bool(overlap or audit.shared_images or audit.duplicates)
    return [
        Finding(
            id="leakage",
            title="no test image, and no other image of its patient, is in training",
            outcome="failed" if leaks else "unknown" if overlap is None or unknown else "ok",
            evidence=audit.sentence(),
            value=overlap,
            threshold=0.0,
        ),
        _few_patients(audit),
        Finding(
            id="positive_class",
            title="the class that counts as the disease was chosen by somebody",
            outcome="failed" if by_order else "ok",
            evidence=f"{task.positive_name or 'no class'} counts as positive"
            + (", because nobody said which: set data.positive" if by_order else ""),
        ),
    ]


def pixel_finding(pixels: InUse) -> Finding:
    """Whether strengths mean what they seem to: not where images use little of the range."""
    failed = pixels.mostly_little
    return Finding(
        id="pixel_range",
        title="most images use a quarter of the range of their pixels or more",
        outcome="failed" if failed else "ok",
        evidence=pixels.sentence + (f": {pixels.remedy}" if failed else ""),
        value=pixels.little / pixels.images,
        threshold=0.5,
    )
