"""At which epsilon the undefended model falls as low as the paper's.

The paper does not state its epsilon; the place where the undefended model does as badly as theirs
is where the defence is to be held against theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bcadv.report.answers import CLEAN
from bcadv.report.arms import Arm, undefended
from bcadv.report.numbers import attack_of, conditions, strengths, together
from bcadv.report.paper import ORIGINAL_ATTACKED
from bcadv.report.study import Study

METRIC = "sensitivity"
"""Malignant images called malignant: with two classes the paper's accuracy on malignant images."""


@dataclass(frozen=True)
class Calibration:
    """Where an undefended arm falls into the paper's interval.

    Attributes:
        arm: the undefended arm.
        followers: arms that are compared with it.
        inside: smallest epsilon (grey levels of 255) inside; ``None`` if there is none.
        above: without one, the epsilon before the jump over the interval (0: clean), or the
            largest that was tried; ``None`` where the model is as low without attack.
        below: without one, the epsilon after the jump; ``None`` where it never falls so low.
        attack: perturbation and norm.
    """

    arm: Arm
    followers: tuple[Arm, ...]
    inside: float | None
    above: float | None
    below: float | None
    attack: tuple[str, str]

    @property
    def shown(self) -> list[float]:
        """The epsilons to look at, ascending."""
        if self.inside is not None:
            return [self.inside]
        return [eps_px for eps_px in (self.above, self.below) if eps_px is not None]


def calibrations(study: Study) -> list[Calibration]:
    """One per undefended arm that was attacked."""
    attack = attack_of(conditions(study.measures))
    if attack is None:
        return []
    found = []
    for arm in undefended(study.arms):
        values = _values(study, arm, attack)
        if len(values) < 2:
            continue
        compared = study.comparisons[study.comparisons["reference"] == arm.name]["arm"].unique()
        followers = tuple(other for other in study.arms if other.name in compared)
        found.append(Calibration(arm, followers, *fall(values), attack))
    return found


def _values(study: Study, arm: Arm, attack: tuple[str, str]) -> dict[float, float]:
    """Epsilon -> accuracy on malignant images; 0 is clean."""
    numbers = together(study.measures)
    tried = conditions(study.measures)
    keys = {0.0: CLEAN} | {eps_px: (*attack, eps_px) for eps_px in strengths(tried, attack)}
    return {
        eps_px: numbers[arm.name, key, METRIC].value
        for eps_px, key in keys.items()
        if (arm.name, key, METRIC) in numbers
    }


def fall(values: Mapping[float, float]) -> tuple[float | None, float | None, float | None]:
    """Finds the interval 10/91 (Wilson) in a curve.

    Args:
        values: epsilon -> accuracy on malignant images in [0, 1]; 0 is clean.

    Returns:
        `Calibration.inside`, `above` and `below`.
    """
    low, high = ORIGINAL_ATTACKED.interval
    above: float | None = None
    for eps_px in sorted(values):
        if values[eps_px] > high:
            above = eps_px
        elif values[eps_px] >= low and eps_px > 0:
            return eps_px, None, None
        elif values[eps_px] <= high:
            # Where a curve rises again, as FGSM's may, what it passes then is no fall.
            return None, above, eps_px
    return None, above, None
