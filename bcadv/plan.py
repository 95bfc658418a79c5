"""The evaluation plan: everything that a model is to be measured under, from the configuration.

Imports no torch, so that a plan can be judged and shown before anything heavy loads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bcadv.config import Config
from bcadv.perturb.catalog import ATTACKS
from bcadv.perturb.corrupt.catalog import CORRUPTIONS
from bcadv.results.condition import CLEAN, REPEATED, Condition, Goal, Norm, Series, Unit

GREY_LEVELS_RMS = (0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4)
"""Default strengths in L2, as the root mean square change of a pixel value in grey levels; in L1
the mean change is a quarter of them, for attacks there move few values far."""

SHARES_OF_VALUES = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Default strengths in L0, as the share of all values that change."""

UNITS: Mapping[str, Unit] = {"inf": "grey level", "0": "value"}
GOALS: Mapping[str, Goal] = {"any": "untargeted", "hide": "hide", "invent": "invent"}
AIM_WORDS = {"hide": " hiding the disease", "invent": " inventing the disease"}


@dataclass(frozen=True)
class Plan:
    """What a model is measured under.

    Attributes:
        series: what is done to the images, in the order it was asked for.
    """

    series: tuple[Series, ...]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions, clean ones first."""
        again = () if any(s.first.strength == 0 for s in self.series) else (REPEATED,)
        return (CLEAN, *again, *(c for series in self.series for c in series.conditions))

    @property
    def attacks(self) -> tuple[Series, ...]:
        """The series that are attacks."""
        return tuple(series for series in self.series if series.is_attack)

    @property
    def corruptions(self) -> tuple[Series, ...]:
        """The series that are corruptions."""
        return tuple(series for series in self.series if series.is_corruption)


def plan_of(config: Config, models: Mapping[str, str] | None = None) -> Plan:
    """The plan that a configuration asks for.

    Args:
        config: of the job.
        models: attack -> fingerprint of the stored model that it needs, where it has been found;
            without it the plan names the model as the configuration does.
    """
    series = [
        _attack(config, name, norm, aim, acceptance, (models or {}).get(name))
        for name in config.attacks
        for norm in config.evaluation.norm
        if norm in ATTACKS[name].norms
        for aim in config.aim
        for acceptance in config.accept
    ]
    if config.evaluation.noise:
        series.append(Series((noise(config),)))
    series += [_corruption(name, config.evaluation.severities) for name in config.corruptions]
    return Plan(tuple(series))


def asked_words(aim: str, acceptance: str) -> str:
    """What an attack was asked for beyond any wrong answer, to follow its name or its strength.

    Args:
        aim: ``any``, ``hide``, ``invent``, or the name of a class.
        acceptance: see `Condition.acceptance`.
    """
    words = "" if aim == "any" else AIM_WORDS.get(aim, f" for {aim}")
    return words + (f", as {acceptance}" if acceptance != "float" else "")


def _attack(
    config: Config, name: str, norm: Norm, aim: str, acceptance: str, model: str | None
) -> Series:
    row = ATTACKS[name]
    settings = row.settings(config.attack.get(name, {}))
    if row.model_option is not None and model is not None:
        settings[row.model_option] = model
    goal = GOALS.get(aim, "targeted")
    label = row.label_of(norm, settings)
    label += asked_words(aim, acceptance)
    return Series(
        tuple(
            Condition(
                kind="attack",
                name=name,
                norm=norm,
                strength=strength,
                unit=UNITS.get(norm, "pixel range"),
                goal=goal,
                wanted=aim if goal == "targeted" else None,
                acceptance=acceptance,
                settings=settings,
                label=label,
                access=row.access_of(settings),
                how=row.how_of(settings),
                steps=row.steps_of(settings),
            )
            for strength in sorted(grid_of(config, norm))
        )
    )


def _corruption(name: str, severities: Sequence[int]) -> Series:
    row = CORRUPTIONS[name]
    return Series(
        tuple(
            Condition(
                kind="corruption",
                name=name,
                strength=severity,
                unit="severity",
                label=row.label,
                how=row.source,
            )
            for severity in sorted(severities)
        )
    )


def noise(config: Config) -> Condition:
    """Gaussian noise of the configured sigma on the test images."""
    clipped = config.injection.perturbation == "gaussian_clipped"
    return Condition(
        kind="noise",
        name="gaussian_clipped" if clipped else "gaussian",
        strength=config.sigma,
        unit="pixel range",
        label="Gaussian noise, clipped" if clipped else "Gaussian noise",
    )


def grid_of(config: Config, norm: Norm) -> Sequence[float]:
    """The strengths that attacks in a norm are tried at."""
    given = {"inf": config.eps_px, "2": config.eps_l2, "1": config.eps_l1, "0": config.eps_l0}
    return given[norm] or default_grid(norm, config.data.crop)


def default_grid(norm: Norm, crop: int) -> Sequence[float]:
    """Strengths that matter at an image's size, to two digits, for norms other than the maximum.

    An L2 ball of radius eps moves a pixel value by eps / sqrt(3 * crop**2) in the root mean square,
    an L1 ball by eps / (3 * crop**2) in the mean, and a value in L0 is one of 3 * crop**2: the same
    length is a large change of a small image and none of a large one.

    Args:
        norm: ``2``, ``1`` or ``0``.
        crop: side of the square that the model sees, in pixels.
    """
    values = 3 * crop**2
    if norm == "0":
        return sorted({0, *(max(1, int(float(f"{s * values:.2g}"))) for s in SHARES_OF_VALUES)})
    spread = math.sqrt(values) if norm == "2" else values / 4
    return [float(f"{level / 255 * spread:.2g}") for level in GREY_LEVELS_RMS]
