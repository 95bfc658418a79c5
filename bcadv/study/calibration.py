"""At which epsilon the undefended model falls as low as the paper's.

The paper does not state its epsilon; the place where the undefended model does as badly as theirs
is where the defence is to be held against theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bcadv.results.condition import CLEAN, Condition, Series
from bcadv.study.arms import Arm, undefended
from bcadv.study.paper import ATTACKED
from bcadv.study.study import Study

METRIC = "sensitivity"
"""Malignant images called malignant: with two classes the paper's accuracy on malignant images."""


@dataclass(frozen=True)
class Calibration:
    """Where an undefended arm falls into the paper's interval.

    Attributes:
        arm: the undefended arm.
        followers: arms that are compared with it.
        inside: weakest attack that brings it inside; ``None`` if none does.
        above: without one, the condition before the jump over the interval (clean, or an attack),
            or the strongest that was tried; ``None`` where the model is as low without attack.
        below: without one, the attack after the jump; ``None`` where it never falls so low.
        attack: the paper's.
    """

    arm: Arm
    followers: tuple[Arm, ...]
    inside: Condition | None
    above: Condition | None
    below: Condition | None
    attack: Series

    @property
    def shown(self) -> list[Condition]:
        """The conditions to look at, by rising strength."""
        if self.inside is not None:
            return [self.inside]
        return [condition for condition in (self.above, self.below) if condition is not None]


def papers_attack(study: Study) -> Series | None:
    """The attack that the paper used, FGSM in the maximum norm, if it was tried here."""
    return next((a for a in study.attacks if (a.first.name, a.first.norm) == ("fgsm", "inf")), None)


def calibrations(study: Study) -> list[Calibration]:
    """One per undefended arm that was attacked."""
    attack = papers_attack(study)
    if attack is None:
        return []
    found = []
    for arm in undefended(study.arms):
        values = {
            condition: number.value
            for condition in (CLEAN, *attack.conditions)
            if (number := study.numbers.get((arm.name, condition, METRIC))) is not None
        }
        if len(values) < 2:
            continue
        compared = study.comparisons[study.comparisons["reference"] == arm.name]["arm"].unique()
        followers = tuple(other for other in study.arms if other.name in compared)
        found.append(Calibration(arm, followers, *fall(values), attack))
    return found


def fall(
    values: Mapping[Condition, float],
) -> tuple[Condition | None, Condition | None, Condition | None]:
    """Finds the interval 10/91 (Wilson) in a curve.

    Args:
        values: condition -> accuracy on malignant images in [0, 1], by rising strength.

    Returns:
        `Calibration.inside`, `above` and `below`.
    """
    low, high = ATTACKED.original.interval
    above: Condition | None = None
    for condition, value in values.items():
        if value > high:
            above = condition
        elif value >= low and not condition.clean:
            return condition, None, None
        elif value <= high:
            # Where a curve rises again, as FGSM's may, what it passes then is no fall.
            return None, above, condition
    return None, above, None
