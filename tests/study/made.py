"""Studies with accuracies that are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bcadv.results.condition import CLEAN, Condition
from bcadv.results.schema import Defence
from bcadv.study.headline import Answer, Conclusion
from tests.metrics.tables import fgsm, pgd
from tests.report.jobs_on_disk import answers

N = 200
TARGET = [i % 2 for i in range(N)]
TRAINED = Defence(
    kind="adversarial_training", settings={"eps_px": 4}, label="PGD training, ε=4/255"
)
# FGSM is tried at more strengths, and its name comes first; PGD hurts more.
TRIED = [
    CLEAN,
    *map(fgsm, (1, 2, 4)),
    *(fgsm(eps, "2") for eps in (0.5, 1)),
    *map(pgd, (1, 2, 4)),
    *(pgd(eps, "2") for eps in (0.5, 1)),
]


def table(right: Mapping[Condition, float]) -> pd.DataFrame:
    """This share of the images right under each condition, the same images first."""
    tables = []
    for condition, share in right.items():
        hits = [i < round(share * N) for i in range(N)]
        frame = answers({("as_trained", 0.0): hits}, TARGET)
        tables.append(frame.assign(condition=condition.id, size=condition.size))
    return pd.concat(tables, ignore_index=True)


def falling(
    clean: float, one_step: Sequence[float], steps: Sequence[float], two: Sequence[float]
) -> dict[Condition, float]:
    shares = [clean, *one_step, *two, *steps, *two]
    return dict(zip(TRIED, shares, strict=True))


def answer(found: Conclusion, start: str) -> Answer:
    [answer] = [a for a in found.answers if a.arm.startswith(start)]
    return answer
