"""What an attack achieved and cost, as it stands in ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from bcadv.results.base import Model


class Effort(Model):
    """What an attack achieved at all its strengths together, and what it cost.

    Attributes:
        batchnorm: of the tested model.
        series: the attack, see `Condition.series`.
        n: number of images that are right when clean.
        broken: how many of them it broke at one of its strengths, or at any distance where it looks
            for the nearest adversarial image.
        median_distance: of the nearest adversarial images found, in the norm of the attack with
            pixels in [0, 1]; ``None`` where fewer than half are broken.
        gradients: backward passes per image in the mean; ``None`` where they were not counted.
        queries: forward passes per image, likewise.
        optimality: local optimality (Cinà et al., "AttackBench", AAAI 2025): 1 where it finds, for
            every image, an adversarial image at as small a strength, of those tried, as any attack
            of its norm and aim; 0 where it finds none of them; ``None`` where no other was run.
        against: how many attacks it was scored against, itself left out.
        broken_by: of an ensemble, id of a condition -> member -> images that it broke first.
    """

    batchnorm: str
    series: str
    n: int = Field(ge=0)
    broken: int = Field(ge=0)
    median_distance: float | None = None
    gradients: float | None = None
    queries: float | None = None
    optimality: float | None = None
    against: int = 0
    broken_by: Mapping[str, Mapping[str, int]] = Field(default_factory=dict)
