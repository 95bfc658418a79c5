"""A study, looked up: what its findings are decided from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property

from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Result
from bcadv.study.arms import Arm
from bcadv.study.differences import Difference, differences
from bcadv.study.marks import Checks, ordered_checks
from bcadv.study.numbers import Number
from bcadv.study.study import Study


@dataclass(frozen=True)
class Facts:
    """A study, looked up.

    Attributes:
        study: the study.
        prevalence: share of patients with the disease that consequences are stated at, in (0, 1).
    """

    study: Study
    prevalence: float

    @cached_property
    def differences(self) -> dict[str, list[Difference]]:
        """Of each arm from its undefended one, clean and attacked."""
        return differences(self.study.comparisons, self.study.conditions)

    def number(self, arm: Arm, key: Condition, metric: str = "accuracy") -> Number | None:
        """A measure of an arm, if it was measured."""
        return self.study.numbers.get((arm.name, key, metric))

    def clean(self, arm: Arm) -> Number:
        """Accuracy of an arm on clean images, which every model is measured on."""
        return self.study.numbers[arm.name, CLEAN, "accuracy"]

    def suspect_gain(self, arm: Arm, condition: Condition) -> Checks:
        """As `Study.suspect`, of a comparison with the undefended model, thus of two numbers."""
        reference = self.reference_of(arm)
        both = [arm] if reference is None else [arm, reference]
        return ordered_checks(n for of in both for n in self.study.suspect(of.name, condition))

    def worst(
        self, arm: Arm, among: Container[Condition] | None = None
    ) -> dict[str | None, list[tuple[Condition, Number]]]:
        """Norm -> at each strength, rising, the attack that leaves the arm the least accuracy.

        Strengths of two norms do not compare, so each norm stands for itself.

        Args:
            arm: the model.
            among: conditions to look at; by default all.
        """
        found: dict[str | None, dict[float, tuple[Condition, Number]]] = {}
        for attack in self.study.attacks:
            for condition in attack.conditions:
                number = self.number(arm, condition)
                if number is None or (among is not None and condition not in among):
                    continue
                of_norm = found.setdefault(condition.norm, {})
                known = of_norm.get(condition.strength)
                if known is None or number.value < known[1].value:
                    of_norm[condition.strength] = condition, number
        order = sorted(found, key=lambda norm: (norm != "inf", str(norm)))
        return {norm: [found[norm][s] for s in sorted(found[norm])] for norm in order}

    def reference_of(self, arm: Arm) -> Arm | None:
        """The undefended arm that an arm is compared with, if any."""
        rows = self.study.comparisons
        names = set() if rows.empty else {*rows.loc[rows["arm"] == arm.name, "reference"]}
        return next((other for other in self.study.arms if other.name in names), None)

    def flaw(self, arm: Arm) -> str:
        """Why what an arm gains is no sign of robustness: the id of a finding, or nothing."""
        # A model that has learnt nothing has nothing to lose to an attack.
        if self.clean(arm).low <= commonest_share(arm):
            return "no_better_than_one_class"
        rates = [self.number(arm, CLEAN, name) for name in ("sensitivity", "specificity")]
        values = [rate.value for rate in rates if rate is not None]
        # One that calls most images of both sides alike looks sturdy on the images of that class.
        return "one_sided" if len(values) == 2 and min(values) < 0.5 < max(values) else ""


def commonest_share(arm: Arm) -> float:
    """Share of the commonest class among the test images: mean over the jobs, or of all folds."""
    tested = [Counter(job.result.data.counts["test"]) for job in arm.jobs]
    if arm.folds:
        once = {(j.seed, j.result.data.fold): j.result.data.counts["test"] for j in arm.jobs}
        tested = [sum(map(Counter, once.values()), Counter[str]())]
    shares = [max(counts.values()) / counts.total() for counts in tested]
    return float(sum(shares) / len(shares))


def unknown_patients(result: Result, part: str) -> int:
    """Number of images of a part whose patient is unknown."""
    return int((result.data.overlap.get("unknown_patients") or {}).get(part, 0))
