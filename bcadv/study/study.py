"""Jobs -> one study: which models there are, what each was measured at, how they compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from bcadv.errors import BcadvError
from bcadv.metrics.pooled import Clusters, clusters
from bcadv.results.condition import Condition, Series, ordered
from bcadv.results.schema import Finding
from bcadv.study.arms import Arm, findings_of, measured_arms
from bcadv.study.compare import compare, references
from bcadv.study.corruption import corruption_errors
from bcadv.study.found import Found
from bcadv.study.jobs import Job, told_apart
from bcadv.study.marks import Checks, ordered_checks, suspect, tainted, titles
from bcadv.study.measures import NumberPatients, incomplete, measure
from bcadv.study.models import Model
from bcadv.study.numbers import Key, Number, all_series, together
from bcadv.study.queries import success


@dataclass(frozen=True)
class Study:
    """Everything that tables, figures and words are made from.

    Attributes:
        arms: the undefended ones first, then by defence and variant.
        reference: the undefended model, if possible with the BatchNorm statistics it was trained
            with; ``None`` where there is none.
        measures: tidy, a row per arm, seed, condition and metric: arm, seed (``<NA>``: all seeds
            together), condition (its id), label, norm, strength, unit, metric, value, low, high,
            k, n, n_patients (that it rests on), kind (of the interval).
        comparisons: a row per arm, seed and condition: arm, reference, seed, condition, label,
            norm, strength, unit, n, n_patients, only_reference, only_arm, p, difference (of
            accuracy, arm minus reference), low, high.
        conditions: everything that some arm was measured under, clean first.
        synthetic: whether any image is made up.
        left_out: a sentence for each result that was not used.
        jobs: those that were, the newest last.
        remarks: on what could not be compared, and why.
        partly_real: whether some images are made up and some are not.
        corruption_errors: a row per arm and corruption, see `bcadv.study.corruption`.
        queries: what black boxes fooled for how many queries, see `bcadv.study.queries`.
    """

    arms: tuple[Arm, ...]
    reference: Arm | None
    measures: pd.DataFrame
    comparisons: pd.DataFrame
    synthetic: bool
    left_out: tuple[str, ...]
    jobs: tuple[Job, ...]
    conditions: tuple[Condition, ...] = ()
    remarks: tuple[Found, ...] = ()
    partly_real: bool = False
    corruption_errors: pd.DataFrame = field(default_factory=pd.DataFrame)
    queries: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def numbers(self) -> dict[Key, Number]:
        """The measures of all seeds together."""
        return together(self.measures, self.conditions)

    @cached_property
    def _accuracy(self) -> dict[str, dict[Condition, float]]:
        found: dict[str, dict[Condition, float]] = {arm.name: {} for arm in self.arms}
        for (name, condition, metric), number in self.numbers.items():
            if metric == "accuracy":
                found[name][condition] = number.value
        return found

    @cached_property
    def _suspect(self) -> dict[str, dict[Condition, Checks]]:
        return {arm.name: suspect(findings_of(arm), self._accuracy[arm.name]) for arm in self.arms}

    def suspect(self, of: str, *conditions: Condition) -> Checks:
        """The failed checks that make a number suspect, whatever it measures.

        Args:
            of: name of the arm.
            conditions: that the number was measured under; several of one that sums them up.
        """
        marks = self._suspect.get(of, {})
        return ordered_checks(name for c in conditions for name in marks.get(c, ()))

    def tainted(self, arm: Arm, finding: Finding) -> list[Condition]:
        """The conditions under which one finding makes the numbers of an arm suspect."""
        return tainted(finding, self._accuracy[arm.name])

    @cached_property
    def asked(self) -> dict[str, str]:
        """What each check asks for, by its id."""
        return titles(job.result for job in self.jobs)

    @cached_property
    def series(self) -> list[Series]:
        """Everything that was tried, attacks first."""
        return all_series(self.conditions)

    @cached_property
    def sized(self) -> list[Series]:
        """Attacks and noise: what has a strength that can be measured. A severity cannot."""
        return [series for series in self.series if not series.is_corruption]

    @cached_property
    def corruptions(self) -> list[Series]:
        """The corruptions."""
        return [series for series in self.series if series.is_corruption]

    @cached_property
    def attacks(self) -> list[Series]:
        """The attacks among them."""
        return [series for series in self.series if series.is_attack]


def build_study(jobs: Sequence[Job], left_out: Sequence[str] = ()) -> Study:
    """Reads the predictions of jobs, groups them into arms and compares these.

    Args:
        jobs: finished jobs, see `find_jobs`.
        left_out: sentences on results that could not be used; more may be added.

    Raises:
        BcadvError: if no job can be used.
    """
    arms, used, unusable = measured_arms(told_apart(jobs))
    if not arms:
        raise BcadvError(" ".join(unusable) or "There is no finished job to report on.")
    number = _numbers()
    comparisons, remarks = compare(arms, number)
    reference = next((each.arm for each in references(arms)), None)
    made_up = {job.synthetic for job in used}
    return Study(
        arms=tuple(each.arm for each in arms),
        reference=reference,
        measures=measure(arms, number),
        comparisons=comparisons,
        synthetic=True in made_up,
        left_out=(*left_out, *unusable),
        jobs=tuple(used),
        conditions=tuple(ordered({c for each in arms for c in each.conditions()})),
        remarks=(*incomplete(arms), *remarks),
        partly_real=len(made_up) > 1,
        corruption_errors=corruption_errors(arms, comparisons),
        queries=success(arms, number),
    )


def _numbers() -> NumberPatients:
    """Numbers the same patients once, whatever is measured on them."""
    known: dict[tuple[int, ...], Clusters] = {}

    def number(models: Sequence[Model]) -> Clusters:
        key = tuple(id(model) for model in models)
        if key not in known:
            images = [model.images for model in models]
            known[key] = clusters([of.group for of in images], [of.image_id for of in images])
        return known[key]

    return number
