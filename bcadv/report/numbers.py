"""Looking up measures of a study, and writing numbers for people."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from bcadv.report.answers import CLEAN, Condition
from bcadv.report.arms import Arm
from bcadv.report.jobs import Job
from bcadv.report.table import UNDEFINED, perturbation_name

IN_PER_CENT = ("accuracy", "robust_accuracy", "accuracy_positive", "sensitivity", "specificity")

_NUMBERS = ("value", "low", "high", "k", "n", "n_patients")

Key: TypeAlias = tuple[str, Condition, str]
"""Arm, condition, metric."""


@dataclass(frozen=True)
class Number:
    """A measure of all seeds together."""

    value: float
    low: float
    high: float
    k: int | None
    n: int
    n_patients: int | None

    @property
    def rate(self) -> str:
        """In per cent with its interval."""
        return rate(self.value, self.low, self.high)

    @property
    def decimals(self) -> str:
        """To three places with its interval."""
        if math.isnan(self.value):
            return UNDEFINED
        ends = "" if math.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{ends}"

    @property
    def counts(self) -> str:
        """k/n."""
        return UNDEFINED if self.k is None else f"{self.k}/{self.n}"


def rate(value: float, low: float, high: float) -> str:
    """A rate in per cent with its interval, e.g. ``27.5 [19.4, 37.4]``."""
    if math.isnan(value):
        return UNDEFINED
    ends = "" if math.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f}{ends}"


def together(measures: pd.DataFrame) -> dict[Key, Number]:
    """The measures of all seeds together."""
    rows = measures[measures["seed"].isna()]
    columns = ("arm", "perturbation", "norm", "eps_px", "metric", *_NUMBERS)
    found = {}
    for arm, perturbation, norm, eps_px, metric, *numbers in zip(
        *(rows[name].tolist() for name in columns), strict=True
    ):
        value, low, high, k, n, n_patients = numbers
        found[arm, (perturbation, norm, eps_px), metric] = Number(
            value, low, high, _whole(k), int(n), _whole(n_patients)
        )
    return found


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def conditions(measures: pd.DataFrame) -> list[Condition]:
    """Every condition of any arm; clean first."""
    rows = measures[measures["seed"].isna()]
    columns = rows[["perturbation", "norm", "eps_px"]].drop_duplicates()
    found = [(str(p), str(n), float(e)) for p, n, e in columns.itertuples(index=False)]
    return sorted(found, key=lambda key: (key != CLEAN, key))


def attack_of(found: Iterable[Condition]) -> tuple[str, str] | None:
    """Perturbation and norm that a report is about: the attack tried at most strengths.

    Noise is no attack; ``None`` where there is no other.
    """
    tried: dict[tuple[str, str], int] = {}
    for perturbation, norm, eps_px in found:
        if eps_px > 0 and not perturbation.startswith("gaussian"):
            tried[perturbation, norm] = tried.get((perturbation, norm), 0) + 1
    return max(tried, key=lambda key: (tried[key], key[1] == "inf"), default=None)


def strengths(found: Iterable[Condition], attack: tuple[str, str] | None) -> list[float]:
    """Epsilons of an attack, ascending."""
    return sorted({key[2] for key in found if key[:2] == attack})


def condition_name(condition: Condition) -> str:
    """``clean``, ``FGSM ε=2/255`` or ``gaussian noise σ=25.5/255``."""
    perturbation, norm, eps_px = condition
    name = perturbation_name({"perturbation": perturbation, "norm": norm})
    if condition == CLEAN:
        return name
    if perturbation.startswith("gaussian"):
        return f"noise σ={eps_px / 255:.3g}" + (" clipped" if "clipped" in perturbation else "")
    return f"{name.upper()} ε={eps_px:g}/255"


def attack_name(attack: tuple[str, str]) -> str:
    """``FGSM``, with its norm where that is not infinity."""
    return perturbation_name({"perturbation": attack[0], "norm": attack[1]}).upper()


def positive_of(job: Job) -> str:
    """Name of the positive class; ``positive`` where there are several."""
    data = job.results["data"]
    names = [str(data["classes"][number]) for number in data["positive"]]
    return names[0] if len(names) == 1 else "positive"


def cases(jobs: Iterable[Job]) -> str:
    """What a positive image shows, in the plural."""
    jobs = list(jobs)
    if {job.results["data"]["source"] for job in jobs} <= {"breakhis", "synthetic"}:
        return "cancers"
    return f"cases of {' or '.join(dict.fromkeys(positive_of(job) for job in jobs))}"


def several_seeds(arms: Iterable[Arm]) -> bool:
    """Whether any arm has more than one seed."""
    return any(len(arm.seeds) > 1 for arm in arms)
