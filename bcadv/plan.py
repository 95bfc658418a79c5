"""The evaluation plan: everything that a model is to be measured under, from the configuration.

Imports no torch, so that a plan can be judged and shown before anything heavy loads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bcadv.config import Config
from bcadv.perturb.catalog import ATTACKS
from bcadv.results.condition import CLEAN, REPEATED, Condition, Norm, Series

GREY_LEVELS_RMS = (0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4)
"""Default strengths in L2, as the root mean square change of a pixel value in grey levels."""


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


def plan_of(config: Config) -> Plan:
    """The plan that a configuration asks for."""
    series = [
        _attack(config, name, norm) for name in config.attacks for norm in config.evaluation.norm
    ]
    if config.evaluation.noise:
        series.append(Series((noise(config),)))
    return Plan(tuple(series))


def _attack(config: Config, name: str, norm: Norm) -> Series:
    row = ATTACKS[name]
    settings = row.settings(config.attack.get(name, {}))
    grid = config.eps_px if norm == "inf" else config.eps_l2 or l2_grid(config.data.crop)
    return Series(
        tuple(
            Condition(
                kind="attack",
                name=name,
                norm=norm,
                strength=strength,
                unit="grey level" if norm == "inf" else "pixel range",
                goal="untargeted",
                settings=settings,
                label=row.label_of(norm, settings),
                how=row.how_of(settings),
                steps=row.steps_of(settings),
            )
            for strength in sorted(grid)
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


def l2_grid(crop: int) -> Sequence[float]:
    """Strengths in L2 that matter at an image's size, to two digits.

    An L2 ball of radius eps moves a pixel value by eps / sqrt(3 * crop**2) in the root mean square,
    so the same length is a large change of a small image and none of a large one.

    Args:
        crop: side of the square that the model sees, in pixels.
    """
    values = math.sqrt(3 * crop**2)
    return [float(f"{rms / 255 * values:.2g}") for rms in GREY_LEVELS_RMS]
